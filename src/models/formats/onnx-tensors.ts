/** The tensors stored in an ONNX model: where they are, how many elements they have, whether their bytes fit. */
import type { Datatype } from '../models.ts';
import { quote } from '../names.ts';
import {
  type AttributeProto,
  type GraphProto,
  type ModelProto,
  type NodeProto,
  type TensorProto,
  TensorProto_DataType as Type,
} from './onnx_pb.ts';
import { damagedOnnx } from './onnx-weigh.ts';

/** Those that can be an input or an output. */
export const datatypes = new Map<number, Datatype>([
  [Type.FLOAT, 'FP32'],
  [Type.DOUBLE, 'FP64'],
  [Type.INT32, 'INT32'],
  [Type.INT64, 'INT64'],
  [Type.INT8, 'INT8'],
  [Type.UINT8, 'UINT8'],
  [Type.BOOL, 'BOOL'],
  [Type.INT16, 'INT16'],
  [Type.UINT16, 'UINT16'],
  [Type.UINT32, 'UINT32'],
  [Type.UINT64, 'UINT64'],
  [Type.FLOAT16, 'FP16'],
  [Type.BFLOAT16, 'BF16'],
  [Type.STRING, 'BYTES'],
]);

const bits = new Map<number, number>([
  [Type.FLOAT, 32],
  [Type.UINT8, 8],
  [Type.INT8, 8],
  [Type.UINT16, 16],
  [Type.INT16, 16],
  [Type.INT32, 32],
  [Type.INT64, 64],
  [Type.BOOL, 8],
  [Type.FLOAT16, 16],
  [Type.DOUBLE, 64],
  [Type.UINT32, 32],
  [Type.UINT64, 64],
  [Type.COMPLEX64, 64],
  [Type.COMPLEX128, 128],
  [Type.BFLOAT16, 16],
  [Type.FLOAT8E4M3FN, 8],
  [Type.FLOAT8E4M3FNUZ, 8],
  [Type.FLOAT8E5M2, 8],
  [Type.FLOAT8E5M2FNUZ, 8],
  [Type.UINT4, 4],
  [Type.INT4, 4],
  [Type.FLOAT4E2M1, 4],
]);

/** Bytes of the raw form; null for text and for types that are not known. */
export function rawBytes(tensor: TensorProto, elements: bigint): bigint | null {
  const width = bits.get(tensor.dataType);
  return width === undefined ? null : (elements * BigInt(width) + 7n) / 8n;
}

/** Throws CORRUPT_MODEL for impossible dimensions. */
export function elementsOf(tensor: TensorProto): bigint {
  let elements = 1n;
  for (const dim of tensor.dims) {
    if (dim < 0n)
      throw damagedOnnx(`tensor ${quote(tensor.name)} has a negative dimension`, tensor.name.slice(0, 200));
    elements *= dim;
    if (elements > BigInt(Number.MAX_SAFE_INTEGER)) break;
  }
  return elements;
}

/** The number of elements; what is stored must be exactly as much as the shape says. */
export function checkTensor(tensor: TensorProto): number {
  const elements = elementsOf(tensor);
  const raw = rawBytes(tensor, elements);
  if (tensor.rawData.length > 0 && raw !== null) {
    if (raw !== BigInt(tensor.rawData.length)) throw mismatch(tensor, raw, tensor.rawData.length, 'bytes');
    return Number(elements);
  }
  const stored = storedValues(tensor);
  // A complex number is two values; 4-bit numbers come up to eight in a value.
  const fits = [elements, elements * 2n, (elements + 1n) / 2n, (elements + 7n) / 8n].includes(BigInt(stored));
  const exact = datatypes.has(tensor.dataType) ? elements === BigInt(stored) : fits;
  if (!exact) throw mismatch(tensor, elements, stored, 'elements');
  return Number(elements);
}

function storedValues({
  floatData,
  doubleData,
  int32Data,
  int64Data,
  uint64Data,
  stringData,
}: TensorProto): number {
  return (
    floatData.length +
    doubleData.length +
    int32Data.length +
    int64Data.length +
    uint64Data.length +
    stringData.length
  );
}

export function mismatch(
  tensor: TensorProto,
  declared: bigint,
  stored: number | bigint,
  unit: string,
): Error {
  return damagedOnnx(
    `tensor ${quote(tensor.name)} declares the shape [${tensor.dims.join(', ').slice(0, 100)}] (${declared} ${unit}), but ${stored} ${unit} are stored`,
    tensor.name.slice(0, 200),
  );
}

/** Every node, also in the branches of If, the bodies of loops, and the model's own functions. */
export function* allNodes(model: ModelProto): Generator<NodeProto> {
  for (const graph of allGraphs(model)) yield* graph.node;
  for (const fn of model.functions) yield* fn.node;
}

/** Every stored tensor, wherever it is. */
export function* allTensors(model: ModelProto): Generator<TensorProto> {
  for (const graph of allGraphs(model)) {
    yield* graph.initializer;
    for (const { values, indices } of graph.sparseInitializer) {
      if (values) yield values;
      if (indices) yield indices;
    }
  }
  for (const { attribute } of allNodes(model)) {
    for (const { t, tensors, sparseTensor, sparseTensors } of attribute) {
      if (t) yield t;
      yield* tensors;
      for (const sparse of sparseTensor ? [sparseTensor, ...sparseTensors] : sparseTensors) {
        if (sparse.values) yield sparse.values;
        if (sparse.indices) yield sparse.indices;
      }
    }
  }
}

function* allGraphs(model: ModelProto): Generator<GraphProto> {
  if (model.graph) yield* withInner(model.graph);
  for (const { initialization, algorithm } of model.trainingInfo) {
    if (initialization) yield* withInner(initialization);
    if (algorithm) yield* withInner(algorithm);
  }
  for (const fn of model.functions) for (const { attribute } of fn.node) yield* innerGraphs(attribute);
}

function* withInner(graph: GraphProto): Generator<GraphProto> {
  yield graph;
  for (const { attribute } of graph.node) yield* innerGraphs(attribute);
}

function* innerGraphs(attributes: readonly AttributeProto[]): Generator<GraphProto> {
  for (const { g, graphs } of attributes) {
    if (g) yield* withInner(g);
    for (const graph of graphs) yield* withInner(graph);
  }
}
