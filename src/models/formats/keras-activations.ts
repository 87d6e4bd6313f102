/** Keras activations, by the names Keras writes into a model, as functions whose parameters are spelled out. */
import type { Activation } from './chain.ts';

/** Keras's constants, `keras.activations.selu`. */
const selu = { alpha: 1.6732632423543772, gamma: 1.0507009873554805 };

const common = new Map<string, Activation>([
  ['relu', { kind: 'relu' }],
  ['relu6', { kind: 'clip', min: 0, max: 6 }],
  ['sigmoid', { kind: 'sigmoid' }],
  ['tanh', { kind: 'tanh' }],
  ['softmax', { kind: 'softmax' }],
  ['log_softmax', { kind: 'logSoftmax' }],
  ['softplus', { kind: 'softplus' }],
  ['softsign', { kind: 'softsign' }],
  ['exponential', { kind: 'exponential' }],
  ['elu', { kind: 'elu', alpha: 1 }],
  ['selu', { kind: 'selu', ...selu }],
  ['gelu', { kind: 'gelu' }],
  ['silu', { kind: 'silu' }],
  ['swish', { kind: 'silu' }],
  ['mish', { kind: 'mish' }],
]);

/** Only Keras 3 has these, or means something else by the same name in Keras 2 (hard_sigmoid). */
const since3 = new Map<string, Activation>([
  ['hard_sigmoid', { kind: 'hardSigmoid', alpha: 1 / 6, beta: 0.5 }],
  ['hard_silu', { kind: 'hardSwish' }],
  ['hard_swish', { kind: 'hardSwish' }],
  ['leaky_relu', { kind: 'leakyRelu', alpha: 0.2 }],
]);

const before3 = new Map<string, Activation>([
  ['hard_sigmoid', { kind: 'hardSigmoid', alpha: 0.2, beta: 0.5 }],
]);

/** null: the identity; undefined: not known here. */
export function kerasActivation(name: string, kerasMajor: number): Activation | null | undefined {
  if (name === 'linear') return null;
  return common.get(name) ?? (kerasMajor >= 3 ? since3 : before3).get(name);
}

export function kerasActivationNames(kerasMajor: number): string[] {
  return ['linear', ...common.keys(), ...(kerasMajor >= 3 ? since3 : before3).keys()];
}
