/**
 * Tensors as every room knows them: row-major typed arrays with a shape; `shape[0]` is the number of rows.
 *
 * FP16 and BF16 are their bits in a Uint16Array; BOOL is 0 or 1 in a Uint8Array. BYTES is the protocol's own packed
 * form in a Uint8Array: for each element a little-endian uint32 length, then its bytes. So the parts of several callers
 * are joined along the first dimension by laying them one after another, whatever the datatype.
 */
export const datatypes = [
  'BOOL',
  'UINT8',
  'INT8',
  'INT32',
  'INT64',
  'FP32',
  'FP64',
  'UINT16',
  'UINT32',
  'UINT64',
  'INT16',
  'FP16',
  'BF16',
  'BYTES',
] as const;
export type Datatype = (typeof datatypes)[number];

export type TensorData =
  | Float32Array
  | Float64Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | BigUint64Array;

export interface Tensor {
  name: string;
  datatype: Datatype;
  shape: number[];
  data: TensorData;
}

const bytesOf = {
  BOOL: 1,
  UINT8: 1,
  INT8: 1,
  INT32: 4,
  INT64: 8,
  FP32: 4,
  FP64: 8,
  UINT16: 2,
  UINT32: 4,
  UINT64: 8,
  INT16: 2,
  FP16: 2,
  BF16: 2,
  BYTES: null,
} as const satisfies Record<Datatype, number | null>;

/** Null for BYTES, whose elements have lengths of their own. */
export function bytesPerElement(datatype: Datatype): number | null {
  return bytesOf[datatype];
}

export function elementsOf(shape: readonly number[]): number {
  let product = 1;
  for (const dimension of shape) product *= dimension;
  return product;
}

/**
 * A typed array over (a part of) a buffer; the byte offset must be aligned to the element. `length` counts elements,
 * for BYTES bytes of the packed form.
 */
export function viewOf(
  datatype: Datatype,
  buffer: ArrayBufferLike,
  offset: number,
  length: number,
): TensorData {
  switch (datatype) {
    case 'FP32':
      return new Float32Array(buffer, offset, length);
    case 'FP64':
      return new Float64Array(buffer, offset, length);
    case 'INT32':
      return new Int32Array(buffer, offset, length);
    case 'INT64':
      return new BigInt64Array(buffer, offset, length);
    case 'INT8':
      return new Int8Array(buffer, offset, length);
    case 'UINT8':
    case 'BOOL':
    case 'BYTES':
      return new Uint8Array(buffer, offset, length);
    case 'UINT16':
    case 'FP16':
    case 'BF16':
      return new Uint16Array(buffer, offset, length);
    case 'INT16':
      return new Int16Array(buffer, offset, length);
    case 'UINT32':
      return new Uint32Array(buffer, offset, length);
    case 'UINT64':
      return new BigUint64Array(buffer, offset, length);
  }
}

/** Zeros: `length` elements (for BYTES bytes of the packed form). */
export function emptyData(datatype: Datatype, length: number): TensorData {
  return viewOf(datatype, new ArrayBuffer(length * (bytesOf[datatype] ?? 1)), 0, length);
}

/** Packs the elements of a BYTES tensor. */
export function packBytes(elements: readonly Uint8Array[]): Uint8Array {
  const packed = new Uint8Array(elements.reduce((sum, { length }) => sum + 4 + length, 0));
  const view = new DataView(packed.buffer);
  let at = 0;
  for (const element of elements) {
    view.setUint32(at, element.length, true);
    packed.set(element, at + 4);
    at += 4 + element.length;
  }
  return packed;
}

/** The elements of a BYTES tensor, as views into it. Throws a RangeError when a length runs past the end. */
export function unpackBytes(packed: Uint8Array): Uint8Array[] {
  const elements: Uint8Array[] = [];
  for (let at = 0; at < packed.length; ) {
    const end = endOfElement(packed, at);
    elements.push(packed.subarray(at + 4, end));
    at = end;
  }
  return elements;
}

/** How many elements a BYTES tensor holds, counted in place. Throws a RangeError when a length runs past the end. */
export function countElements(packed: Uint8Array): number {
  let count = 0;
  for (let at = 0; at < packed.length; count++) at = endOfElement(packed, at);
  return count;
}

function endOfElement(packed: Uint8Array, at: number): number {
  const [a, b, c, d] = [packed[at], packed[at + 1], packed[at + 2], packed[at + 3]];
  if (a === undefined || b === undefined || c === undefined || d === undefined)
    throw new RangeError(`BYTES: a length at byte ${at} is cut off`);
  const end = at + 4 + ((a | (b << 8) | (c << 16) | (d << 24)) >>> 0);
  if (end > packed.length) throw new RangeError(`BYTES: the element at byte ${at} runs past the end`);
  return end;
}

/** Cuts a tensor along its first dimension into pieces of so many rows each (Σ rows = shape[0]), as views. */
export function splitRows({ name, datatype, shape, data }: Tensor, rows: readonly number[]): Tensor[] {
  const rowShape = shape.slice(1);
  const perRow = elementsOf(rowShape);
  let at = 0;
  return rows.map((count) => {
    const from = at;
    if (datatype === 'BYTES')
      for (let left = count * perRow; left > 0; left--) at = endOfElement(data as Uint8Array, at);
    else at += count * perRow;
    return { name, datatype, shape: [count, ...rowShape], data: data.subarray(from, at) };
  });
}
