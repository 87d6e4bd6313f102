/**
 * The binary tensor data extension: raw little-endian elements after the JSON, in the order of the tensors that say
 * `binary_data_size`. Every processor that the runtime exists for is little-endian, so nothing is converted.
 * Source: Triton's extension_binary_data.md.
 */
import { CommonwattError } from '../../errors.ts';
import type { TensorSpec } from '../../models/models.ts';
import {
  bytesPerElement,
  elementsOf,
  packBytes,
  type Tensor,
  type TensorData,
  viewOf,
} from '../../runtimes/tensor.ts';
import { checkValues, describe, invalid } from './tensors.ts';

/** The header that tells how long the JSON before the raw bytes is. */
export const headerLengthHeader = 'inference-header-content-length';

/** Undefined: the header is absent, and the whole body is JSON. */
export function readHeaderLength(header: string | string[] | undefined): number | undefined {
  if (header === undefined) return undefined;
  if (typeof header === 'string' && /^\d{1,15}$/.test(header)) return Number(header);
  throw new CommonwattError('INVALID_REQUEST', `${headerLengthHeader} is not a length in bytes`, {
    where: `header.${headerLengthHeader}`,
    hint: 'give the length of the JSON that stands before the binary data',
  });
}

/** The raw bytes of a request, handed out from first to last. */
export class BinaryPart {
  readonly #body: Buffer;
  #at: number;

  /** Throws INVALID_REQUEST when the JSON would be longer than the body. */
  constructor(body: Buffer, jsonLength: number) {
    if (jsonLength > body.length)
      throw new CommonwattError(
        'INVALID_REQUEST',
        `${headerLengthHeader} says ${jsonLength}, and the body has ${body.length} bytes`,
        { where: `header.${headerLengthHeader}` },
      );
    this.#body = body;
    this.#at = jsonLength;
  }

  take(size: number, { datatype }: TensorSpec, shape: readonly number[], where: string): TensorData {
    const width = bytesPerElement(datatype);
    const wanted = width === null ? size : elementsOf(shape) * width;
    if (size !== wanted)
      throw invalid(
        `${where}.parameters.binary_data_size`,
        `is ${size}; ${datatype} of shape [${shape.join(', ')}] has ${wanted} bytes`,
        where,
      );
    const left = this.#body.length - this.#at;
    if (size > left)
      throw invalid(
        `${where}.parameters.binary_data_size`,
        `is ${size}, and ${left} bytes of binary data are left in the body`,
        where,
      );
    const bytes = this.#body.subarray(this.#at, this.#at + size);
    this.#at += size;
    const data = aligned(bytes, datatype, width ?? 1);
    checkValues(data, datatype, `${where} (binary data)`, shape);
    return data;
  }

  /** Throws when bytes are left that no input claimed. */
  end(): void {
    const left = this.#body.length - this.#at;
    if (left > 0)
      throw invalid(
        'the binary data',
        `has ${left} bytes more than the inputs say`,
        `header.${headerLengthHeader}`,
      );
  }
}

/** Elements must begin where their width says; what was received begins anywhere, and is copied only when it must. */
function aligned(bytes: Uint8Array, datatype: Tensor['datatype'], width: number): TensorData {
  const fits = bytes.byteOffset % width === 0;
  return fits
    ? viewOf(datatype, bytes.buffer, bytes.byteOffset, bytes.length / width)
    : viewOf(datatype, new Uint8Array(bytes).buffer, 0, bytes.length / width);
}

/** A request without any JSON: the body is the one input of the model, and its shape follows from its length. */
export function readRawBody(body: Buffer, specs: readonly TensorSpec[]): Tensor[] {
  const [spec] = specs;
  if (!spec || specs.length > 1)
    throw rawRefused(
      `the model has ${specs.length} inputs, and a body without JSON is exactly one; it wants ${describe(specs)}`,
    );
  const { name, datatype } = spec;
  if (datatype === 'BYTES') {
    const shape = spec.shape.map((dimension) => (dimension === -1 ? 1 : dimension));
    if (elementsOf(shape) !== 1)
      throw rawRefused(`input ${describe(specs)} does not hold exactly one string`);
    return [{ name, datatype, shape, data: packBytes([body]) }];
  }
  const shape = deduced(spec, body.length);
  const data = new BinaryPart(body, 0).take(body.length, spec, shape, 'the body');
  return [{ name, datatype, shape, data }];
}

function deduced(spec: TensorSpec, bytes: number): number[] {
  const free = spec.shape.filter((dimension) => dimension === -1).length;
  if (free > 1) throw rawRefused(`input ${describe([spec])} has more than one dimension of any size`);
  const fixed = spec.shape.reduce(
    (product, dimension) => (dimension === -1 ? product : product * dimension),
    1,
  );
  const size = bytes / (fixed * (bytesPerElement(spec.datatype) ?? 1));
  if (free === 1 && (!Number.isInteger(size) || size < 1))
    throw rawRefused(`${bytes} bytes are no whole number of rows of ${describe([spec])}`);
  return spec.shape.map((dimension) => (dimension === -1 ? size : dimension));
}

function rawRefused(why: string): CommonwattError {
  return new CommonwattError('INVALID_TENSOR', why, {
    where: 'body',
    hint: `put a JSON object with "inputs" before the data, and its length into ${headerLengthHeader}`,
  });
}
