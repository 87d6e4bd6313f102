/**
 * Writes a chain of layers as an ONNX model: opset 17, one FP32 input `input`, one FP32 output `output`.
 *
 * `onnx_pb.ts` is generated from `onnx.proto` (of the Python package onnx 1.23, Apache-2.0) with
 * @bufbuild/protoc-gen-es 2.17:
 * protoc --es_out=. --es_opt=target=ts,import_extension=ts,erasable_syntax=true onnx.proto
 */
import { create, toBinary } from '@bufbuild/protobuf';
import type { Activation, Chain, Step } from './chain.ts';
import {
  type AttributeProto,
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  type TensorProto,
  TensorProto_DataType,
  TensorProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from './onnx_pb.ts';

export const inputName = 'input';
export const outputName = 'output';

export function writeOnnx(chain: Chain<Float32Array>, name: string): Uint8Array {
  const graph = new GraphWriter();
  let value = inputName;
  for (const step of chain.steps) value = graph.step(step, value);
  graph.finish(value);
  return toBinary(
    ModelProtoSchema,
    create(ModelProtoSchema, {
      irVersion: 8n,
      producerName: 'commonwatt',
      opsetImport: [{ domain: '', version: 17n }],
      graph: {
        name,
        node: graph.nodes,
        initializer: graph.initialisers,
        input: [valueInfo(inputName, chain.inputShape)],
        output: [valueInfo(outputName, chain.outputShape)],
      },
    }),
  );
}

type Attributes = Record<string, { float: number } | { int: number }>;

class GraphWriter {
  readonly nodes: NodeProto[] = [];
  readonly initialisers: TensorProto[] = [];
  #values = 0;

  step(step: Step<Float32Array>, x: string): string {
    switch (step.type) {
      case 'flatten':
        return this.#node('Flatten', step.name, [x], { axis: { int: 1 } });
      case 'activation':
        return this.#activation(step.name, step.activation, x);
      case 'dense': {
        const kernel = this.#tensor(`${step.name}/kernel`, [step.inputs, step.units], step.kernel);
        const bias = step.bias && this.#tensor(`${step.name}/bias`, [step.units], step.bias);
        return this.#node('Gemm', step.name, bias ? [x, kernel, bias] : [x, kernel]);
      }
      case 'batchNormalization': {
        const filled = (value: number): Float32Array => new Float32Array(step.size).fill(value);
        const inputs = [
          ['gamma', step.gamma ?? filled(1)],
          ['beta', step.beta ?? filled(0)],
          ['moving_mean', step.mean],
          ['moving_variance', step.variance],
        ] as const;
        const names = inputs.map(([role, data]) => this.#tensor(`${step.name}/${role}`, [step.size], data));
        return this.#node('BatchNormalization', step.name, [x, ...names], {
          epsilon: { float: step.epsilon },
        });
      }
    }
  }

  /** Gives the last value its public name. */
  finish(value: string): void {
    const last = this.nodes.at(-1);
    if (last && value !== inputName) last.output = [outputName];
    else
      this.nodes.push(create(NodeProtoSchema, { opType: 'Identity', input: [value], output: [outputName] }));
  }

  #activation(name: string, activation: Activation, x: string): string {
    const node = (op: string, inputs: string[], attributes: Attributes = {}): string =>
      this.#node(op, `${name}/${op.toLowerCase()}`, inputs, attributes);
    const scalar = (value: number): string =>
      this.#tensor(`${name}/constant_${this.initialisers.length}`, [], Float32Array.of(value));
    switch (activation.kind) {
      case 'relu':
        return node('Relu', [x]);
      case 'sigmoid':
        return node('Sigmoid', [x]);
      case 'tanh':
        return node('Tanh', [x]);
      case 'softplus':
        return node('Softplus', [x]);
      case 'softsign':
        return node('Softsign', [x]);
      case 'exponential':
        return node('Exp', [x]);
      case 'softmax':
        return node('Softmax', [x], { axis: { int: -1 } });
      case 'logSoftmax':
        return node('LogSoftmax', [x], { axis: { int: -1 } });
      case 'clip':
        return node('Clip', [x, scalar(activation.min), scalar(activation.max)]);
      case 'leakyRelu':
        return node('LeakyRelu', [x], { alpha: { float: activation.alpha } });
      case 'elu':
        return node('Elu', [x], { alpha: { float: activation.alpha } });
      case 'selu':
        return node('Selu', [x], { alpha: { float: activation.alpha }, gamma: { float: activation.gamma } });
      case 'hardSigmoid':
        return node('HardSigmoid', [x], {
          alpha: { float: activation.alpha },
          beta: { float: activation.beta },
        });
      case 'hardSwish':
        return node('HardSwish', [x]);
      case 'silu':
        return node('Mul', [x, node('Sigmoid', [x])]);
      case 'mish':
        return node('Mul', [x, node('Tanh', [node('Softplus', [x])])]);
      case 'gelu': {
        // x · ½ · (1 + erf(x / √2)); the operator Gelu came only with opset 20.
        const erf = node('Erf', [node('Mul', [x, scalar(Math.SQRT1_2)])]);
        return node('Mul', [node('Mul', [x, scalar(0.5)]), node('Add', [erf, scalar(1)])]);
      }
    }
  }

  #node(opType: string, name: string, input: string[], attributes: Attributes = {}): string {
    const output = `value_${this.#values++}`;
    const attribute = Object.entries(attributes).map(([key, value]) => attributeOf(key, value));
    // Two operators of one layer must not share a name.
    this.nodes.push(
      create(NodeProtoSchema, {
        opType,
        name: `${name}_${this.#values}`,
        input,
        output: [output],
        attribute,
      }),
    );
    return output;
  }

  #tensor(name: string, dims: number[], data: Float32Array): string {
    this.initialisers.push(
      create(TensorProtoSchema, {
        name,
        dims: dims.map(BigInt),
        dataType: TensorProto_DataType.FLOAT,
        rawData: littleEndian(data),
      }),
    );
    return name;
  }
}

function attributeOf(name: string, value: { float: number } | { int: number }): AttributeProto {
  return 'float' in value
    ? create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.FLOAT, f: value.float })
    : create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.INT, i: BigInt(value.int) });
}

function valueInfo(name: string, shape: number[]): ValueInfoProto {
  return create(ValueInfoProtoSchema, {
    name,
    type: {
      value: {
        case: 'tensorType',
        value: {
          elemType: TensorProto_DataType.FLOAT,
          shape: {
            dim: [
              { value: { case: 'dimParam', value: 'batch' } },
              ...shape.map((dim) => ({ value: { case: 'dimValue' as const, value: BigInt(dim) } })),
            ],
          },
        },
      },
    },
  });
}

const hostIsLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

function littleEndian(data: Float32Array): Uint8Array {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return hostIsLittleEndian ? bytes : Buffer.from(bytes).swap32();
}
