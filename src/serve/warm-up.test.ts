import { describe, expect, it } from 'vitest';
import { CommonwattError } from '../errors.ts';
import type { ModelSignature } from '../models/models.ts';
import type { TensorParts } from '../runtimes/frames.ts';
import { countElements } from '../runtimes/tensor.ts';
import { warmUp } from './warm-up.ts';

const computed = { outputs: [], computeNs: 1, inputNs: 0, outputNs: 0, runnerPid: 1 };

function signature(...inputs: ModelSignature['inputs']): ModelSignature {
  return { inputs, outputs: [{ name: 'y', datatype: 'FP32', shape: [-1, 1] }] };
}

function replica({ parallelism = 1, error }: { parallelism?: number; error?: unknown } = {}) {
  const runs: (readonly TensorParts[])[] = [];
  return {
    runs,
    parallelism,
    run: async (inputs: readonly TensorParts[]) => {
      runs.push(inputs);
      if (error) throw error;
      return computed;
    },
  };
}

const refused = new CommonwattError('INVALID_TENSOR', 'the model could not compute this input');
const row = { name: 'x', datatype: 'FP32' as const, shape: [-1, 3] };

describe('warm-up', () => {
  it('takes no more memory than a server can spare, whatever sizes are asked for', async () => {
    const { runs, ...one } = replica();
    const large = { name: 'x', datatype: 'FP32' as const, shape: [-1, 2 ** 20] };
    await warmUp(one, signature(large), [1, 4096]);
    expect(runs.map(([x]) => x?.shape[0])).toEqual([1, 32]);
    await warmUp(one, signature({ ...large, shape: [-1, 2 ** 30] }), [1]);
    expect(runs).toHaveLength(2);
  });

  it('computes zeros of each size, valid for the signature', async () => {
    const text = { name: 'text', datatype: 'BYTES' as const, shape: [-1] };
    const long = { name: 'ids', datatype: 'INT64' as const, shape: [-1, -1] };
    const { runs, ...one } = replica();
    await warmUp(one, signature(row, text, long), [1, 4]);
    expect(runs.map((inputs) => inputs.map(({ shape }) => shape))).toEqual([
      [[1, 3], [1], [1, 1]],
      [[4, 3], [4], [4, 1]],
    ]);
    const [x, packed, ids] = (runs[1] ?? []).map(({ parts }) => parts[0]);
    expect(x).toEqual(new Float32Array(12));
    expect(packed instanceof Uint8Array && countElements(packed)).toBe(4);
    expect(ids).toEqual(new BigInt64Array(4));
  });

  it('computes once when the batch dimension is fixed, and on each copy', async () => {
    const { runs, ...two } = replica({ parallelism: 2 });
    await warmUp(two, signature({ ...row, shape: [2, 3] }), [1, 4, 8]);
    expect(runs.map(([input]) => input?.shape)).toEqual([
      [2, 3],
      [2, 3],
    ]);
  });

  it('fails for a model that cannot take what its signature promises', async () => {
    await expect(warmUp(replica({ error: refused }), signature(row), [2])).rejects.toMatchObject({
      code: 'CORRUPT_MODEL',
      message: expect.stringContaining('2 rows of zeros'),
    });
    const died = new CommonwattError('RUNNER_FAILED', 'died');
    await expect(warmUp(replica({ error: died }), signature(row), [1])).rejects.toBe(died);
  });

  it('blames no model for refusing sizes or texts that were only guessed', async () => {
    const image = { name: 'image', datatype: 'BYTES' as const, shape: [-1] };
    const pixels = { ...row, shape: [-1, 3, -1, -1] };
    for (const input of [image, pixels]) await warmUp(replica({ error: refused }), signature(input), [1, 2]);
  });
});
