import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ComputedBatch, Footprint, WorkContext } from '../energy/energy.ts';
import { gramsCo2e, joules } from '../energy/units.ts';
import { CommonwattError } from '../errors.ts';
import type { TensorParts } from '../runtimes/frames.ts';
import type { Tensor } from '../runtimes/tensor.ts';
import { Batcher } from './batcher.ts';
import { InferCall } from './serve.ts';
import { defaultSettings } from './settings.ts';

const owner = { organisationId: 'a', organisation: 'acme' };
const use = { modelId: 'm', model: 'acme/double', version: 1, owner };

function context(requestId: string): WorkContext {
  return { kind: 'inference', requestId, consumer: owner, keyId: null, grantId: null, jobId: null };
}

function footprint(rows: number): Footprint {
  return {
    energyJ: joules(rows),
    dynamicJ: joules(rows),
    idleShareJ: joules(0),
    carbonGCo2e: gramsCo2e(0),
    embodiedGCo2e: gramsCo2e(0),
    waterL: null,
    quality: 'estimated',
    method: 'test',
    methodVersion: '1',
    settled: false,
    unknown: {},
  };
}

/** A model that doubles its input, computed one turn of the event loop later. */
function doubler({
  maxBatchSize = 8,
  maxQueue = 1000,
  batchable = true,
  fail = () => false,
}: {
  maxBatchSize?: number;
  maxQueue?: number;
  batchable?: boolean;
  fail?: () => boolean;
} = {}) {
  const booked: ComputedBatch[] = [];
  const batcher = new Batcher(
    {
      use,
      batchable,
      settings: defaultSettings,
      runAlone: () => Promise.reject(new CommonwattError('RUNNER_FAILED', 'died again')),
      async run(inputs: readonly TensorParts[]) {
        await new Promise((resolve) => setImmediate(resolve));
        if (fail()) throw new CommonwattError('RUNNER_FAILED', 'died');
        const [input] = inputs;
        const all = Float32Array.from((input?.parts ?? []).flatMap((part) => Array.from(part, Number)));
        return {
          outputs: [
            {
              name: 'y',
              datatype: 'FP32',
              shape: [...(input?.shape ?? [])],
              data: all.map((value) => value * 2),
            },
          ],
          computeNs: 1000,
          inputNs: 0,
          outputNs: 0,
          runnerPid: 1,
        };
      },
    },
    {
      maxBatchSize,
      maxQueue,
      accountant: {
        recordBatch(batch) {
          booked.push(batch);
          return batch.items.map(({ rows }) => footprint(rows));
        },
        recordAvoided: ({ items }) => items.map(() => footprint(0)),
      },
    },
  );
  return { batcher, booked };
}

function rowsOf(values: number[], width = 1): Tensor[] {
  return [
    { name: 'x', datatype: 'FP32', shape: [values.length / width, width], data: Float32Array.from(values) },
  ];
}

describe('Batcher', () => {
  it('gives every caller its own rows, whatever they were batched with', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(fc.integer({ min: -1e6, max: 1e6 }), { minLength: 1, maxLength: 5 }), {
          minLength: 1,
          maxLength: 40,
        }),
        fc.integer({ min: 1, max: 9 }),
        async (requests, maxBatchSize) => {
          const { batcher, booked } = doubler({ maxBatchSize });
          const answers = await Promise.all(
            requests.map((values, index) =>
              batcher.infer(new InferCall(rowsOf(values), context(`r${index}`))),
            ),
          );
          answers.forEach(({ outputs, footprint: { energyJ } }, index) => {
            expect(Array.from(outputs[0]?.data ?? [], Number)).toEqual(
              requests[index]?.map((value) => value * 2),
            );
            expect(energyJ).toBe(requests[index]?.length);
          });
          const ids = booked.flatMap(({ items }) => items.map((item) => item.context.requestId));
          expect(ids.sort()).toEqual(requests.map((_, index) => `r${index}`).sort());
        },
      ),
      { numRuns: 50 },
    );
  });

  it('computes requests that arrive together in one go, up to the batch size', async () => {
    const { batcher, booked } = doubler({ maxBatchSize: 4 });
    await Promise.all(
      Array.from({ length: 10 }, (_, index) =>
        batcher.infer(new InferCall(rowsOf([index]), context(String(index)))),
      ),
    );
    expect(booked.map(({ items }) => items.length)).toEqual([4, 4, 2]);
  });

  it('never mixes rows of different widths', async () => {
    const { batcher, booked } = doubler();
    const [narrow, wide] = await Promise.all([
      batcher.infer(new InferCall(rowsOf([1]), context('narrow'))),
      batcher.infer(new InferCall(rowsOf([1, 2], 2), context('wide'))),
    ]);
    expect(narrow?.outputs[0]?.shape).toEqual([1, 1]);
    expect(wide?.outputs[0]?.shape).toEqual([1, 2]);
    expect(booked).toHaveLength(2);
  });

  it('computes requests alone when the batch dimension of the model is fixed', async () => {
    const { batcher, booked } = doubler({ batchable: false });
    await Promise.all(
      [1, 2].map((value) => batcher.infer(new InferCall(rowsOf([value]), context(String(value))))),
    );
    expect(booked).toHaveLength(2);
  });

  it('computes nothing for a caller that has left, and books nothing', async () => {
    const { batcher, booked } = doubler();
    const left = new InferCall(rowsOf([1]), context('gone'));
    left.cancel();
    const gone = batcher.infer(left);
    const here = batcher.infer(new InferCall(rowsOf([2]), context('here')));
    await expect(gone).rejects.toMatchObject({ code: 'CANCELLED' });
    expect((await here).outputs[0]?.data[0]).toBe(4);
    expect(booked.flatMap(({ items }) => items.map((item) => item.context.requestId))).toEqual(['here']);
  });

  it('refuses what would wait behind a full queue, and answers the rest', async () => {
    const { batcher } = doubler({ maxQueue: 2 });
    const results = await Promise.allSettled(
      [1, 2, 3].map((value) => batcher.infer(new InferCall(rowsOf([value]), context(String(value))))),
    );
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected']);
    await expect(batcher.infer(new InferCall(rowsOf([4]), context('4')))).resolves.toBeDefined();
  });

  it('fails the batch that was lost with its runner, once, and goes on', async () => {
    let broken = true;
    const { batcher, booked } = doubler({ fail: () => broken });
    await expect(batcher.infer(new InferCall(rowsOf([1]), context('1')))).rejects.toMatchObject({
      code: 'RUNNER_FAILED',
      status: 503,
    });
    broken = false;
    await expect(batcher.infer(new InferCall(rowsOf([2]), context('2')))).resolves.toBeDefined();
    expect(booked).toHaveLength(1);
    await batcher.drained();
  });
});
