/** Models whose answers tell whose they are, and what each of them must answer, reckoned without any runtime. */

import type { Datatype } from '../../src/runtimes/tensor.ts';
import { identityModel, onnxModel } from '../../src/runtimes/testing/onnx-graphs.ts';

export interface Values {
  name: string;
  datatype: Extract<Datatype, 'FP32' | 'INT64' | 'BYTES'>;
  shape: number[];
  /** Row by row. Numbers are whole and small enough to be exact in every datatype. */
  values: (number | string)[];
}

export interface Kind {
  /** One for each version. */
  artifacts: Uint8Array[];
  rowsAtMost: number;
  input(rows: number, canary: Canary): Values;
  outputs(input: Values, version: number): Values[];
}

/** Makes values that nobody else has. */
export interface Canary {
  number(): number;
  text(): string;
}

const weights = [1, 2, 3, 5, 7, 11, 13, 17];
const factors = [1, 3, 5];

export const kinds = {
  /** Gives back texts, in batches. */
  words: {
    artifacts: [identityModel('BYTES', [-1, 2])],
    rowsAtMost: 4,
    input: (rows, canary) => tensor('x', 'BYTES', rows, 2, () => canary.text()),
    outputs: (input) => [{ ...input, name: 'y' }],
  },
  /** Every element counts: the sum of all, each with a weight of its own, and all of them again. */
  weighed: {
    artifacts: [weighedModel()],
    rowsAtMost: 6,
    input: (rows, canary) => tensor('x', 'FP32', rows, weights.length, () => canary.number()),
    outputs: (input) => [
      {
        ...input,
        name: 'sum',
        shape: [input.shape[0] ?? 0, 1],
        values: rowsOf(input, weights.length, weigh),
      },
      { ...input, name: 'same' },
    ],
  },
  /** Cannot be batched: its first dimension is fixed. */
  single: {
    artifacts: [identityModel('INT64', [1, 4])],
    rowsAtMost: 1,
    input: (rows, canary) => tensor('x', 'INT64', rows, 4, () => canary.number()),
    outputs: (input) => [{ ...input, name: 'y' }],
  },
  /** Adds up rows from the first to each: laid together, callers would get sums of each other's. */
  running: {
    artifacts: [runningModel()],
    rowsAtMost: 6,
    input: (rows, canary) => tensor('x', 'FP32', rows, 1, () => canary.number()),
    outputs: (input) => {
      let sum = 0;
      return [{ ...input, name: 'y', values: input.values.map((value) => (sum += Number(value))) }];
    },
  },
  /** Each version multiplies by a number of its own. */
  line: {
    artifacts: factors.map(lineModel),
    rowsAtMost: 8,
    input: (rows, canary) => tensor('x', 'FP32', rows, 1, () => canary.number()),
    outputs: (input, version) => [
      {
        ...input,
        name: 'y',
        values: input.values.map((value) => Number(value) * (factors[version - 1] ?? Number.NaN)),
      },
    ],
  },
} as const satisfies Record<string, Kind>;
export type KindName = keyof typeof kinds;

function tensor(
  name: string,
  datatype: Values['datatype'],
  rows: number,
  width: number,
  make: () => number | string,
): Values {
  return { name, datatype, shape: [rows, width], values: Array.from({ length: rows * width }, make) };
}

function rowsOf({ values }: Values, width: number, sum: (row: readonly number[]) => number): number[] {
  const sums: number[] = [];
  for (let at = 0; at < values.length; at += width) sums.push(sum(values.slice(at, at + width).map(Number)));
  return sums;
}

/** Below 2^24 for numbers below 2^17: exact in 32 bits, in whatever order it is added. */
function weigh(row: readonly number[]): number {
  return row.reduce((sum, value, index) => sum + value * (weights[index] ?? 0), 0);
}

function weighedModel(): Uint8Array {
  return onnxModel({
    inputs: [['x', 'FP32', [-1, weights.length]]],
    outputs: [
      ['sum', 'FP32', [-1, 1]],
      ['same', 'FP32', [-1, weights.length]],
    ],
    nodes: [
      { op: 'MatMul', inputs: ['x', 'weights'], outputs: ['sum'] },
      { op: 'Identity', inputs: ['x'], outputs: ['same'] },
    ],
    floats: { weights: { shape: [weights.length, 1], values: Float32Array.from(weights) } },
  });
}

function lineModel(factor: number): Uint8Array {
  return onnxModel({
    inputs: [['x', 'FP32', [-1, 1]]],
    outputs: [['y', 'FP32', [-1, 1]]],
    nodes: [{ op: 'Mul', inputs: ['x', 'factor'], outputs: ['y'] }],
    floats: { factor: { shape: [1], values: Float32Array.of(factor) } },
  });
}

function runningModel(): Uint8Array {
  return onnxModel({
    inputs: [['x', 'FP32', [-1, 1]]],
    outputs: [['y', 'FP32', [-1, 1]]],
    nodes: [{ op: 'CumSum', inputs: ['x', 'rows'], outputs: ['y'] }],
    integers: { rows: { shape: [], values: [0n] } },
  });
}
