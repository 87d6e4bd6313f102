/**
 * Does a model compute each row for itself? A first dimension of any size is mostly the batch, but may be time (a
 * recurrent network that takes the sequence first), and a model may compare its rows (a softmax or a mean along them).
 * Laying several callers' rows together would then give each of them something of the others. So before a version takes
 * traffic, rows are computed among others and alone, and must come out alike.
 */
import { CommonwattError } from '../errors.ts';
import type { ModelSignature, TensorSpec } from '../models/models.ts';
import type { TensorParts } from '../runtimes/frames.ts';
import {
  bytesPerElement,
  elementsOf,
  emptyData,
  packBytes,
  type Tensor,
  type TensorData,
  unpackBytes,
} from '../runtimes/tensor.ts';
import type { Replica } from './runner/replica.ts';

const rows = 4;
/** For a variable dimension that is not the first. */
const guessedDimension = 2;
/**
 * Part of the largest value of an output. Sizes of batches change roundings, and a network quantised on the fly rounds
 * by the largest value of the whole batch, which is seen as 1 to 3 %.
 */
const tolerance = 0.05;
/** Larger rows are not tried: they would cost memory and time that belong to requests. */
const rowBytesAtMost = 16 * 2 ** 20;
/** Random numbers of a row, which are repeated in a longer one; and values of an output that are compared. */
const drawnAtMost = 4096;
const comparedAtMost = 65_536;

/** Undefined: the model does not compute what was tried, which says nothing. */
export async function mixesRows(
  replica: Pick<Replica, 'run'>,
  { inputs }: ModelSignature,
): Promise<boolean | undefined> {
  if (inputs.reduce((sum, input) => sum + rowBytesOf(input), 0) > rowBytesAtMost) return undefined;
  const all = inputs.map(tried);
  try {
    const { outputs } = await replica.run(all);
    for (const row of [rows - 1, 0]) {
      const alone = await replica.run(all.map((input) => rowOf(input, row)));
      for (const [index, output] of outputs.entries())
        if (!isAlike(output, row, alone.outputs[index])) return true;
    }
    return false;
  } catch (error) {
    if (error instanceof CommonwattError && error.code === 'INVALID_TENSOR') return undefined;
    throw error;
  }
}

interface Tried extends TensorParts {
  /** Of each row its own data. */
  parts: readonly TensorData[];
}

function restOf({ shape }: TensorSpec): number[] {
  return shape.slice(1).map((size) => (size < 0 ? guessedDimension : size));
}

function rowBytesOf(spec: TensorSpec): number {
  return elementsOf(restOf(spec)) * (bytesPerElement(spec.datatype) ?? 8);
}

function tried(spec: TensorSpec, input: number): Tried {
  const { name, datatype } = spec;
  const rest = restOf(spec);
  const parts = Array.from({ length: rows }, (_, row) => {
    // Different in each row and input, the same each time.
    const random = numbers(1 + row * 31 + input * 1009);
    return rowData(datatype, elementsOf(rest), random);
  });
  return { name, datatype, shape: [rows, ...rest], parts };
}

function rowOf({ parts, shape, ...input }: Tried, row: number): TensorParts {
  return { ...input, shape: [1, ...shape.slice(1)], parts: parts.slice(row, row + 1) };
}

/** From 0 to 1. */
function* numbers(seed: number): Generator<number, never> {
  for (let state = seed; ; ) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield state / 2 ** 32;
  }
}

/** 1, 1/2, −1 and −1/2 as bits. */
const halves = { FP16: [0x3c00, 0x3800, 0xbc00, 0xb800], BF16: [0x3f80, 0x3f00, 0xbf80, 0xbf00] } as const;

function rowData(
  datatype: TensorSpec['datatype'],
  length: number,
  random: Iterator<number, never>,
): TensorData {
  const next = () => random.next().value;
  if (datatype === 'BYTES')
    return packBytes(Array.from({ length }, () => Buffer.from(next() < 0.5 ? 'one' : 'two')));
  const data = emptyData(datatype, length);
  const drawn = Math.min(length, drawnAtMost);
  for (let at = 0; at < drawn; at++) {
    const value = next();
    if (datatype === 'FP16' || datatype === 'BF16') data[at] = halves[datatype][Math.trunc(value * 4)] ?? 0;
    else if (data instanceof Float32Array || data instanceof Float64Array) data[at] = 2 * value - 1;
    // Integers are mostly numbers of words or classes: the first two exist everywhere.
    else if (data instanceof BigInt64Array || data instanceof BigUint64Array)
      data[at] = BigInt(Math.round(value));
    else data[at] = Math.round(value);
  }
  for (let filled = drawn; filled < length; filled *= 2) data.copyWithin(filled, 0, filled);
  return data;
}

function isAlike(among: Tensor, row: number, alone: Tensor | undefined): boolean {
  if (among.shape[0] !== rows || alone?.shape[0] !== 1) return false;
  if (among.shape.slice(1).join() !== alone.shape.slice(1).join()) return false;
  const width = elementsOf(alone.shape);
  if (among.datatype === 'BYTES') {
    const texts = unpackBytes(among.data as Uint8Array).slice(row * width, (row + 1) * width);
    const own = unpackBytes(alone.data as Uint8Array);
    return texts.every((text, at) => Buffer.compare(text, own[at] ?? new Uint8Array()) === 0);
  }
  const { datatype } = among;
  const length = Math.min(width, comparedAtMost);
  const beside = valuesOf(datatype, among.data.slice(row * width, row * width + length));
  const own = valuesOf(datatype, alone.data.slice(0, length));
  const allowed = /^(FP|BF)/.test(datatype)
    ? tolerance * largestOf(beside, own)
    : /INT8$/.test(datatype)
      ? 1
      : 0;
  return own.every((value, at) => {
    const other = beside[at] ?? Number.NaN;
    return Object.is(value, other) || Math.abs(value - other) <= allowed;
  });
}

function largestOf(...all: readonly number[][]): number {
  let largest = 0;
  for (const values of all)
    for (const value of values) if (Number.isFinite(value)) largest = Math.max(largest, Math.abs(value));
  return largest;
}

function valuesOf(datatype: Tensor['datatype'], data: TensorData): number[] {
  if (datatype === 'FP16') return Array.from(data as Uint16Array, halfOf);
  if (datatype === 'BF16')
    return [...new Float32Array(Uint32Array.from(data as Uint16Array, (bits) => bits << 16).buffer)];
  return Array.from<number | bigint, number>(data, Number);
}

function halfOf(bits: number): number {
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  const sign = bits & 0x8000 ? -1 : 1;
  if (exponent === 31) return fraction > 0 ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
}
