/**
 * Reads an inference request of the Open Inference Protocol (REST, JSON tensors) into tensors that fit the
 * model's signature, or says what was wrong, where, and what would be right.
 * Source: kserve/open-inference-protocol, specification/protocol/inference_rest.md.
 */
import { CommonwattError } from '../../errors.ts';
import type { ModelSignature, TensorSpec } from '../../models/models.ts';
import { quote } from '../../models/names.ts';
import { type Datatype, emptyData, type Tensor, type TensorData } from '../../runtimes/tensor.ts';

export interface InferRequest {
  id: string | undefined;
  inputs: Tensor[];
  /** Names of the outputs that are wanted; undefined: all. */
  outputs: string[] | undefined;
}

/** More rows than this in one request are refused: they would hold up everybody's batches. */
export const maxRowsPerRequest = 4096;

export function parseInferRequest(body: Buffer, signature: ModelSignature): InferRequest {
  const request = parseJson(body);
  if (!isObject(request)) throw invalid('the request', 'must be a JSON object with "inputs"', 'body');
  const { id, inputs, outputs } = request;
  if (id !== undefined && typeof id !== 'string') throw invalid('"id"', 'must be a string', 'id');
  if (!Array.isArray(inputs))
    throw invalid(
      '"inputs"',
      `is missing or not an array; the model wants ${describe(signature.inputs)}`,
      'inputs',
    );
  return {
    id,
    inputs: orderInputs(inputs, signature.inputs),
    outputs: wantedOutputs(outputs, signature.outputs),
  };
}

function parseJson(body: Buffer): unknown {
  if (body.length === 0)
    throw new CommonwattError('MALFORMED_JSON', 'the request has no body', {
      hint: 'send a JSON object with "inputs"',
    });
  try {
    return JSON.parse(body.toString('utf8'));
  } catch (cause) {
    throw new CommonwattError(
      'MALFORMED_JSON',
      `the body is not valid JSON: ${(cause as Error).message.slice(0, 120)}`,
      {
        hint: 'NaN and Infinity have no JSON form',
        cause,
      },
    );
  }
}

function orderInputs(inputs: unknown[], specs: TensorSpec[]): Tensor[] {
  const given = new Map<string, Tensor>();
  inputs.forEach((input: unknown, index) => {
    const where = `inputs[${index}]`;
    if (!isObject(input))
      throw invalid(where, 'must be an object with name, shape, datatype and data', where);
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
    given.set(spec.name, parseTensor(input, spec, where));
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

function parseTensor(input: Record<string, unknown>, spec: TensorSpec, where: string): Tensor {
  const { datatype, data } = input;
  if (datatype !== spec.datatype)
    throw invalid(
      `${where}.datatype`,
      `is ${show(datatype)}; input ${quote(spec.name)} is ${spec.datatype}`,
      `${where}.datatype`,
    );
  const shape = parseShape(input.shape, spec, where);
  if (!Array.isArray(data))
    throw invalid(
      `${where}.data`,
      'is missing or not an array (the binary tensor extension is not spoken here yet)',
      `${where}.data`,
    );
  let length = 1;
  for (const dimension of shape) length *= dimension;
  // Bounds memory by what was really sent: a shape alone allocates nothing.
  if (!Array.isArray(data[0]) && data.length !== length) {
    throw invalid(
      `${where}.data`,
      `has ${data.length} elements; shape [${shape.join(', ')}] needs ${length}`,
      `${where}.data`,
    );
  }
  const flat = Array.isArray(data[0]) ? flatten(data, shape, `${where}.data`) : data;
  const values = emptyData(spec.datatype, length);
  fill(values, flat, spec.datatype, `${where}.data`);
  return { name: spec.name, datatype: spec.datatype, shape, data: values };
}

function parseShape(shape: unknown, spec: TensorSpec, where: string): number[] {
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

/** Row-major flattening of nested data, refusing any depth or length but the declared one. */
function flatten(data: unknown[], shape: readonly number[], where: string): unknown[] {
  const flat: unknown[] = [];
  const walk = (level: unknown, depth: number, at: string) => {
    if (depth === shape.length) {
      flat.push(level);
      return;
    }
    if (!Array.isArray(level)) throw invalid(at, 'is not an array as deep as the shape', at);
    if (level.length !== shape[depth])
      throw invalid(at, `has ${level.length} elements; the shape says ${shape[depth]}`, at);
    for (let index = 0; index < level.length; index++) walk(level[index], depth + 1, `${at}[${index}]`);
  };
  walk(data, 0, where);
  return flat;
}

const integerRange: Partial<Record<Datatype, readonly [number, number]>> = {
  UINT8: [0, 255],
  INT8: [-128, 127],
  INT32: [-2147483648, 2147483647],
  INT64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
};

function fill(values: TensorData, flat: readonly unknown[], datatype: Datatype, where: string) {
  if (values instanceof Float32Array || values instanceof Float64Array) {
    for (let index = 0; index < flat.length; index++) {
      const value = flat[index];
      if (typeof value !== 'number') throw notANumber(value, index, where, datatype);
      values[index] = value;
      if (!Number.isFinite(values[index]))
        throw invalid(`${where}[${index}]`, `${value} does not fit into ${datatype}`, `${where}[${index}]`);
    }
    return;
  }
  const [low, high] = integerRange[datatype] ?? [0, 1];
  for (let index = 0; index < flat.length; index++) {
    const given = flat[index];
    const value = datatype === 'BOOL' && typeof given === 'boolean' ? Number(given) : given;
    if (typeof value !== 'number') throw notANumber(given, index, where, datatype);
    if (!Number.isInteger(value) || value < low || value > high)
      throw invalid(`${where}[${index}]`, `${value} is not a value of ${datatype}`, `${where}[${index}]`);
    if (values instanceof BigInt64Array) values[index] = BigInt(value);
    else values[index] = value;
  }
}

function wantedOutputs(outputs: unknown, specs: TensorSpec[]): string[] | undefined {
  if (outputs === undefined) return undefined;
  if (!Array.isArray(outputs))
    throw invalid('"outputs"', 'must be an array of objects with a name', 'outputs');
  if (outputs.length === 0) return undefined;
  return outputs.map((output: unknown, index) => {
    const name = isObject(output) ? output.name : undefined;
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

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function describe(specs: readonly TensorSpec[]): string {
  return specs
    .map(({ name, datatype, shape }) => `${quote(name)} ${datatype} [${shape.join(', ')}]`)
    .join(', ');
}

function show(value: unknown): string {
  if (value === undefined) return 'missing';
  return quote(typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value)).slice(0, 80));
}

function notANumber(value: unknown, index: number, where: string, datatype: Datatype) {
  return invalid(
    `${where}[${index}]`,
    `is ${show(value)}, not a number of ${datatype}`,
    `${where}[${index}]`,
  );
}

function invalid(what: string, why: string, where: string) {
  return new CommonwattError('INVALID_TENSOR', `${what} ${why}`, { where });
}
