import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CommonwattError } from '../errors.ts';
import type { ModelSignature } from '../models/models.ts';
import type { Datatype } from '../runtimes/tensor.ts';
import {
  differenceModel,
  identityModel,
  onnxModel,
  timeFirstModel,
} from '../runtimes/testing/onnx-graphs.ts';
import { mixesRows } from './row-mixing.ts';
import type { Replica } from './runner/replica.ts';
import { Runners } from './runner/runners.ts';

const log = { info() {}, error() {} };
let runners: Runners;
beforeAll(() => {
  runners = new Runners({ log, processes: 1, threads: 1, memoryLimitBytes: null });
});
afterAll(() => runners.stop());

async function tried(model: Uint8Array, signature: ModelSignature): Promise<boolean | undefined> {
  const replica = await runners.load({
    versionId: `v${Math.random()}`,
    name: 'acme/model:1',
    bytes: async () => Uint8Array.from(model),
    threads: undefined,
    executionProviders: ['cpu'],
    replicas: 1,
  });
  const mixes = await mixesRows(replica, signature);
  await replica.unload();
  return mixes;
}

const of = (datatype: Datatype, shape: number[]): ModelSignature => ({
  inputs: [{ name: 'x', datatype, shape }],
  outputs: [{ name: 'y', datatype, shape }],
});

/** y = op(x), along the axis that is given. */
function along(op: string, axis: number): Uint8Array {
  return onnxModel({
    inputs: [['x', 'FP32', [-1, 3]]],
    outputs: [['y', 'FP32', [-1, 3]]],
    nodes: [{ op, inputs: ['x'], outputs: ['y'], attributes: { axis } }],
  });
}

describe('whether a model computes each row for itself', () => {
  it.each<Datatype>(['FP32', 'FP16', 'BF16', 'INT64', 'UINT8', 'BOOL', 'BYTES'])(
    '%s that comes back',
    async (datatype) => {
      expect(await tried(identityModel(datatype, [-1, 3]), of(datatype, [-1, 3]))).toBe(false);
    },
  );

  it('a layer, and a softmax within the row', async () => {
    const layer = {
      ...of('FP32', [-1, 2]),
      outputs: [{ name: 'y', datatype: 'FP32' as const, shape: [-1, 1] }],
    };
    expect(await tried(differenceModel(), layer)).toBe(false);
    expect(await tried(along('Softmax', 1), of('FP32', [-1, 3]))).toBe(false);
  });

  it('a softmax over the rows mixes them, and so does a network that reads them one after another', async () => {
    expect(await tried(along('Softmax', 0), of('FP32', [-1, 3]))).toBe(true);
    expect(await tried(timeFirstModel(), of('FP32', [-1, 1, 2]))).toBe(true);
  });

  it('large rows, and none that would take the memory of requests', async () => {
    const wide = (shape: number[]) => tried(identityModel('FP32', shape), of('FP32', shape));
    expect(await wide([-1, 300_000])).toBe(false);
    const untried = { run: () => Promise.reject(new Error('nothing of it may be computed')) };
    expect(await mixesRows(untried, of('FP32', [-1, 50_000_000]))).toBeUndefined();
  });

  it('is not known of a model that refuses what is tried, and a crash is told', async () => {
    const failing = (code: 'INVALID_TENSOR' | 'RUNNER_FAILED'): Pick<Replica, 'run'> => ({
      run: async () => {
        throw new CommonwattError(code, 'no');
      },
    });
    expect(await mixesRows(failing('INVALID_TENSOR'), of('FP32', [-1]))).toBeUndefined();
    await expect(mixesRows(failing('RUNNER_FAILED'), of('FP32', [-1]))).rejects.toMatchObject({
      code: 'RUNNER_FAILED',
    });
  });
});
