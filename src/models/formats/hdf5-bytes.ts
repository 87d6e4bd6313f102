/** Bounded reading of HDF5's little-endian structures: nothing is read that the file does not contain. */
import { CommonwattError } from '../../errors.ts';

/** HDF5's "no address". */
export const nowhere = 0xffff_ffff_ffff_ffffn;

export function corrupt(message: string, offset: number): CommonwattError {
  return new CommonwattError('CORRUPT_MODEL', `the HDF5 file is damaged: ${message}`, {
    where: `byte ${offset}`,
    hint: 'save the model again with model.save("model.h5") and compare the file sizes after copying it',
  });
}

export function unsafe(message: string, where: string): CommonwattError {
  return new CommonwattError('UNSAFE_MODEL', message, {
    where,
    hint: 'save the whole model into one plain file with model.save("model.h5"), without links to other places',
  });
}

export function uncommon(message: string, where: string): CommonwattError {
  return new CommonwattError('UNSUPPORTED_FORMAT', `this HDF5 file ${message}`, {
    where,
    hint: 'save the model with model.save("model.h5") from Keras, which writes the plain layout',
  });
}

export class Hdf5Bytes {
  readonly #bytes: Buffer;
  /** Structures looked at so far; a file that wants more than this is not a model. */
  #steps = 0;
  readonly #maxSteps: number;

  constructor(bytes: Buffer, maxSteps: number) {
    this.#bytes = bytes;
    this.#maxSteps = maxSteps;
  }

  get length(): number {
    return this.#bytes.length;
  }

  step(offset: number): void {
    if (++this.#steps > this.#maxSteps)
      throw unsafe(`the HDF5 file has more than ${this.#maxSteps} structures`, `byte ${offset}`);
  }

  check(offset: number, size: number): void {
    if (offset < 0 || size < 0 || offset + size > this.#bytes.length)
      throw corrupt(
        `${size} bytes are wanted at byte ${offset}, but it has ${this.#bytes.length} bytes`,
        Math.min(offset, this.#bytes.length),
      );
  }

  u8(offset: number): number {
    this.check(offset, 1);
    return this.#bytes.readUInt8(offset);
  }

  u16(offset: number): number {
    this.check(offset, 2);
    return this.#bytes.readUInt16LE(offset);
  }

  u32(offset: number): number {
    this.check(offset, 4);
    return this.#bytes.readUInt32LE(offset);
  }

  u64(offset: number): bigint {
    this.check(offset, 8);
    return this.#bytes.readBigUInt64LE(offset);
  }

  /** A size of 1, 2, 4 or 8 bytes, as a number. */
  size(offset: number, width: number): number {
    this.check(offset, width);
    let value = 0n;
    for (let i = width - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.#bytes.readUInt8(offset + i));
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw corrupt(`a size of ${value} is impossible`, offset);
    return Number(value);
  }

  /** An address that must lie inside the file. */
  address(offset: number): number {
    const value = this.u64(offset);
    if (value >= BigInt(this.#bytes.length))
      throw corrupt(`it points to byte ${value}, but has ${this.#bytes.length} bytes`, offset);
    return Number(value);
  }

  signature(offset: number, expected: string): void {
    this.check(offset, expected.length);
    const found = this.#bytes.toString('latin1', offset, offset + expected.length);
    if (found !== expected)
      throw corrupt(`${JSON.stringify(expected)} is expected, ${JSON.stringify(found)} is there`, offset);
  }

  text(offset: number, length: number): string {
    this.check(offset, length);
    return this.#bytes.toString('utf8', offset, offset + length);
  }

  /** A zero-terminated text that ends before `end`. */
  textUntilZero(offset: number, end: number): string {
    this.check(offset, end - offset);
    const zero = this.#bytes.indexOf(0, offset);
    if (zero < 0 || zero >= end) throw corrupt('a name does not end', offset);
    return this.#bytes.toString('utf8', offset, zero);
  }
}
