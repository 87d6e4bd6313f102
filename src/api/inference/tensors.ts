/**
 * What every door of the Open Inference Protocol checks before tensors reach a model: names, datatypes, shapes,
 * counts, values. Each refusal says what was wrong, where, and what would be right.
 */
import { CommonwattError } from '../../errors.ts';
import type { TensorSpec } from '../../models/models.ts';
import { quote } from '../../models/names.ts';
import {
  countElements,
  type Datatype,
  elementsOf,
  type Tensor,
  type TensorData,
} from '../../runtimes/tensor.ts';
import type { WantedOutput } from './outputs.ts';

/** An inference request that fits the signature of its model. */
export interface InferRequest {
  id: string | undefined;
  /** In the order of the signature. */
  inputs: Tensor[];
  /** undefined: all. */
  outputs: WantedOutput[] | undefined;
  /** 0 is the most urgent; undefined: the deployment's own middle. */
  priority: number | undefined;
  /** How long the answer is of use; undefined: as the deployment says. */
  timeoutMs: number | undefined;
  /** False: exactly what was asked for answers, however dirty the grid is. */
  variants?: boolean;
}

/** More rows than this in one request are refused: they would hold up everybody's batches. */
const maxRowsPerRequest = 4096;
/** What one dimension can be on its way to a runner. */
const maxDimension = 0x7fffffff;

/** Every input of the signature once, in its order, all with as many rows. `read` makes one tensor. */
export function orderInputs<Given extends { name?: unknown }>(
  inputs: readonly Given[],
  specs: readonly TensorSpec[],
  read: (input: Given, spec: TensorSpec, where: string, index: number) => Tensor,
): Tensor[] {
  const given = new Map<string, Tensor>();
  inputs.forEach((input, index) => {
    const where = `inputs[${index}]`;
    const { name } = input;
    const spec = specs.find((candidate) => candidate.name === name);
    if (!spec)
      throw invalid(
        `${where}.name`,
        `${show(name)} is not an input of the model; it wants ${describe(specs)}`,
        `${where}.name`,
      );
    if (given.has(spec.name))
      throw invalid(`${where}.name`, `${quote(spec.name)} is given twice`, `${where}.name`);
    given.set(spec.name, read(input, spec, where, index));
  });
  const ordered = specs.map((spec) => {
    const tensor = given.get(spec.name);
    if (!tensor)
      throw invalid('"inputs"', `lacks ${quote(spec.name)}; the model wants ${describe(specs)}`, 'inputs');
    return tensor;
  });
  // First dimensions that are not all free are no rows of a batch, and may differ.
  if (specs.every(({ shape }) => shape[0] === -1)) checkRows(ordered);
  return ordered;
}

function checkRows(inputs: readonly Tensor[]): void {
  const rows = inputs[0]?.shape[0];
  const odd = inputs.find((tensor) => tensor.shape[0] !== rows);
  if (odd)
    throw invalid(
      `input ${quote(odd.name)}`,
      `has ${odd.shape[0]} rows and ${quote(inputs[0]?.name ?? '')} has ${rows}; all inputs need as many`,
      'inputs',
    );
}

export function checkDatatype(datatype: unknown, spec: TensorSpec, where: string): void {
  if (datatype !== spec.datatype)
    throw invalid(
      `${where}.datatype`,
      `is ${show(datatype)}; input ${quote(spec.name)} is ${spec.datatype}`,
      `${where}.datatype`,
    );
}

/** The shape, when it is one that the input can have. As in Triton, there is at least one row. */
export function checkShape(shape: unknown, spec: TensorSpec, where: string): number[] {
  const wrong = (why: string) =>
    invalid(
      `${where}.shape`,
      `${why}; input ${quote(spec.name)} has the shape [${spec.shape.join(', ')}], −1 being any size`,
      `${where}.shape`,
    );
  if (!Array.isArray(shape)) throw wrong('is missing or not an array');
  if (shape.length !== spec.shape.length)
    throw wrong(`has ${shape.length} dimensions instead of ${spec.shape.length}`);
  shape.forEach((dimension: unknown, index) => {
    const fixed = spec.shape[index];
    if (dimension === fixed && fixed !== -1) return;
    const least = fixed === -1 && index > 0 ? 0 : 1;
    if (typeof dimension !== 'number' || !Number.isSafeInteger(dimension) || dimension < least)
      throw wrong(`has the dimension ${show(dimension)}, which is not a positive integer`);
    if (fixed !== -1) throw wrong(`is [${shape.slice(0, 8).map(String).join(', ')}]`);
    if (index > 0 && dimension > maxDimension)
      throw wrong(`has the dimension ${dimension}, which is too large`);
  });
  if (spec.shape[0] === -1 && (shape[0] as number) > maxRowsPerRequest)
    throw wrong(`asks for ${shape[0]} rows; at most ${maxRowsPerRequest} go in one request`);
  return shape as number[];
}

/** Bounds memory by what was really sent: a shape alone allocates nothing. */
export function checkCount(count: number, shape: readonly number[], where: string): void {
  const length = elementsOf(shape);
  if (count !== length)
    throw invalid(where, `has ${count} elements; shape [${shape.join(', ')}] needs ${length}`, where);
}

export const integerRange: Partial<Record<Datatype, readonly [number, number]>> = {
  UINT8: [0, 255],
  INT8: [-128, 127],
  UINT16: [0, 65535],
  INT16: [-32768, 32767],
  UINT32: [0, 4294967295],
  INT32: [-2147483648, 2147483647],
  UINT64: [0, Number.MAX_SAFE_INTEGER],
  INT64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
};

/** Copies numbers into a tensor's data, refusing what its datatype cannot hold. NaN and infinities are floats, too. */
export function fill(values: TensorData, flat: readonly unknown[], datatype: Datatype, where: string): void {
  if (values instanceof Float32Array || values instanceof Float64Array) {
    for (let index = 0; index < flat.length; index++) {
      const value = flat[index];
      if (typeof value !== 'number') throw notANumber(value, index, where, datatype);
      values[index] = value;
      if (Number.isFinite(value) && !Number.isFinite(values[index]))
        throw doesNotFit(value, index, where, datatype);
    }
    return;
  }
  const [low, high] = integerRange[datatype] ?? [0, 1];
  for (let index = 0; index < flat.length; index++) {
    const given = flat[index];
    const value = datatype === 'BOOL' && typeof given === 'boolean' ? Number(given) : given;
    if (typeof value !== 'number') throw notANumber(given, index, where, datatype);
    if (!Number.isInteger(value) || value < low || value > high)
      throw notAValue(value, index, where, datatype);
    if (values instanceof BigInt64Array || values instanceof BigUint64Array) values[index] = BigInt(value);
    else values[index] = value;
  }
}

/** Data that came as bytes: truth values are 0 and 1, and BYTES has as many whole elements as its shape says. */
export function checkValues(
  values: TensorData,
  datatype: Datatype,
  where: string,
  shape: readonly number[] = [values.length],
): void {
  if (!(values instanceof Uint8Array)) return;
  if (datatype === 'BOOL') {
    const index = values.findIndex((value) => value > 1);
    if (index >= 0) throw notAValue(values[index] ?? 0, index, where, datatype);
  } else if (datatype === 'BYTES') {
    let count: number;
    try {
      count = countElements(values);
    } catch (cause) {
      throw invalid(where, `is not packed as BYTES: ${(cause as Error).message}`, where);
    }
    checkCount(count, shape, where);
  }
}

export function describe(specs: readonly TensorSpec[]): string {
  const shown = specs
    .slice(0, 16)
    .map(({ name, datatype, shape }) => `${quote(name)} ${datatype} [${shape.join(', ')}]`);
  return specs.length > 16 ? `${shown.join(', ')} and ${specs.length - 16} more` : shown.join(', ');
}

export function invalid(what: string, why: string, where: string): CommonwattError {
  return new CommonwattError('INVALID_TENSOR', `${what} ${why}`, { where });
}

/** What was sent, in a few words: never more than a line, however long or deep it is. */
export function show(value: unknown): string {
  if (value === undefined) return 'missing';
  if (typeof value === 'string') return quote(value);
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'object' && value !== null) return 'an object';
  return quote(String(value));
}

export function notANumber(value: unknown, index: number, where: string, datatype: Datatype) {
  const at = `${where}[${index}]`;
  return invalid(at, `is ${show(value)}, not a number of ${datatype}`, at);
}

export function doesNotFit(value: number, index: number, where: string, datatype: Datatype) {
  const at = `${where}[${index}]`;
  return invalid(at, `${value} does not fit into ${datatype}`, at);
}

export function notAValue(value: number | bigint, index: number, where: string, datatype: Datatype) {
  const at = `${where}[${index}]`;
  return invalid(at, `${value} is not a value of ${datatype}`, at);
}
