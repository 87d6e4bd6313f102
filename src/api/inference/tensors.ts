/**
 * What every door of the Open Inference Protocol checks before tensors reach a model: names, datatypes, shapes,
 * counts, values. Each refusal says what was wrong, where, and what would be right.
 */
import { CommonwattError } from '../../errors.ts';
import type { TensorSpec } from '../../models/models.ts';
import { quote } from '../../models/names.ts';
import { type Datatype, elementsOf, type Tensor, type TensorData } from '../../runtimes/tensor.ts';

/** An inference request that fits the signature of its model. */
export interface InferRequest {
  id: string | undefined;
  /** In the order of the signature. */
  inputs: Tensor[];
  /** Names of the outputs that are wanted; undefined: all. */
  outputs: string[] | undefined;
}

/** More rows than this in one request are refused: they would hold up everybody's batches. */
const maxRowsPerRequest = 4096;

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
  const rows = ordered[0]?.shape[0];
  const odd = ordered.find((tensor) => tensor.shape[0] !== rows);
  if (odd)
    throw invalid(
      `input ${quote(odd.name)}`,
      `has ${odd.shape[0]} rows and ${quote(ordered[0]?.name ?? '')} has ${rows}; all inputs need as many`,
      'inputs',
    );
  return ordered;
}

export function checkDatatype(datatype: unknown, spec: TensorSpec, where: string): void {
  if (datatype !== spec.datatype)
    throw invalid(
      `${where}.datatype`,
      `is ${show(datatype)}; input ${quote(spec.name)} is ${spec.datatype}`,
      `${where}.datatype`,
    );
}

/** The shape, when it is one that the input can have. */
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
    if (typeof dimension !== 'number' || !Number.isSafeInteger(dimension) || dimension < 1)
      throw wrong(`has the dimension ${show(dimension)}, which is not a positive integer`);
    const fixed = spec.shape[index];
    if (fixed !== -1 && dimension !== fixed) throw wrong(`is [${shape.slice(0, 8).map(String).join(', ')}]`);
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

const integerRange: Partial<Record<Datatype, readonly [number, number]>> = {
  UINT8: [0, 255],
  INT8: [-128, 127],
  INT32: [-2147483648, 2147483647],
  INT64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
};

/** Copies elements of any kind into a tensor's data, refusing what its datatype cannot hold. */
export function fill(values: TensorData, flat: readonly unknown[], datatype: Datatype, where: string): void {
  if (values instanceof Float32Array || values instanceof Float64Array) {
    for (let index = 0; index < flat.length; index++) {
      const value = flat[index];
      if (typeof value !== 'number') throw notANumber(value, index, where, datatype);
      values[index] = value;
      if (!Number.isFinite(values[index])) throw doesNotFit(value, index, where, datatype);
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
    if (values instanceof BigInt64Array) values[index] = BigInt(value);
    else values[index] = value;
  }
}

/** Data that came as bytes holds only what `fill` would have let in: finite floats, 0 and 1 as truth values. */
export function checkValues(values: TensorData, datatype: Datatype, where: string): void {
  if (values instanceof Float32Array || values instanceof Float64Array) {
    const index = values.findIndex((value) => !Number.isFinite(value));
    if (index >= 0) throw doesNotFit(values[index] ?? Number.NaN, index, where, datatype);
  } else if (datatype === 'BOOL' && values instanceof Uint8Array) {
    const index = values.findIndex((value) => value > 1);
    if (index >= 0) throw notAValue(values[index] ?? 0, index, where, datatype);
  }
}

/** The names of the wanted outputs; undefined when all are. */
export function wantedOutputs(names: readonly unknown[], specs: readonly TensorSpec[]): string[] | undefined {
  if (names.length === 0) return undefined;
  return names.map((name, index) => {
    if (typeof name !== 'string' || !specs.some((spec) => spec.name === name)) {
      throw invalid(
        `outputs[${index}].name`,
        `${show(name)} is not an output of the model; it gives ${describe(specs)}`,
        `outputs[${index}].name`,
      );
    }
    return name;
  });
}

export function describe(specs: readonly TensorSpec[]): string {
  return specs
    .map(({ name, datatype, shape }) => `${quote(name)} ${datatype} [${shape.join(', ')}]`)
    .join(', ');
}

export function invalid(what: string, why: string, where: string): CommonwattError {
  return new CommonwattError('INVALID_TENSOR', `${what} ${why}`, { where });
}

function show(value: unknown): string {
  if (value === undefined) return 'missing';
  return quote(typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value)).slice(0, 80));
}

function notANumber(value: unknown, index: number, where: string, datatype: Datatype) {
  const at = `${where}[${index}]`;
  return invalid(at, `is ${show(value)}, not a number of ${datatype}`, at);
}

function doesNotFit(value: number, index: number, where: string, datatype: Datatype) {
  const at = `${where}[${index}]`;
  return invalid(at, `${value} does not fit into ${datatype}`, at);
}

function notAValue(value: number, index: number, where: string, datatype: Datatype) {
  const at = `${where}[${index}]`;
  return invalid(at, `${value} is not a value of ${datatype}`, at);
}
