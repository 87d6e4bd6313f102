/** The elements of a tensor as JSON, flat or nested, into its data; whatever the datatype cannot hold is refused. */
import type { TensorSpec } from '../../models/models.ts';
import { elementsOf, emptyData, packBytes, type TensorData } from '../../runtimes/tensor.ts';
import { longIntegerOf } from './json.ts';
import { checkCount, doesNotFit, integerRange, invalid, notANumber, notAValue, show } from './tensors.ts';

export function readJsonData(
  data: unknown,
  { datatype }: TensorSpec,
  shape: readonly number[],
  where: string,
): TensorData {
  if (datatype === 'FP16' || datatype === 'BF16')
    throw invalid(where, `is JSON, and ${datatype} has no JSON form; send it as binary data`, where);
  if (!Array.isArray(data)) throw invalid(where, 'is missing or not an array', where);
  const isNested = shape.length > 1 && Array.isArray(data[0]);
  if (!isNested) checkCount(data.length, shape, where);
  const flat = isNested ? flatten(data, shape, where) : data;
  if (datatype === 'BYTES') return packBytes(flat.map((text, index) => utf8(text, index, where)));
  const values = emptyData(datatype, elementsOf(shape));
  if (values instanceof Float32Array || values instanceof Float64Array) fillFloats(values, flat, where);
  else if (values instanceof BigInt64Array || values instanceof BigUint64Array) fillLong(values, flat, where);
  else if (datatype === 'BOOL') fillTruth(values, flat, where);
  else fillIntegers(values, flat, datatype, where);
  return values;
}

/** JSON has no NaN, and what it writes larger than the datatype holds became infinite: refused. */
function fillFloats(values: Float32Array | Float64Array, flat: readonly unknown[], where: string): void {
  const datatype = values instanceof Float32Array ? 'FP32' : 'FP64';
  for (let index = 0; index < flat.length; index++) {
    const given = flat[index];
    const value = typeof given === 'number' ? given : Number(longIntegerOf(given) ?? Number.NaN);
    values[index] = value;
    if (Number.isFinite(values[index])) continue;
    throw Number.isNaN(value)
      ? notANumber(given, index, where, datatype)
      : doesNotFit(value, index, where, datatype);
  }
}

const int64Range = [-(2n ** 63n), 2n ** 63n - 1n] as const;
const uint64Range = [0n, 2n ** 64n - 1n] as const;

function fillLong(values: BigInt64Array | BigUint64Array, flat: readonly unknown[], where: string): void {
  const signed = values instanceof BigInt64Array;
  const [low, high] = signed ? int64Range : uint64Range;
  const datatype = signed ? 'INT64' : 'UINT64';
  for (let index = 0; index < flat.length; index++) {
    const given = flat[index];
    // A number beyond 2^53 that is written with a point or an exponent may have been rounded.
    const whole =
      typeof given === 'number' && Number.isSafeInteger(given) ? BigInt(given) : longIntegerOf(given);
    if (whole === undefined)
      throw typeof given === 'number'
        ? notAValue(given, index, where, datatype)
        : notANumber(given, index, where, datatype);
    if (whole < low || whole > high) throw notAValue(whole, index, where, datatype);
    values[index] = whole;
  }
}

type ShortIntegers = Exclude<TensorData, BigInt64Array | BigUint64Array>;

function fillIntegers(
  values: ShortIntegers,
  flat: readonly unknown[],
  datatype: TensorSpec['datatype'],
  where: string,
): void {
  const [low, high] = integerRange[datatype] ?? [0, 1];
  for (let index = 0; index < flat.length; index++) {
    const value = flat[index];
    if (typeof value !== 'number') throw notANumber(value, index, where, datatype);
    if (!Number.isInteger(value) || value < low || value > high)
      throw notAValue(value, index, where, datatype);
    values[index] = value;
  }
}

function fillTruth(values: ShortIntegers, flat: readonly unknown[], where: string): void {
  for (let index = 0; index < flat.length; index++) {
    const value = flat[index];
    if (value === true || value === 1) values[index] = 1;
    else if (value !== false && value !== 0)
      throw typeof value === 'number'
        ? notAValue(value, index, where, 'BOOL')
        : notANumber(value, index, where, 'BOOL');
  }
}

function utf8(text: unknown, index: number, where: string): Buffer {
  const at = `${where}[${index}]`;
  if (typeof text !== 'string') throw invalid(at, `is ${show(text)}, not a string of BYTES`, at);
  if (loneSurrogate.test(text)) throw invalid(at, 'has half of a surrogate pair, which is no text', at);
  return Buffer.from(text);
}

const loneSurrogate = /\p{Surrogate}/u;

/** Row-major flattening of nested data, refusing any depth or length but the declared one. */
function flatten(data: readonly unknown[], shape: readonly number[], where: string): unknown[] {
  const flat: unknown[] = [];
  const path: number[] = [];
  const walk = (level: unknown, depth: number) => {
    if (!Array.isArray(level)) throw odd(path, where, 'is not an array as deep as the shape');
    if (level.length !== shape[depth])
      throw odd(path, where, `has ${level.length} elements; the shape says ${shape[depth]}`);
    if (depth === shape.length - 1) {
      for (const element of level) flat.push(element);
      return;
    }
    for (let index = 0; index < level.length; index++) {
      path.push(index);
      walk(level[index], depth + 1);
      path.pop();
    }
  };
  walk(data, 0);
  return flat;
}

function odd(path: readonly number[], where: string, why: string) {
  const at = where + path.map((index) => `[${index}]`).join('');
  return invalid(at, why, at);
}
