/**
 * Which outputs a request wants and in what form: the tensor itself, or its highest values as text (Triton's
 * classification extension, extension_classification.md).
 */
import type { TensorSpec } from '../../models/models.ts';
import { elementsOf, packBytes, type Tensor, type TensorData } from '../../runtimes/tensor.ts';
import { describe, invalid, show } from './tensors.ts';

export interface WantedOutput {
  name: string;
  /** So many of the highest values as `value:index`; 0: the tensor as it is. */
  classes: number;
  /** Its first dimension is the batch's: values are ranked in each row apart. */
  perRow: boolean;
  /** As raw bytes after the JSON; undefined: as the request says for all. */
  binary: boolean | undefined;
}

/** What a door read of one wanted output. */
export interface GivenOutput {
  name: unknown;
  classes?: number | undefined;
  binary?: boolean | undefined;
}

/** The wanted outputs; undefined when all are. */
export function wantedOutputs(
  given: readonly GivenOutput[],
  specs: readonly TensorSpec[],
): WantedOutput[] | undefined {
  if (given.length === 0) return undefined;
  const wanted = new Map<string, WantedOutput>();
  given.forEach(({ name, classes = 0, binary }, index) => {
    const where = `outputs[${index}]`;
    const spec = specs.find((candidate) => candidate.name === name);
    if (!spec)
      throw invalid(
        `${where}.name`,
        `${show(name)} is not an output of the model; it gives ${describe(specs)}`,
        `${where}.name`,
      );
    if (wanted.has(spec.name))
      throw invalid(`${where}.name`, `${show(name)} is asked for twice`, `${where}.name`);
    if (classes > 0 && !isRanked(spec.datatype))
      throw invalid(`${where}.parameters.classification`, `cannot rank ${spec.datatype}`, where);
    wanted.set(spec.name, { name: spec.name, classes, perRow: spec.shape[0] === -1, binary });
  });
  return [...wanted.values()];
}

/** What an answer carries of the outputs that were computed. */
export function chooseOutputs(
  outputs: readonly Tensor[],
  wanted: readonly WantedOutput[] | undefined,
): readonly Tensor[] {
  if (!wanted) return outputs;
  return wanted.flatMap(({ name, classes, perRow }) => {
    const output = outputs.find((candidate) => candidate.name === name);
    if (!output) return [];
    return [classes > 0 ? classify(output, classes, perRow) : output];
  });
}

function isRanked(datatype: Tensor['datatype']): boolean {
  return !['BOOL', 'BYTES', 'FP16', 'BF16'].includes(datatype);
}

/**
 * Of each row, or of the whole tensor, the `count` highest values as `value:index`, highest first, equal ones by index,
 * NaN last: [1, 5, 10, 4] with count 2 becomes ["10:2", "5:1"].
 */
function classify({ name, shape, data }: Tensor, count: number, perRow: boolean): Tensor {
  const rows = perRow ? (shape[0] ?? 1) : 1;
  const size = elementsOf(perRow ? shape.slice(1) : shape);
  const taken = Math.min(count, size);
  const texts: Uint8Array[] = [];
  for (let row = 0; row < rows; row++) {
    const values = data.subarray(row * size, (row + 1) * size);
    for (const index of highest(values, taken)) texts.push(Buffer.from(`${digits(values, index)}:${index}`));
  }
  return {
    name,
    datatype: 'BYTES',
    shape: perRow ? [rows, taken] : [taken],
    data: packBytes(texts),
  };
}

function highest(values: TensorData, count: number): number[] {
  const order = [...values.keys()];
  const at = (index: number) => values[index] ?? 0;
  const isNan = (index: number) => Number.isNaN(at(index));
  order.sort((a, b) => {
    if (isNan(a) || isNan(b)) return Number(isNan(a)) - Number(isNan(b)) || a - b;
    if (at(a) === at(b)) return a - b;
    return at(a) > at(b) ? -1 : 1;
  });
  return order.slice(0, count);
}

/** The shortest digits that give the value again in its own datatype. */
function digits(values: TensorData, index: number): string {
  const value = values[index] ?? 0;
  if (!(values instanceof Float32Array) || typeof value === 'bigint' || !Number.isFinite(value))
    return String(value);
  for (let precision = 6; precision < 9; precision++) {
    const short = Number(value.toPrecision(precision));
    if (Math.fround(short) === value) return String(short);
  }
  return String(Number(value.toPrecision(9)));
}

/** Refused before anything is computed: an answer that could not be written. */
export function checkJsonForms(
  wanted: readonly WantedOutput[] | undefined,
  binaryOutputs: boolean,
  specs: readonly TensorSpec[],
): void {
  for (const { name, datatype } of specs) {
    if (datatype !== 'FP16' && datatype !== 'BF16') continue;
    const own = wanted?.find((output) => output.name === name);
    if ((wanted && !own) || (own?.binary ?? binaryOutputs)) continue;
    throw invalid(
      `output ${show(name)}`,
      `is ${datatype}, which has no JSON form; ask for it as binary data (binary_data or binary_data_output)`,
      'outputs',
    );
  }
}
