/**
 * How much memory a message takes once decoded, found without decoding it: many tiny elements in one message take a
 * hundred times its size. The shape of messages comes from their schema; a field that the schema does not know is
 * passed over.
 */
import { type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';

/** Bytes of an object, a view of bytes, a whole number of 64 bits, and any other element, with its place in a list. */
const messageBytes = 256;
const viewBytes = 136;
const bigintBytes = 32;
const elementBytes = 8;

/** Throws what the reader throws, when it is no message; stops counting beyond `enough`. */
export function weigh(schema: DescMessage, bytes: Uint8Array, enough: number): number {
  const fields = fieldsOf(schema);
  const reader = new BinaryReader(bytes);
  let weight = messageBytes;
  while (reader.pos < reader.len && weight <= enough) {
    const [number, wireType] = reader.tag();
    const field = fields.get(number);
    if (wireType !== WireType.LengthDelimited || !field) {
      reader.skip(wireType, number);
      weight += field ? scalarBytes(field) : 0;
      continue;
    }
    const content = reader.bytes();
    weight += weightOf(field, content, enough - weight);
  }
  return weight;
}

const known = new WeakMap<DescMessage, Map<number, DescField>>();

function fieldsOf(schema: DescMessage): Map<number, DescField> {
  let fields = known.get(schema);
  if (!fields) {
    fields = new Map(schema.fields.map((field) => [field.number, field]));
    known.set(schema, fields);
  }
  return fields;
}

function weightOf(field: DescField, content: Uint8Array, enough: number): number {
  if (field.fieldKind === 'map') return messageBytes + content.length;
  if (field.message) return weigh(field.message, content, enough);
  // A packed list: no element is shorter than a byte, and those of a fixed size are at least four.
  if (field.fieldKind === 'list' && field.listKind === 'scalar' && isPackable(field.scalar)) {
    const fixed = field.scalar === ScalarType.FLOAT ? 4 : field.scalar === ScalarType.DOUBLE ? 8 : 1;
    return Math.ceil(content.length / fixed) * scalarBytes(field);
  }
  return viewBytes + content.length;
}

function isPackable(scalar: ScalarType): boolean {
  return scalar !== ScalarType.BYTES && scalar !== ScalarType.STRING;
}

function scalarBytes({ scalar }: DescField): number {
  return scalar === ScalarType.INT64 || scalar === ScalarType.UINT64 ? bigintBytes : elementBytes;
}
