/** Writes small ONNX graphs for tests: what a node or a datatype does in a runtime, crashes and hangs included. */
import { create, toBinary } from '@bufbuild/protobuf';
import {
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  type GraphProto,
  GraphProtoSchema,
  ModelProtoSchema,
  NodeProtoSchema,
  TensorProto_DataType,
  TensorProtoSchema,
  ValueInfoProtoSchema,
} from '../../models/formats/onnx_pb.ts';
import type { Datatype } from '../tensor.ts';

const elementTypes: Record<Datatype, TensorProto_DataType> = {
  BOOL: TensorProto_DataType.BOOL,
  UINT8: TensorProto_DataType.UINT8,
  INT8: TensorProto_DataType.INT8,
  INT32: TensorProto_DataType.INT32,
  INT64: TensorProto_DataType.INT64,
  FP32: TensorProto_DataType.FLOAT,
  FP64: TensorProto_DataType.DOUBLE,
  UINT16: TensorProto_DataType.UINT16,
  UINT32: TensorProto_DataType.UINT32,
  UINT64: TensorProto_DataType.UINT64,
  INT16: TensorProto_DataType.INT16,
  FP16: TensorProto_DataType.FLOAT16,
  BF16: TensorProto_DataType.BFLOAT16,
  BYTES: TensorProto_DataType.STRING,
};

/** name, datatype, dimensions; −1 is any. */
type Value = readonly [name: string, datatype: Datatype, shape: readonly number[]];

interface Node {
  op: string;
  inputs: string[];
  outputs: string[];
  /** A number is an int attribute; a graph is a body; `{ type }` the element type of a datatype. */
  attributes?: Record<string, number | GraphProto | { type: Datatype }>;
}

interface Graph {
  inputs: Value[];
  outputs: Value[];
  nodes: Node[];
  /** Constants of 64-bit integers: shapes, counts. */
  integers?: Record<string, { shape: number[]; values: bigint[] }>;
  floats?: Record<string, { shape: number[]; values: Float32Array }>;
}

function graphOf({ inputs, outputs, nodes, integers = {}, floats = {} }: Graph): GraphProto {
  return create(GraphProtoSchema, {
    name: 'g',
    input: inputs.map(info),
    output: outputs.map(info),
    node: nodes.map(({ op, inputs: input, outputs: output, attributes = {} }) =>
      create(NodeProtoSchema, {
        opType: op,
        input,
        output,
        attribute: Object.entries(attributes).map(([name, value]) => attribute(name, value)),
      }),
    ),
    initializer: [
      ...Object.entries(integers).map(([name, { shape, values }]) =>
        create(TensorProtoSchema, {
          name,
          dims: shape.map(BigInt),
          dataType: TensorProto_DataType.INT64,
          int64Data: values,
        }),
      ),
      ...Object.entries(floats).map(([name, { shape, values }]) =>
        create(TensorProtoSchema, {
          name,
          dims: shape.map(BigInt),
          dataType: TensorProto_DataType.FLOAT,
          rawData: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
        }),
      ),
    ],
  });
}

export function onnxModel(graph: Graph): Uint8Array {
  return toBinary(
    ModelProtoSchema,
    create(ModelProtoSchema, {
      irVersion: 8n,
      opsetImport: [{ domain: '', version: 17n }],
      graph: graphOf(graph),
    }),
  );
}

/** y = x of any datatype. */
export function identityModel(datatype: Datatype, shape: readonly number[]): Uint8Array {
  return onnxModel({
    inputs: [['x', datatype, shape]],
    outputs: [['y', datatype, shape]],
    nodes: [{ op: 'Identity', inputs: ['x'], outputs: ['y'] }],
  });
}

/** y = relu(x₀ − x₁), small enough to compute by hand. */
export function differenceModel(): Uint8Array {
  return onnxModel({
    inputs: [['x', 'FP32', [-1, 2]]],
    outputs: [['y', 'FP32', [-1, 1]]],
    nodes: [
      { op: 'MatMul', inputs: ['x', 'kernel'], outputs: ['difference'] },
      { op: 'Relu', inputs: ['difference'], outputs: ['y'] },
    ],
    floats: { kernel: { shape: [2, 1], values: Float32Array.of(1, -1) } },
  });
}

/** sum = float32(a) + b; rounded = sum as a's datatype; same = a. */
export function addModel(datatype: Datatype): Uint8Array {
  return onnxModel({
    inputs: [
      ['a', datatype, [-1]],
      ['b', 'FP32', [-1]],
    ],
    outputs: [
      ['sum', 'FP32', [-1]],
      ['rounded', datatype, [-1]],
      ['same', datatype, [-1]],
    ],
    nodes: [
      { op: 'Cast', inputs: ['a'], outputs: ['wide'], attributes: { to: { type: 'FP32' } } },
      { op: 'Add', inputs: ['wide', 'b'], outputs: ['sum'] },
      { op: 'Cast', inputs: ['sum'], outputs: ['rounded'], attributes: { to: { type: datatype } } },
      { op: 'Identity', inputs: ['a'], outputs: ['same'] },
    ],
  });
}

/** A recurrent layer as frameworks export it with the sequence first: its rows are moments, of any number. */
export function timeFirstModel(): Uint8Array {
  return onnxModel({
    inputs: [['x', 'FP32', [-1, 1, 2]]],
    outputs: [['y', 'FP32', [-1, 1, 1, 2]]],
    nodes: [{ op: 'RNN', inputs: ['x', 'w', 'r'], outputs: ['y'], attributes: { hidden_size: 2 } }],
    floats: {
      w: { shape: [1, 2, 2], values: Float32Array.of(0.5, -0.3, 0.2, 0.4) },
      r: { shape: [1, 2, 2], values: Float32Array.of(0.6, 0.1, -0.2, 0.5) },
    },
  });
}

/**
 * Adds 1 to `x` as often as `n` says: as slow as a request asks for, so also a computation that never ends.
 */
export function loopModel(): Uint8Array {
  return onnxModel({
    inputs: [
      ['x', 'FP32', [-1, 1]],
      ['n', 'INT64', [-1, 1]],
    ],
    outputs: [['y', 'FP32', [-1, 1]]],
    nodes: [
      { op: 'ReduceMax', inputs: ['n'], outputs: ['most'], attributes: { keepdims: 0 } },
      { op: 'Loop', inputs: ['most', '', 'x'], outputs: ['y'], attributes: { body: addingOne() } },
    ],
    floats: { one: { shape: [1], values: Float32Array.of(1) } },
  });
}

/** The body of a Loop that adds the constant `one` to a column each time. */
export function addingOne(): GraphProto {
  return graphOf({
    inputs: [
      ['i', 'INT64', []],
      ['go', 'BOOL', []],
      ['sum', 'FP32', [-1, 1]],
    ],
    outputs: [
      ['go_on', 'BOOL', []],
      ['next', 'FP32', [-1, 1]],
    ],
    nodes: [
      { op: 'Identity', inputs: ['go'], outputs: ['go_on'] },
      { op: 'Add', inputs: ['sum', 'one'], outputs: ['next'] },
    ],
  });
}

/**
 * y = x + Σ of a tensor of `n` zeros × itself, turned: needs 4·n bytes of memory and more, as much as a request asks for.
 */
export function hungryModel(): Uint8Array {
  return onnxModel({
    inputs: [
      ['x', 'FP32', [-1, 1]],
      ['n', 'INT64', [-1, 1]],
    ],
    outputs: [['y', 'FP32', [-1, 1]]],
    nodes: [
      { op: 'ReduceMax', inputs: ['n'], outputs: ['most'], attributes: { keepdims: 0 } },
      { op: 'Reshape', inputs: ['most', 'flat'], outputs: ['length'] },
      { op: 'ConstantOfShape', inputs: ['length'], outputs: ['zeros'] },
      { op: 'Exp', inputs: ['zeros'], outputs: ['ones'] },
      { op: 'Log', inputs: ['ones'], outputs: ['none'] },
      { op: 'ReduceSum', inputs: ['none'], outputs: ['sum'], attributes: { keepdims: 0 } },
      { op: 'Add', inputs: ['x', 'sum'], outputs: ['y'] },
    ],
    integers: { flat: { shape: [1], values: [1n] } },
  });
}

/** y = x + Σ of 200 million constants that the runtime computes as it loads the model: 800 MB and more. */
export function greedyModel(): Uint8Array {
  return onnxModel({
    inputs: [['x', 'FP32', [-1, 1]]],
    outputs: [['y', 'FP32', [-1, 1]]],
    nodes: [
      { op: 'Expand', inputs: ['one', 'shape'], outputs: ['ones'] },
      { op: 'Exp', inputs: ['ones'], outputs: ['grown'] },
      { op: 'ReduceSum', inputs: ['grown'], outputs: ['sum'], attributes: { keepdims: 0 } },
      { op: 'Add', inputs: ['x', 'sum'], outputs: ['y'] },
    ],
    integers: { shape: { shape: [1], values: [200_000_000n] } },
    floats: { one: { shape: [1], values: Float32Array.of(0) } },
  });
}

/** Eight products of matrices of 512 × 512 one after another: work that is worth several threads. */
export function heavyModel(): Uint8Array {
  const names = ['x', ...Array.from({ length: 7 }, (_, i) => `h${i}`), 'y'];
  return onnxModel({
    inputs: [['x', 'FP32', [-1, 512]]],
    outputs: [['y', 'FP32', [-1, 512]]],
    nodes: names.slice(1).map((name, i) => ({
      op: 'MatMul',
      inputs: [names[i] ?? '', 'kernel'],
      outputs: [name],
    })),
    floats: { kernel: { shape: [512, 512], values: new Float32Array(512 * 512).fill(0.01) } },
  });
}

function attribute(name: string, value: number | GraphProto | { type: Datatype }) {
  if (typeof value === 'number')
    return create(AttributeProtoSchema, { name, i: BigInt(value), type: AttributeProto_AttributeType.INT });
  if ('type' in value)
    return create(AttributeProtoSchema, {
      name,
      i: BigInt(elementTypes[value.type]),
      type: AttributeProto_AttributeType.INT,
    });
  return create(AttributeProtoSchema, { name, g: value, type: AttributeProto_AttributeType.GRAPH });
}

function info([name, datatype, shape]: Value) {
  return create(ValueInfoProtoSchema, {
    name,
    type: {
      value: {
        case: 'tensorType',
        value: {
          elemType: elementTypes[datatype],
          shape: {
            dim: shape.map((size) => ({
              value:
                size === -1
                  ? { case: 'dimParam' as const, value: 'n' }
                  : { case: 'dimValue' as const, value: BigInt(size) },
            })),
          },
        },
      },
    },
  });
}
