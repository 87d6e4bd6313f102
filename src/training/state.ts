/** Takes the whole state of a training out of tfjs, and puts it back, to the bit. */
import * as tf from '@tensorflow/tfjs-core';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import type { TrainState } from './protocol.ts';

export async function stateOf(
  epoch: number,
  model: LayersModel,
  optimizer: tf.Optimizer,
): Promise<TrainState> {
  const [, ...remembered] = await optimizer.getWeights();
  return {
    epoch,
    weights: model.getWeights().map((tensor) => Float32Array.from(tensor.dataSync())),
    optimizer: remembered.map(({ name, tensor }) => ({
      name,
      shape: tensor.shape,
      values: Float32Array.from(tensor.dataSync()),
    })),
    iterations: optimizer.iterations,
    decay: decayOf(optimizer).map((variable) => variable.dataSync()[0] ?? Number.NaN),
  };
}

export async function restoreState(
  state: TrainState,
  model: LayersModel,
  optimizer: tf.Optimizer,
): Promise<void> {
  const shapes = model.getWeights().map(({ shape }) => shape);
  model.setWeights(state.weights.map((values, index) => tf.tensor(values, shapes[index])));
  await optimizer.setWeights([
    { name: 'iter', tensor: tf.scalar(state.iterations, 'int32') },
    ...state.optimizer.map(({ name, shape, values }) => ({ name, tensor: tf.tensor(values, shape) })),
  ]);
  // Its own way takes a power, which is another rounding than the products of all steps.
  for (const [index, variable] of decayOf(optimizer).entries())
    variable.assign(tf.scalar(state.decay[index] ?? Number.NaN));
}

/** The running products of adam, which it keeps to itself; other optimizers have none. */
function decayOf(optimizer: tf.Optimizer): tf.Variable[] {
  const found = ['accBeta1', 'accBeta2'].map((name): unknown => Reflect.get(optimizer, name));
  return found.filter((value) => value instanceof tf.Variable);
}
