// The networks that are served beside the example: of the sizes that people use, with weights from a fixed seed, so that
// their answers mean nothing, cost what such a network costs, and are the same on every run.
import { create, toBinary } from '@bufbuild/protobuf';
import {
  AttributeProtoSchema,
  AttributeProto_AttributeType as AttributeType,
  TensorProto_DataType as DataType,
  ModelProtoSchema,
  TensorProtoSchema,
  ValueInfoProtoSchema,
} from '../../dist/models/formats/onnx_pb.js';

export const tokens = 64;
export const width = 384;
const elementTypes = { FP32: DataType.FLOAT, INT64: DataType.INT64 };

/** A text encoder of MiniLM's size (6 layers, 12 heads, 30,522 words): tokens and their mask to the mean of the last states. */
export function encoder() {
  const [layers, heads, words, inner] = [6, 12, 30522, 1536];
  const net = new Network();
  const dense = (x, rows, columns) =>
    net.op('Add', [net.op('MatMul', [x, net.random([rows, columns])]), net.random([columns])]);
  const normal = (x) =>
    net.op('LayerNormalization', [x, net.full([width], 1), net.full([width], 0)], { axis: -1 });
  const cut = (x, perm) =>
    net.op(
      'Transpose',
      [net.op('Reshape', [dense(x, width, width), net.ints([0, 0, heads, width / heads])])],
      { perm },
    );

  const mask = net.op('Cast', ['attention_mask'], { to: DataType.FLOAT });
  const closed = net.op('Sub', [net.full([], 1), net.op('Unsqueeze', [mask, net.ints([1, 2])])]);
  const bias = net.op('Mul', [closed, net.full([], -10_000)]);
  const found = net.op('Gather', [net.random([words, width]), 'input_ids']);
  let x = normal(net.op('Add', [found, net.random([tokens, width])]));
  for (let layer = 0; layer < layers; layer++) {
    const [q, k, v] = [cut(x, [0, 2, 1, 3]), cut(x, [0, 2, 3, 1]), cut(x, [0, 2, 1, 3])];
    const scores = net.op('Mul', [net.op('MatMul', [q, k]), net.full([], (width / heads) ** -0.5)]);
    const shares = net.op('Softmax', [net.op('Add', [scores, bias])], { axis: -1 });
    const seen = net.op('Transpose', [net.op('MatMul', [shares, v])], { perm: [0, 2, 1, 3] });
    const together = net.op('Reshape', [seen, net.ints([0, 0, width])]);
    x = normal(net.op('Add', [x, dense(together, width, width)]));
    x = normal(net.op('Add', [x, dense(gelu(net, dense(x, width, inner)), inner, width)]));
  }
  const kept = net.op('Mul', [x, net.op('Unsqueeze', [mask, net.ints([2])])]);
  const sum = net.op('ReduceSum', [kept, net.ints([1])], { keepdims: 0 });
  net.op('Div', [sum, net.op('ReduceSum', [mask, net.ints([1])])], {}, 'output');
  const inputs = ['input_ids', 'attention_mask'].map((name) => ({
    name,
    datatype: 'INT64',
    shape: [tokens],
  }));
  return net.bytes(inputs, [{ name: 'output', datatype: 'FP32', shape: [width] }]);
}

/** Three convolutions over a picture of 28 × 28 (32, 64 and 128 channels), then ten classes. */
export function convolution() {
  const net = new Network();
  let [x, before] = ['input', 1];
  for (const channels of [32, 64, 128]) {
    const weights = [net.random([channels, before, 3, 3]), net.random([channels])];
    x = net.op('Relu', [net.op('Conv', [x, ...weights], { kernel_shape: [3, 3], pads: [1, 1, 1, 1] })]);
    if (channels < 128) x = net.op('MaxPool', [x], { kernel_shape: [2, 2], strides: [2, 2] });
    before = channels;
  }
  const flat = net.op('Flatten', [net.op('GlobalAveragePool', [x])]);
  net.op('Add', [net.op('MatMul', [flat, net.random([128, 10])]), net.random([10])], {}, 'output');
  const input = { name: 'input', datatype: 'FP32', shape: [1, 28, 28] };
  return net.bytes([input], [{ name: 'output', datatype: 'FP32', shape: [10] }]);
}

function gelu(net, x) {
  const curve = net.op('Erf', [net.op('Mul', [x, net.full([], 2 ** -0.5)])]);
  const half = net.op('Mul', [x, net.full([], 0.5)]);
  return net.op('Mul', [half, net.op('Add', [curve, net.full([], 1)])]);
}

class Network {
  #nodes = [];
  #constants = [];
  #seed = 1;

  op(opType, input, attributes = {}, name = `${opType}_${this.#nodes.length}`) {
    const attribute = Object.entries(attributes).map(([key, value]) => attributeOf(key, value));
    this.#nodes.push({ opType, input, output: [name], name, attribute });
    return name;
  }

  random(dims) {
    const values = new Float32Array(sizeOf(dims));
    // Numerical Recipes' congruential generator: quick, and the same everywhere.
    for (let i = 0; i < values.length; i++) {
      this.#seed = (Math.imul(this.#seed, 1664525) + 1013904223) >>> 0;
      values[i] = (this.#seed / 2 ** 32 - 0.5) * 0.07;
    }
    return this.#constant('FP32', dims, values);
  }

  full(dims, value) {
    return this.#constant('FP32', dims, new Float32Array(sizeOf(dims)).fill(value));
  }

  ints(values) {
    return this.#constant('INT64', [values.length], BigInt64Array.from(values, BigInt));
  }

  bytes(inputs, outputs) {
    const graph = {
      name: 'bench',
      node: this.#nodes,
      initializer: this.#constants,
      input: inputs.map(batched),
      output: outputs.map(batched),
    };
    const opsetImport = [{ domain: '', version: 17n }];
    return toBinary(
      ModelProtoSchema,
      create(ModelProtoSchema, { irVersion: 8n, producerName: 'bench', opsetImport, graph }),
    );
  }

  #constant(datatype, dims, values) {
    const name = `c${this.#constants.length}`;
    const rawData = new Uint8Array(values.buffer);
    const dataType = elementTypes[datatype];
    this.#constants.push(create(TensorProtoSchema, { name, dims: dims.map(BigInt), dataType, rawData }));
    return name;
  }
}

function sizeOf(dims) {
  return dims.reduce((product, size) => product * size, 1);
}

function attributeOf(name, value) {
  const given = Array.isArray(value)
    ? { type: AttributeType.INTS, ints: value.map(BigInt) }
    : { type: AttributeType.INT, i: BigInt(value) };
  return create(AttributeProtoSchema, { name, ...given });
}

/** A tensor whose first dimension is the rows of a batch. */
function batched({ name, datatype, shape }) {
  const dim = ['rows', ...shape].map((size) => ({
    value:
      typeof size === 'string'
        ? { case: 'dimParam', value: size }
        : { case: 'dimValue', value: BigInt(size) },
  }));
  const value = { elemType: elementTypes[datatype], shape: { dim } };
  return create(ValueInfoProtoSchema, { name, type: { value: { case: 'tensorType', value } } });
}
