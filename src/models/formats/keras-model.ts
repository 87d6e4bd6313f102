/** A Keras model whose architecture and weights are both known, ready to be written as ONNX. */
import { quote } from '../names.ts';
import type { Graph, LayerInfo } from './graph.ts';
import { sizeOf } from './graph.ts';
import type { H5Tensor } from './h5-process.ts';
import { allFinite, floatsAt } from './hdf5-read.ts';
import type { KerasPlan } from './keras-plan.ts';
import { damaged, type StoredWeight } from './keras-weights.ts';

export interface KerasModel {
  graph: Graph<number>;
  layers: LayerInfo[];
  parameters: number;
  /** The weight that a number in the graph stands for. Throws CORRUPT_MODEL where it is not a number. */
  stored: (weight: number) => Float32Array;
}

export function modelOf(
  plan: KerasPlan,
  located: readonly (StoredWeight | undefined)[],
  bytes: Buffer,
  compressed: ReadonlyMap<string, H5Tensor>,
): KerasModel {
  return withWeights(plan, (index) => {
    const weight = located[index];
    const tensor = weight && compressed.get(weight.path);
    if (tensor) return { data: tensor.data, finite: tensor.finite };
    const offset = weight?.dataset.offset;
    if (weight === undefined || offset === undefined) throw new Error(`weight ${index} was not located`);
    const data = floatsAt(bytes, offset, sizeOf(weight.dataset.shape));
    return { data, finite: allFinite(data) };
  });
}

/** Throws CORRUPT_MODEL for a network that could only answer NaN. */
export function withWeights(
  plan: KerasPlan,
  read: (weight: number) => { data: Float32Array; finite: boolean },
): KerasModel {
  const { graph, layers, parameters } = plan;
  const stored = (index: number): Float32Array => {
    const { data, finite } = read(index);
    const layer = plan.weights[index]?.layer.join('/') ?? '';
    if (!finite) throw damaged(`the weights of layer ${quote(layer)} contain NaN or infinite numbers`, layer);
    return data;
  };
  return { graph, layers, parameters, stored };
}
