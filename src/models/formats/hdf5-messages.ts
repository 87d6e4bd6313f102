/**
 * Messages of HDF5 object headers, as far as a model file needs them: dataspace, datatype, layout, filters and
 * attributes. Every size a message declares is checked here, before a native parser sees the file.
 */
import { corrupt, type Hdf5Bytes, nowhere, uncommon, unsafe } from './hdf5-bytes.ts';

export interface Message {
  type: number;
  flags: number;
  offset: number;
  size: number;
}

export const messageTypes = {
  dataspace: 0x01,
  linkInfo: 0x02,
  datatype: 0x03,
  link: 0x06,
  externalFiles: 0x07,
  layout: 0x08,
  filters: 0x0b,
  attribute: 0x0c,
  continuation: 0x10,
  symbolTable: 0x11,
  driverInfo: 0x14,
  attributeInfo: 0x15,
} as const;

/** Dimensions; [] is a scalar, and a null dataspace is null. */
export function readDataspace(bytes: Hdf5Bytes, at: number, size: number): number[] | null {
  const version = bytes.u8(at);
  const rank = bytes.u8(at + 1);
  if (version !== 1 && version !== 2) throw corrupt(`dataspace version ${version} is unknown`, at);
  if (rank > 32) throw corrupt(`a dataspace has ${rank} dimensions`, at);
  const start = version === 1 ? 8 : 4;
  if (start + rank * 8 > size) throw corrupt('a dataspace is longer than its message', at);
  if (version === 2 && bytes.u8(at + 3) === 2) return null;
  return Array.from({ length: rank }, (_, i) => bytes.size(at + start + i * 8, 8));
}

export interface Datatype {
  class: number;
  size: number;
  /** IEEE 754 single precision, little-endian: the one numeric type of weights. */
  isFloat32: boolean;
  description: string;
}

export function readDatatype(bytes: Hdf5Bytes, at: number, size: number): Datatype {
  if (size < 8) throw corrupt('a datatype is shorter than its header', at);
  const kind = bytes.u8(at) & 0x0f;
  const width = bytes.u32(at + 4);
  const bigEndian = (bytes.u8(at + 1) & 1) === 1;
  if (kind !== 1)
    return { class: kind, size: width, isFloat32: false, description: classNames[kind] ?? 'unknown' };
  if (size < 20) throw corrupt('a floating-point datatype is shorter than its properties', at);
  const isFloat32 =
    width === 4 &&
    !bigEndian &&
    (bytes.u8(at + 1) & 0x70) === 0x20 && // implied leading mantissa bit
    bytes.u8(at + 2) === 31 && // sign
    bytes.u16(at + 8) === 0 &&
    bytes.u16(at + 10) === 32 && // offset and precision
    bytes.u8(at + 12) === 23 &&
    bytes.u8(at + 13) === 8 && // exponent
    bytes.u8(at + 14) === 0 &&
    bytes.u8(at + 15) === 23 && // mantissa
    bytes.u32(at + 16) === 127;
  return {
    class: kind,
    size: width,
    isFloat32,
    description: isFloat32 ? 'float32' : `${bigEndian ? 'big-endian ' : ''}float${width * 8}`,
  };
}

const classNames = [
  'integer',
  'float',
  'time',
  'string',
  'bitfield',
  'opaque',
  'compound',
  'reference',
  'enum',
  'variable-length',
  'array',
];

export interface Layout {
  kind: 'compact' | 'contiguous' | 'chunked';
  /** Bytes that the file holds for it; for chunked data those of one chunk. */
  bytes: number;
  /** Where they begin; not for chunked data. */
  offset?: number;
}

export function readLayout(bytes: Hdf5Bytes, message: Message, where: string): Layout {
  const at = message.offset;
  const version = bytes.u8(at);
  if (version !== 3 && version !== 4) throw uncommon(`uses data layout version ${version}`, where);
  const kind = bytes.u8(at + 1);
  if (kind === 0) {
    const size = bytes.u16(at + 2);
    if (4 + size > message.size) throw corrupt(`the data of ${where} is longer than its message`, at);
    return { kind: 'compact', bytes: size, offset: at + 4 };
  }
  if (kind === 1) {
    const address = bytes.u64(at + 2);
    const size = bytes.size(at + 10, 8);
    if (address === nowhere) {
      // No storage was allocated: the library would answer with fill values of any declared size.
      if (size > 0) throw corrupt(`the data of ${where} (${size} bytes) was never written`, at);
      return { kind: 'contiguous', bytes: 0 };
    }
    bytes.check(bytes.address(at + 2), size);
    return { kind: 'contiguous', bytes: size, offset: bytes.address(at + 2) };
  }
  if (kind === 2) {
    const [rankAt, width] = version === 3 ? [at + 2, 4] : [at + 3, bytes.u8(at + 4)];
    const rank = bytes.u8(rankAt);
    if (rank > 33 || width < 1 || width > 8) throw corrupt(`the chunks of ${where} are malformed`, at);
    const first = version === 3 ? at + 11 : at + 5;
    let chunk = 1;
    for (let i = 0; i < rank; i++) chunk *= bytes.size(first + i * width, width);
    return { kind: 'chunked', bytes: chunk };
  }
  throw unsafe(`dataset ${where} is virtual: its data is in other files`, where);
}

const allowedFilters = new Map([
  [1, 'deflate'],
  [2, 'shuffle'],
  [3, 'fletcher32'],
]);

export function checkFilters(bytes: Hdf5Bytes, message: Message, where: string): void {
  const version = bytes.u8(message.offset);
  const count = bytes.u8(message.offset + 1);
  let at = message.offset + (version === 1 ? 8 : 2);
  const end = message.offset + message.size;
  for (let i = 0; i < count; i++) {
    if (at + 8 > end) throw corrupt(`the filters of ${where} are longer than their message`, at);
    const id = bytes.u16(at);
    if (!allowedFilters.has(id))
      throw uncommon(
        `compresses ${where} with filter ${id}; gzip, shuffle and fletcher32 are supported`,
        where,
      );
    if (version === 1) {
      const values = bytes.u16(at + 6);
      at += 8 + Math.ceil(bytes.u16(at + 2) / 8) * 8 + (values + (values % 2)) * 4;
    } else at += 6 + bytes.u16(at + 4) * 4;
  }
}

/** An attribute must hold what it declares inside its own message. */
export function checkAttribute(bytes: Hdf5Bytes, message: Message, where: string): void {
  const at = message.offset;
  const version = bytes.u8(at);
  if (version < 1 || version > 3) throw corrupt(`attribute version ${version} is unknown`, at);
  if (version > 1 && bytes.u8(at + 1) !== 0) throw uncommon(`shares types between attributes`, where);
  const padded = (size: number): number => (version === 1 ? Math.ceil(size / 8) * 8 : size);
  const nameSize = padded(bytes.u16(at + 2));
  const typeSize = bytes.u16(at + 4);
  const spaceSize = bytes.u16(at + 6);
  const typeAt = at + (version === 3 ? 9 : 8) + nameSize;
  const spaceAt = typeAt + padded(typeSize);
  const dataAt = spaceAt + padded(spaceSize);
  if (dataAt > at + message.size) throw corrupt(`an attribute of ${where} is longer than its message`, at);
  const dims = readDataspace(bytes, spaceAt, spaceSize);
  const declared = dims === null ? 0 : readDatatype(bytes, typeAt, typeSize).size * product(dims);
  if (dataAt + declared > at + message.size)
    throw unsafe(
      `an attribute of ${where} declares ${declared} bytes where ${at + message.size - dataAt} are stored`,
      where,
    );
}

/** Exact as long as it matters: beyond 2^53 only "too large" is asked of it. */
export function product(dims: readonly number[]): number {
  return dims.reduce((all, dim) => all * dim, 1);
}
