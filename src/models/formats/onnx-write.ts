/**
 * Writes a graph as an ONNX model of opset 17. Weights are many megabytes, so they go straight into the one
 * buffer that becomes the model: everything else is encoded first, and lengths are known before bytes are there.
 *
 * `onnx_pb.ts` is generated from `onnx.proto` (of the Python package onnx 1.23, Apache-2.0) with
 * @bufbuild/protoc-gen-es 2.17:
 * protoc --es_out=. --es_opt=target=ts,import_extension=ts,erasable_syntax=true onnx.proto
 */
import { setImmediate } from 'node:timers/promises';
import { create, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import type { Datatype } from '../models.ts';
import type { Attribute, Dim, Graph, Node, Port } from './graph.ts';
import {
  type AttributeProto,
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  GraphProtoSchema,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  TensorProto_DataType,
  TensorProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from './onnx_pb.ts';

const opset = 17n;

/** Field numbers of onnx.proto. */
const field = { modelGraph: 7, graphInitializer: 5, tensorRawData: 9 };

const elementTypes: Partial<Record<Datatype, TensorProto_DataType>> = {
  FP32: TensorProto_DataType.FLOAT,
  INT32: TensorProto_DataType.INT32,
  INT64: TensorProto_DataType.INT64,
  UINT8: TensorProto_DataType.UINT8,
  BOOL: TensorProto_DataType.BOOL,
};

interface Tensor {
  head: Uint8Array;
  bytes: number;
  data: () => Uint8Array;
}

/** Other requests get their turn after so many bytes of weights. */
const yieldAfterBytes = 8 * 1024 * 1024;

/** `stored` gives the weights as they are in the file; it is asked for each one when its turn has come. */
export async function writeOnnx<W>(
  graph: Graph<W>,
  name: string,
  stored: (place: W) => Float32Array,
): Promise<Uint8Array> {
  const tensors: Tensor[] = [
    ...graph.constants.map((constant) => {
      const { name, dims, data } = constant;
      const type =
        data instanceof Float32Array
          ? TensorProto_DataType.FLOAT
          : data instanceof Int32Array
            ? TensorProto_DataType.INT32
            : TensorProto_DataType.INT64;
      return tensor(name, dims, type, data.byteLength, () => littleEndian(data));
    }),
    ...graph.weights.map(({ name, dims, from, make }) =>
      tensor(
        name,
        dims,
        TensorProto_DataType.FLOAT,
        dims.reduce((a, b) => a * b, 4),
        () => littleEndian(make(from.map(stored))),
      ),
    ),
  ];
  const rest = toBinary(
    GraphProtoSchema,
    create(GraphProtoSchema, {
      name,
      node: graph.nodes.map(nodeProto),
      input: graph.inputs.map(valueInfo),
      output: graph.outputs.map(valueInfo),
    }),
  );
  const model = toBinary(
    ModelProtoSchema,
    create(ModelProtoSchema, {
      irVersion: 8n,
      producerName: 'commonwatt',
      opsetImport: [{ domain: '', version: opset }],
    }),
  );
  return assemble(model, rest, tensors);
}

async function assemble(model: Uint8Array, rest: Uint8Array, tensors: Tensor[]): Promise<Uint8Array> {
  const heads = tensors.map(({ head, bytes }) => {
    const raw = lengthPrefix(field.tensorRawData, bytes);
    return [lengthPrefix(field.graphInitializer, head.length + raw.length + bytes), head, raw] as const;
  });
  const tensorBytes = tensors.reduce(
    (sum, { bytes }, i) => sum + bytes + (heads[i] ?? []).reduce((a, b) => a + b.length, 0),
    0,
  );
  const graphPrefix = lengthPrefix(field.modelGraph, rest.length + tensorBytes);
  const out = new Uint8Array(model.length + graphPrefix.length + rest.length + tensorBytes);
  let at = 0;
  let sinceYield = 0;
  const put = (part: Uint8Array): void => {
    out.set(part, at);
    at += part.length;
  };
  for (const part of [model, graphPrefix, rest]) put(part);
  for (const [i, { data, bytes }] of tensors.entries()) {
    for (const part of heads[i] ?? []) put(part);
    const raw = data();
    if (raw.length !== bytes) throw new Error(`a tensor of ${bytes} bytes has ${raw.length}`);
    put(raw);
    sinceYield += bytes;
    if (sinceYield < yieldAfterBytes) continue;
    sinceYield = 0;
    await setImmediate();
  }
  return out;
}

function lengthPrefix(fieldNumber: number, length: number): Uint8Array {
  return new BinaryWriter().tag(fieldNumber, WireType.LengthDelimited).uint32(length).finish();
}

function tensor(
  name: string,
  dims: number[],
  dataType: TensorProto_DataType,
  bytes: number,
  data: () => Uint8Array,
): Tensor {
  const head = toBinary(
    TensorProtoSchema,
    create(TensorProtoSchema, { name, dims: dims.map(BigInt), dataType }),
  );
  return { head, bytes, data };
}

function nodeProto({ op, name, inputs, outputs, attributes }: Node): NodeProto {
  const attribute = Object.entries(attributes).map(([key, value]) => attributeProto(key, value));
  return create(NodeProtoSchema, { opType: op, name, input: inputs, output: outputs, attribute });
}

function attributeProto(name: string, value: Attribute): AttributeProto {
  const { FLOAT, FLOATS, INT, INTS, STRING, STRINGS } = AttributeProto_AttributeType;
  const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
  if ('float' in value) return create(AttributeProtoSchema, { name, type: FLOAT, f: value.float });
  if ('int' in value) return create(AttributeProtoSchema, { name, type: INT, i: BigInt(value.int) });
  if ('ints' in value)
    return create(AttributeProtoSchema, { name, type: INTS, ints: value.ints.map(BigInt) });
  if ('floats' in value) return create(AttributeProtoSchema, { name, type: FLOATS, floats: value.floats });
  if ('text' in value) return create(AttributeProtoSchema, { name, type: STRING, s: utf8(value.text) });
  return create(AttributeProtoSchema, { name, type: STRINGS, strings: value.texts.map(utf8) });
}

function valueInfo({ name, value }: Port): ValueInfoProto {
  const elemType = elementTypes[value.datatype];
  if (elemType === undefined) throw new Error(`${value.datatype} cannot be written`);
  const dim = value.shape.map((size: Dim, axis) =>
    size === null
      ? { value: { case: 'dimParam' as const, value: axis === 0 ? 'batch' : `${name}_axis_${axis}` } }
      : { value: { case: 'dimValue' as const, value: BigInt(size) } },
  );
  return create(ValueInfoProtoSchema, {
    name,
    type: { value: { case: 'tensorType', value: { elemType, shape: { dim } } } },
  });
}

const hostIsLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

function littleEndian(data: Float32Array | BigInt64Array | Int32Array): Uint8Array {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  if (hostIsLittleEndian) return bytes;
  const swapped = Buffer.from(bytes);
  return data.BYTES_PER_ELEMENT === 8 ? swapped.swap64() : swapped.swap32();
}
