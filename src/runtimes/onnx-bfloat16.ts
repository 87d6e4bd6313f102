/**
 * onnxruntime's JavaScript API has no bfloat16. A model that takes or gives it is changed as it is loaded: its inputs
 * and outputs become float32, and a Cast at each end turns them into what the model wants. Every bfloat16 is a
 * float32, so that both ways are exact.
 *
 * Works on the bytes of the protocol buffer (onnx.proto's field numbers): weights are copied once, never decoded.
 */
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

const graphOfModel = 7;
const graph = { node: 1, initializer: 5, input: 11, output: 12 } as const;
const bfloat16 = 16;
const float32 = 1;
const suffix = '/float32';

export interface Widened {
  bytes: Uint8Array;
  /** Names in the changed model → names in the model as it was, of those that are bfloat16. */
  inputs: ReadonlyMap<string, string>;
  outputs: ReadonlyMap<string, string>;
}

/** Unchanged bytes and empty maps where nothing is bfloat16. Throws when the bytes are no model. */
export function widenBfloat16(bytes: Uint8Array): Widened {
  const inputs = new Map<string, string>();
  const outputs = new Map<string, string>();
  const model = fieldsOf(bytes);
  const body = model.find(({ number }) => number === graphOfModel)?.value;
  if (!body) return { bytes, inputs, outputs };
  const fields = fieldsOf(body);
  const constants = new Set(
    fields.filter(({ number }) => number === graph.initializer).map(({ value }) => text(value, 8)),
  );
  const ends = { [graph.input]: inputs, [graph.output]: outputs };
  for (const { number, value } of fields) {
    if (number !== graph.input && number !== graph.output) continue;
    const name = text(value, 1);
    // Old models list their weights among the inputs.
    if (number === graph.input && constants.has(name)) continue;
    if (elementType(value) === bfloat16) ends[number].set(name + suffix, name);
  }
  if (inputs.size + outputs.size === 0) return { bytes, inputs, outputs };
  const written = writeGraph(fields, inputs, outputs);
  const parts = model.map(({ number, value, raw }) =>
    number === graphOfModel && value === body ? delimited(graphOfModel, written) : raw,
  );
  return { bytes: Buffer.concat(parts), inputs, outputs };
}

function writeGraph(fields: Field[], inputs: Map<string, string>, outputs: Map<string, string>): Buffer {
  const widened = { [graph.input]: new Set(inputs.values()), [graph.output]: new Set(outputs.values()) };
  // Nodes are in the order in which they are computed.
  const before = [...inputs].map(([outer, inner]) => castNode(outer, inner, bfloat16));
  const after = [...outputs].map(([outer, inner]) => castNode(inner, outer, float32));
  const kept = fields.map(({ number, value, raw }) =>
    (number === graph.input || number === graph.output) && widened[number].has(text(value, 1))
      ? delimited(number, widenedValue(value))
      : raw,
  );
  return Buffer.concat([...before, ...kept, ...after]);
}

function castNode(from: string, to: string, elementType: number): Uint8Array {
  const attribute = new BinaryWriter()
    .tag(1, WireType.LengthDelimited)
    .string('to')
    .tag(3, WireType.Varint)
    .int64(elementType)
    .tag(20, WireType.Varint)
    .int32(2)
    .finish();
  const node = new BinaryWriter()
    .tag(1, WireType.LengthDelimited)
    .string(from)
    .tag(2, WireType.LengthDelimited)
    .string(to)
    .tag(4, WireType.LengthDelimited)
    .string('Cast')
    .tag(5, WireType.LengthDelimited)
    .bytes(attribute)
    .finish();
  return delimited(graph.node, node);
}

/** ValueInfoProto { name = 1, type = 2: TypeProto { tensor_type = 1: { elem_type = 1, shape = 2 } } } */
function widenedValue(value: Uint8Array): Uint8Array {
  const shape = tensorType(value)?.filter(({ number }) => number === 2) ?? [];
  const elem = new BinaryWriter().tag(1, WireType.Varint).int32(float32).finish();
  const tensor = Buffer.concat([elem, ...shape.map(({ raw }) => raw)]);
  const name = new BinaryWriter()
    .tag(1, WireType.LengthDelimited)
    .string(text(value, 1) + suffix)
    .finish();
  return Buffer.concat([name, delimited(2, delimited(1, tensor))]);
}

function tensorType(value: Uint8Array): Field[] | undefined {
  const type = fieldsOf(value).find(({ number }) => number === 2);
  const tensor = type && fieldsOf(type.value).find(({ number }) => number === 1);
  return tensor && fieldsOf(tensor.value);
}

function elementType(value: Uint8Array): number | undefined {
  const field = tensorType(value)?.find(({ number }) => number === 1);
  if (!field) return undefined;
  const reader = new BinaryReader(field.raw);
  reader.tag();
  return reader.int32();
}

interface Field {
  number: number;
  /** Its bytes without and with its tag and length; views. */
  value: Uint8Array;
  raw: Uint8Array;
}

function fieldsOf(bytes: Uint8Array): Field[] {
  const fields: Field[] = [];
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const start = reader.pos;
    const [number, wire] = reader.tag();
    const value = wire === WireType.LengthDelimited ? reader.bytes() : reader.skip(wire, number);
    fields.push({ number, value, raw: bytes.subarray(start, reader.pos) });
  }
  return fields;
}

function text(message: Uint8Array, number: number): string {
  const field = fieldsOf(message).find((other) => other.number === number);
  return field ? Buffer.from(field.value).toString('utf8') : '';
}

function delimited(number: number, value: Uint8Array): Uint8Array {
  const head = new BinaryWriter().tag(number, WireType.LengthDelimited).uint32(value.length).finish();
  return Buffer.concat([head, value]);
}
