/** Numbers in and out of a pipeline's model, and what becomes of its scores and vectors. */
import { type Tensor, unpackBytes } from '../tensor.ts';
import type { Activation, Feed } from './manifest.ts';

/** Whole numbers in the type that the model wants. */
export function wholeNumbers(feed: Feed, shape: number[], values: readonly number[]): Tensor {
  const data =
    feed.datatype === 'INT64'
      ? BigInt64Array.from(values, (value) => BigInt(value))
      : Int32Array.from(values);
  return { name: feed.name, datatype: feed.datatype, shape, data };
}

export function floats(tensor: Tensor): Float32Array {
  if (tensor.datatype === 'FP32') return tensor.data as Float32Array;
  if (tensor.datatype === 'FP64') return Float32Array.from(tensor.data as Float64Array);
  if (tensor.datatype === 'FP16') return Float32Array.from(tensor.data as Uint16Array, fromHalf);
  throw new Error(`the model's output ${tensor.name} is ${tensor.datatype}, not floating point`);
}

export function pixelTensor(feed: Feed, shape: number[], values: Float32Array): Tensor {
  const data = feed.datatype === 'FP16' ? Uint16Array.from(values, toHalf) : values;
  return { name: feed.name, datatype: feed.datatype, shape, data };
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export function texts(input: Tensor | undefined, what: string): string[] {
  return elements(input, what).map((bytes, row) => {
    try {
      return utf8.decode(bytes);
    } catch {
      throw new Error(`${what}[${row}] is not valid UTF-8`);
    }
  });
}

export function elements(input: Tensor | undefined, what: string): Uint8Array[] {
  if (input?.datatype !== 'BYTES') throw new Error(`input ${what} must be BYTES`);
  return unpackBytes(input.data as Uint8Array);
}

/** In place. */
export function activate(scores: Float32Array, activation: Activation): Float32Array {
  if (activation === 'sigmoid') return scores.map((x) => 1 / (1 + Math.exp(-x)));
  if (activation === 'none') return scores;
  const most = scores.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const powers = Float64Array.from(scores, (x) => Math.exp(x - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return Float32Array.from(powers, (x) => x / sum);
}

export function indexOfMost(values: Float32Array): number {
  let at = 0;
  for (let index = 1; index < values.length; index++)
    if ((values[index] ?? 0) > (values[at] ?? 0)) at = index;
  return at;
}

/** In place, to length 1; a vector of zeros stays. */
export function normalise(vector: Float32Array): Float32Array {
  let squares = 0;
  for (const x of vector) squares += x * x;
  const scale = 1 / Math.max(Math.sqrt(squares), 1e-12);
  for (let index = 0; index < vector.length; index++) vector[index] = (vector[index] ?? 0) * scale;
  return vector;
}

/** The mean of the tokens that are no padding, or the first one. `states` is [length, width]. */
export function pool(
  states: Float32Array,
  width: number,
  { pooling, from, to }: { pooling: 'mean' | 'cls'; from: number; to: number },
): Float32Array {
  if (pooling === 'cls') return states.slice(from * width, (from + 1) * width);
  const sums = new Float64Array(width);
  for (let token = from; token < to; token++) {
    for (let i = 0, at = token * width; i < width; i++, at++) sums[i] = (sums[i] ?? 0) + (states[at] ?? 0);
  }
  return Float32Array.from(sums, (sum) => sum / Math.max(1, to - from));
}

const bits = new DataView(new ArrayBuffer(4));

function fromHalf(half: number): number {
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  const sign = half & 0x8000 ? -1 : 1;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Rounds to nearest, ties to even. */
function toHalf(value: number): number {
  bits.setFloat32(0, value);
  const sign = (bits.getUint32(0) >>> 16) & 0x8000;
  const size = Math.abs(Math.fround(value));
  if (Number.isNaN(size)) return sign | 0x7e00;
  if (size >= 65520) return sign | 0x7c00;
  if (size < 2 ** -14) return sign | roundEven(size * 2 ** 24);
  const exponent = Math.min(15, Math.floor(Math.log2(size)));
  // A fraction that rounds up to 1024 carries into the exponent, as it should.
  return sign | (((exponent + 15) << 10) + roundEven((size / 2 ** exponent - 1) * 1024));
}

function roundEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}
