/** The Keras layers that are converted: what each makes of its input's shape, its weights and its computation. */
import { z } from 'zod';
import { CommonwattError } from '../../errors.ts';
import { quote } from '../names.ts';
import type { Activation, LayerInfo, Step } from './chain.ts';
import { kerasActivation, kerasActivationNames } from './keras-activations.ts';

export const exportHint =
  'export it to ONNX instead: model.export("model.onnx", format="onnx") in Keras 3.8 or later, or tf2onnx';

/** A weight that is still in the file: the layer, and which of its weights. */
export interface WeightPlace {
  layer: string;
  index: number;
}

export interface KerasLayer {
  steps: Step<WeightPlace>[];
  /** Shape of the output without the batch. */
  shape: number[];
  /** Shapes of the weights in Keras's order. */
  weights: number[][];
  info: Pick<LayerInfo, 'units' | 'activation'>;
}

interface LayerContext {
  name: string;
  config: Record<string, unknown>;
  shape: number[];
  kerasMajor: number;
}

export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((all, dim) => all * dim, 1);
}

type Reader = (layer: LayerContext) => KerasLayer;

const number = z.number();
/** "float32", or a policy object of that name. */
const float32 = z.union([
  z.literal('float32').nullish(),
  z.looseObject({ config: z.looseObject({ name: z.literal('float32') }) }),
]);

/** Throws UNSUPPORTED_LAYER naming the setting. */
function read<T>(layer: LayerContext, schema: z.ZodType<T>): T {
  const precision = z.looseObject({ dtype: float32 }).safeParse(layer.config);
  const parsed = precision.success ? schema.safeParse(layer.config) : precision;
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const key = String(issue?.path[0] ?? 'config');
  throw refused(
    layer,
    `has ${key} ${quote(JSON.stringify(layer.config[key]) ?? 'missing')}, which is not converted`,
    key === 'dtype'
      ? 'only float32 is converted: build the model with keras.config.set_dtype_policy("float32")'
      : undefined,
  );
}

function refused(layer: LayerContext, what: string, hint?: string): CommonwattError {
  return new CommonwattError('UNSUPPORTED_LAYER', `layer ${quote(layer.name)} ${what}`, {
    where: layer.name,
    hint: hint ?? exportHint,
  });
}

function same(layer: LayerContext): KerasLayer {
  return { steps: [], shape: layer.shape, weights: [], info: {} };
}

function activationOf(layer: LayerContext, name: unknown): { label: string; steps: Step<WeightPlace>[] } {
  if (name === null || name === undefined) return { label: 'linear', steps: [] };
  const activation = typeof name === 'string' ? kerasActivation(name, layer.kerasMajor) : undefined;
  if (typeof name !== 'string' || activation === undefined)
    throw refused(
      layer,
      `has the activation ${quote(JSON.stringify(name))}, which is not converted`,
      `converted are ${kerasActivationNames(layer.kerasMajor).join(', ')}; or ${exportHint}`,
    );
  return {
    label: name,
    steps: activation === null ? [] : [{ type: 'activation', name: layer.name, activation }],
  };
}

function pointwise(layer: LayerContext, activation: Activation | null): KerasLayer {
  return {
    ...same(layer),
    steps: activation ? [{ type: 'activation', name: layer.name, activation }] : [],
  };
}

/** The number of features of a flat input. */
function flatSize(layer: LayerContext): number {
  const [size, second] = layer.shape;
  if (size === undefined || second !== undefined)
    throw refused(
      layer,
      `gets an input of the shape [${layer.shape.join(', ')}] for each row; a flat one is converted`,
      'put keras.layers.Flatten() before it',
    );
  return size;
}

const dense: Reader = (layer) => {
  const config = read(
    layer,
    z.looseObject({
      units: z.int().positive(),
      use_bias: z.boolean().default(true),
      // Quantised and low-rank weights are stored in another form.
      quantization_config: z.null().optional(),
      lora_rank: z.null().optional(),
    }),
  );
  const inputs = flatSize(layer);
  const { units, use_bias } = config;
  const activation = activationOf(layer, layer.config.activation);
  const place = (index: number): WeightPlace => ({ layer: layer.name, index });
  return {
    steps: [
      { type: 'dense', name: layer.name, inputs, units, kernel: place(0), bias: use_bias ? place(1) : null },
      ...activation.steps,
    ],
    shape: [units],
    weights: use_bias ? [[inputs, units], [units]] : [[inputs, units]],
    info: { units, activation: activation.label },
  };
};

const batchNormalization: Reader = (layer) => {
  const config = read(
    layer,
    z.looseObject({
      axis: z.union([z.literal([-1, 1]), z.tuple([z.literal([-1, 1])])]).default(-1),
      epsilon: number.default(1e-3),
      scale: z.boolean().default(true),
      center: z.boolean().default(true),
    }),
  );
  const size = flatSize(layer);
  let index = 0;
  const next = (): WeightPlace => ({ layer: layer.name, index: index++ });
  const gamma = config.scale ? next() : null;
  const beta = config.center ? next() : null;
  const step: Step<WeightPlace> = {
    type: 'batchNormalization',
    name: layer.name,
    size,
    epsilon: config.epsilon,
    gamma,
    beta,
    mean: next(),
    variance: next(),
  };
  return {
    steps: [step],
    shape: layer.shape,
    weights: Array.from({ length: index }, () => [size]),
    info: {},
  };
};

const flatten: Reader = (layer) => {
  read(layer, z.looseObject({ data_format: z.literal('channels_last').nullish() }));
  return {
    ...same(layer),
    steps: layer.shape.length === 1 ? [] : [{ type: 'flatten', name: layer.name }],
    shape: [sizeOf(layer.shape)],
  };
};

const input: Reader = (layer) => {
  read(layer, z.looseObject({ sparse: z.literal(false).nullish(), ragged: z.literal(false).nullish() }));
  return same(layer);
};

const activation: Reader = (layer) => {
  read(layer, z.looseObject({}));
  const { label, steps } = activationOf(layer, layer.config.activation);
  return { ...same(layer), steps, info: { activation: label } };
};

/** Layers that only act during training. */
const identity: Reader = (layer) => {
  read(layer, z.looseObject({}));
  return same(layer);
};

const relu: Reader = (layer) => {
  const config = read(
    layer,
    z.looseObject({
      max_value: number.nullish(),
      negative_slope: z.union([number, z.tuple([number]).transform(([n]) => n)]).nullish(),
      threshold: z.literal(0).nullish(),
    }),
  );
  const slope = config.negative_slope ?? 0;
  if (slope !== 0 && config.max_value != null) throw refused(layer, 'has both max_value and negative_slope');
  if (config.max_value != null) return pointwise(layer, { kind: 'clip', min: 0, max: config.max_value });
  return pointwise(layer, slope === 0 ? { kind: 'relu' } : { kind: 'leakyRelu', alpha: slope });
};

/** Keras 3 calls it negative_slope, Keras 2 alpha; the default is 0.3 in both. */
const leakyRelu: Reader = (layer) => {
  const config = read(layer, z.looseObject({ negative_slope: number.nullish(), alpha: number.nullish() }));
  return pointwise(layer, { kind: 'leakyRelu', alpha: config.negative_slope ?? config.alpha ?? 0.3 });
};

const elu: Reader = (layer) =>
  pointwise(layer, { kind: 'elu', alpha: read(layer, z.looseObject({ alpha: number.default(1) })).alpha });

const softmax: Reader = (layer) => {
  read(layer, z.looseObject({ axis: z.literal([-1, layer.shape.length]).default(-1) }));
  return pointwise(layer, { kind: 'softmax' });
};

export const kerasLayers: ReadonlyMap<string, Reader> = new Map<string, Reader>([
  ['InputLayer', input],
  ['Dense', dense],
  ['Activation', activation],
  ['ReLU', relu],
  ['LeakyReLU', leakyRelu],
  ['ELU', elu],
  ['Softmax', softmax],
  ['BatchNormalization', batchNormalization],
  ['Flatten', flatten],
  ['Dropout', identity],
  ['GaussianDropout', identity],
  ['GaussianNoise', identity],
  ['AlphaDropout', identity],
  ['ActivityRegularization', identity],
]);
