/** A served version whose model is a function, and a data set in memory: what this room and explain are tested with. */
import type { LoadedDataset, SplitName } from '../../datasets/datasets.ts';
import type { Footprint, WorkContext } from '../../energy/energy.ts';
import { gramsCo2e, joules } from '../../energy/units.ts';
import { CommonwattError } from '../../errors.ts';
import type { ModelSignature } from '../../models/models.ts';
import type { Inferrer, ServedVersion } from '../../serve/serve.ts';
import { defaultSettings } from '../../serve/settings.ts';

export function signature(features: number, outputs = 1): ModelSignature {
  return {
    inputs: [{ name: 'input', datatype: 'FP32', shape: [-1, features] }],
    outputs: [{ name: 'output', datatype: 'FP32', shape: [-1, outputs] }],
  };
}

export function servedVersion(version: number, features: number): ServedVersion {
  return {
    deploymentId: `d${version}`,
    modelId: 'm1',
    versionId: `v${version}`,
    version,
    signature: signature(features),
    settings: defaultSettings,
    deterministic: true,
  };
}

function footprintOf(rows: number): Footprint {
  return {
    energyJ: joules(3.6 * rows),
    dynamicJ: joules(2.6 * rows),
    idleShareJ: joules(rows),
    carbonGCo2e: gramsCo2e(0.001 * rows),
    embodiedGCo2e: gramsCo2e(0.0001 * rows),
    waterL: null,
    quality: 'estimated',
    method: 'cpu-time',
    methodVersion: '1',
    settled: false,
    unknown: { waterL: 'no WUE is configured' },
  };
}

export interface Call {
  rows: number;
  context: WorkContext;
  served: ServedVersion;
}

/** Answers each row with `model`, a little later, as a runner does; remembers what it was asked. */
export class FunctionInferrer implements Inferrer {
  readonly calls: Call[] = [];
  mostInFlight = 0;
  /** Fails this call, counted from 0. */
  failingCall = -1;
  readonly #model: (row: Float32Array) => number;
  #inFlight = 0;

  constructor(model: (row: Float32Array) => number) {
    this.#model = model;
  }

  async infer(...[served, asked]: Parameters<Inferrer['infer']>) {
    const {
      inputs: [input],
      context,
    } = asked;
    if (!(input?.data instanceof Float32Array)) throw new Error('expected one FP32 input');
    const { data, shape } = input;
    const [rows = 0, width = 0] = shape;
    if (data.length !== rows * width) throw new Error('data does not fill the shape');
    const call = this.calls.push({ rows, context, served }) - 1;
    this.mostInFlight = Math.max(this.mostInFlight, ++this.#inFlight);
    await new Promise((resolve) => setImmediate(resolve));
    this.#inFlight--;
    if (asked.cancelled) throw new CommonwattError('CANCELLED', 'the caller has left');
    if (call === this.failingCall) throw new CommonwattError('RUNNER_FAILED', 'the runner ended');
    const answers = Float32Array.from({ length: rows }, (_, row) =>
      this.#model(data.subarray(row * width, (row + 1) * width)),
    );
    const output = { name: 'output', datatype: 'FP32' as const, shape: [rows, 1], data: answers };
    const footprint = footprintOf(rows);
    return {
      outputs: [output],
      footprint,
      source: 'computed' as const,
      queueMs: 0,
      batchMs: 0,
      computeMs: 1,
      batchRows: rows,
      batchRequests: 1,
      share: 1,
    };
  }

  get rows(): number {
    return this.calls.reduce((total, { rows }) => total + rows, 0);
  }
}

export function dataset(
  features: string[],
  rows: readonly { x: readonly number[]; y: number; split: SplitName }[],
): LoadedDataset {
  const indices = (split: SplitName) =>
    Uint32Array.from(rows.flatMap((row, index) => (row.split === split ? [index] : [])));
  const split = { train: indices('train'), validation: indices('validation'), test: indices('test') };
  const lengths = {
    train: split.train.length,
    validation: split.validation.length,
    test: split.test.length,
  };
  return {
    record: {
      id: 'ds1',
      organisationId: 'o1',
      name: 'digits',
      rows: rows.length,
      label: 'even',
      features,
      split: { seed: 42, train: 0.7, validation: 0.15, test: 0.15, rows: lengths },
      report: { passed: true, checks: [], columns: [] },
      sha256: '',
      createdAt: '2026-01-01T00:00:00.000Z',
      createdBy: 'ann',
    },
    x: Float32Array.from(rows.flatMap(({ x }) => x)),
    y: Float32Array.from(rows, ({ y }) => y),
    split,
  };
}
