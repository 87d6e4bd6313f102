/**
 * A bounded walk over the bytes of an ONNX model, by its schema, before it is decoded: a few bytes can stand for
 * an object of hundreds, and a tensor can say that its data is in another file. Weights are skipped, not read.
 */
import { type DescField, type DescMessage, fromBinary, ScalarType } from '@bufbuild/protobuf';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { CommonwattError } from '../../errors.ts';
import { ModelProtoSchema, TensorProtoSchema } from './onnx_pb.ts';

export interface WeighLimits {
  maxMessages: number;
  maxScalars: number;
}

const maxDepth = 60;

export function damagedOnnx(message: string, where: string, cause?: unknown): CommonwattError {
  return new CommonwattError('CORRUPT_MODEL', `the ONNX model is damaged: ${message}`, {
    where,
    hint: 'export it again and check it with onnx.checker.check_model',
    cause,
  });
}

/**
 * Throws CORRUPT_MODEL or UNSAFE_MODEL; the latter for data in other files, too, unless `external` allows it. Returns
 * whether there is such.
 */
export function weighOnnx(
  bytes: Uint8Array,
  limits: WeighLimits,
  { external = false }: { external?: boolean } = {},
): { external: boolean } {
  const walk = new Walk(bytes, limits, external);
  try {
    walk.message(ModelProtoSchema, bytes.length, 0);
  } catch (error) {
    if (error instanceof CommonwattError) throw error;
    throw damagedOnnx(error instanceof Error ? error.message : 'unreadable', `byte ${walk.position}`, error);
  }
  return { external: walk.external };
}

class Walk {
  external = false;
  readonly #bytes: Uint8Array;
  readonly #reader: BinaryReader;
  readonly #limits: WeighLimits;
  readonly #allowExternal: boolean;
  #messages = 0;
  #scalars = 0;

  constructor(bytes: Uint8Array, limits: WeighLimits, allowExternal: boolean) {
    this.#bytes = bytes;
    this.#reader = new BinaryReader(bytes);
    this.#limits = limits;
    this.#allowExternal = allowExternal;
  }

  get position(): number {
    return this.#reader.pos;
  }

  message(schema: DescMessage, end: number, depth: number): void {
    const reader = this.#reader;
    const start = reader.pos;
    this.#messages++;
    if (depth > maxDepth) throw heavy(`it is nested deeper than ${maxDepth}`, start);
    while (reader.pos < end) {
      const [number, wire] = reader.tag();
      const field = fieldOf(schema, number);
      if (schema === TensorProtoSchema) this.#meetExternal(number, wire, start, end);
      const inner = field?.message;
      if (inner && wire !== WireType.LengthDelimited)
        throw damagedOnnx(`${schema.name}.${field.name} is not a message`, `byte ${reader.pos}`);
      if (inner) this.message(inner, this.#lengthWithin(end), depth + 1);
      else if (wire === WireType.LengthDelimited) {
        const innerEnd = this.#lengthWithin(end);
        this.#scalars += packedCount(field, innerEnd - reader.pos);
        reader.pos = innerEnd;
      } else {
        if (wire === WireType.StartGroup || wire === WireType.EndGroup)
          throw damagedOnnx(`field ${number} of ${schema.name} is a group`, `byte ${reader.pos}`);
        reader.skip(wire, number);
        this.#scalars++;
      }
      if (this.#messages > this.#limits.maxMessages || this.#scalars > this.#limits.maxScalars)
        throw heavy(`it has more than ${this.#limits.maxMessages} parts`, reader.pos);
    }
    if (reader.pos !== end) throw damagedOnnx(`${schema.name} does not end where it should`, `byte ${end}`);
  }

  #lengthWithin(end: number): number {
    const at = this.#reader.pos;
    const length = this.#reader.uint32();
    const innerEnd = this.#reader.pos + length;
    if (innerEnd > end)
      throw damagedOnnx(
        `${length} bytes are announced where ${end - this.#reader.pos} follow; the file may be truncated`,
        `byte ${at}`,
      );
    return innerEnd;
  }

  #meetExternal(number: number, wire: WireType, start: number, end: number): void {
    const { externalData, dataLocation } = TensorProtoSchema.field;
    if (number === dataLocation.number && wire === WireType.Varint && this.#bytes[this.position] === 0)
      return;
    if (number !== externalData.number && number !== dataLocation.number) return;
    this.external = true;
    if (this.#allowExternal) return;
    const { name } = fromBinary(TensorProtoSchema, this.#bytes.subarray(start, end));
    throw new CommonwattError(
      'UNSAFE_MODEL',
      `tensor ${JSON.stringify(name.slice(0, 80))} keeps its data in another file`,
      {
        where: name.slice(0, 200),
        hint: 'import the file from its own folder with `commonwatt import FOLDER/model.onnx`, or save the model as one file: onnx.save_model(model, "model.onnx", save_as_external_data=False)',
      },
    );
  }
}

const fields = new WeakMap<DescMessage, Map<number, DescField>>();

function fieldOf(schema: DescMessage, number: number): DescField | undefined {
  let known = fields.get(schema);
  if (!known) {
    known = new Map(schema.fields.map((field) => [field.number, field]));
    fields.set(schema, known);
  }
  return known.get(number);
}

/** Objects that decoding makes of these bytes; text and bytes are one. */
function packedCount(field: DescField | undefined, length: number): number {
  if (field?.fieldKind !== 'list' || field.listKind === 'message') return 1;
  if (field.listKind === 'enum') return length;
  switch (field.scalar) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return 1;
    case ScalarType.FLOAT:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return length / 4;
    case ScalarType.DOUBLE:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return length / 8;
    default:
      return length;
  }
}

function heavy(message: string, offset: number): CommonwattError {
  return new CommonwattError('UNSAFE_MODEL', `the ONNX model is refused: ${message}`, {
    where: `byte ${offset}`,
    hint: 'store weights as raw data: onnx.numpy_helper.from_array does',
  });
}
