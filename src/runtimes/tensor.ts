/** Tensors as every room knows them: row-major typed arrays with a shape; `shape[0]` is the number of rows. */
export const datatypes = ['BOOL', 'UINT8', 'INT8', 'INT32', 'INT64', 'FP32', 'FP64'] as const;
export type Datatype = (typeof datatypes)[number];

export type TensorData = Float32Array | Float64Array | Int32Array | BigInt64Array | Uint8Array | Int8Array;

export interface Tensor {
  name: string;
  datatype: Datatype;
  shape: number[];
  data: TensorData;
}

const bytesOf: Record<Datatype, number> = {
  BOOL: 1,
  UINT8: 1,
  INT8: 1,
  INT32: 4,
  INT64: 8,
  FP32: 4,
  FP64: 8,
};

export function bytesPerElement(datatype: Datatype): number {
  return bytesOf[datatype];
}

export function elementsOf(shape: readonly number[]): number {
  let product = 1;
  for (const dimension of shape) product *= dimension;
  return product;
}

/** A typed array of `length` elements over (a part of) a buffer; the byte offset must be aligned to the element. */
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
      return new Uint8Array(buffer, offset, length);
  }
}

export function emptyData(datatype: Datatype, length: number): TensorData {
  return viewOf(datatype, new ArrayBuffer(length * bytesOf[datatype]), 0, length);
}
