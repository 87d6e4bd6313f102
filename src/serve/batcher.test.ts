import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CommonwattError } from '../errors.ts';
import type { TensorParts } from '../runtimes/frames.ts';
import { NotComputable } from './runner/replica.ts';
import { InferCall } from './serve.ts';
import { callOf, context, doubled, doubler, sleep, tensorOf, turn, valuesOf } from './testing/calls.ts';

const crash = () => new CommonwattError('RUNNER_FAILED', 'the runner died');
const refusal = () => new CommonwattError('INVALID_TENSOR', 'the model cannot take this');

describe('a batcher', () => {
  it('gives every caller its own rows, whatever they were batched with', async () => {
    const requests = fc.array(fc.array(fc.integer({ min: -1e6, max: 1e6 }), { minLength: 1, maxLength: 5 }), {
      minLength: 1,
      maxLength: 40,
    });
    await fc.assert(
      fc.asyncProperty(requests, fc.integer({ min: 1, max: 9 }), async (wanted, maxBatchSize) => {
        const { batcher, bookedIds } = doubler({ maxBatchSize });
        const answers = await Promise.all(
          wanted.map((values, index) => batcher.infer(callOf(values, `r${index}`))),
        );
        answers.forEach(({ outputs, footprint }, index) => {
          expect(Array.from(outputs[0]?.data ?? [], Number)).toEqual(
            wanted[index]?.map((value) => value * 2),
          );
          expect(footprint.energyJ).toBe(wanted[index]?.length);
        });
        expect(bookedIds().sort()).toEqual(wanted.map((_, index) => `r${index}`).sort());
      }),
      { numRuns: 50 },
    );
  });

  it('computes requests that arrive together in one go, up to the batch size', async () => {
    const { batcher, booked } = doubler({ maxBatchSize: 4 });
    await Promise.all(Array.from({ length: 10 }, (_, index) => batcher.infer(callOf([index], `${index}`))));
    expect(booked.map(({ items }) => items.length)).toEqual([4, 4, 2]);
    expect(batcher.statistics).toMatchObject({
      inferenceCount: 10,
      executionCount: 3,
      success: { count: 10 },
      queue: { count: 10 },
      computeInfer: { count: 10, ns: 10_000 },
      computeOutput: { ns: 200 },
    });
    expect(batcher.statistics.batches.get(4)).toMatchObject({ computeInfer: { count: 2, ns: 2000 } });
  });

  it('never mixes rows of different widths, and lets what fits together pass what does not', async () => {
    const { batcher, booked } = doubler();
    const call = (values: number[], width: number, id: string) =>
      batcher.infer(new InferCall(tensorOf(values, width), context(id)));
    const answers = await Promise.all([call([1], 1, 'n1'), call([1, 2], 2, 'w1'), call([3], 1, 'n2')]);
    expect(answers.map(({ outputs }) => outputs[0]?.shape)).toEqual([
      [1, 1],
      [1, 2],
      [1, 1],
    ]);
    expect(booked.map(({ items }) => items.map((item) => item.context.requestId))).toEqual([
      ['n1', 'n2'],
      ['w1'],
    ]);
  });

  it('computes requests alone when the batch dimension of the model is fixed', async () => {
    const { batcher, booked } = doubler({ target: { batchable: false } });
    await Promise.all([1, 2].map((value) => batcher.infer(callOf([value], `${value}`))));
    expect(booked).toHaveLength(2);
  });

  it('runs as many batches at a time as its runners take, while the next one gathers', async () => {
    let running = 0;
    let most = 0;
    const run = async (inputs: readonly TensorParts[]) => {
      most = Math.max(most, ++running);
      await sleep(2);
      running--;
      return doubled(inputs);
    };
    const { batcher } = doubler({ maxBatchSize: 2, target: { run, parallelism: 3 } });
    await Promise.all(Array.from({ length: 20 }, (_, index) => batcher.infer(callOf([index], `${index}`))));
    expect(most).toBe(3);
  });

  it('computes nothing for a caller that left before it was sent, and frees its place at once', async () => {
    const { batcher, bookedIds } = doubler({ maxQueue: 2 });
    const calls = ['a', 'b', 'c'].map((id) => callOf([1], id));
    const first = batcher.infer(calls[0] as InferCall);
    const second = batcher.infer(calls[1] as InferCall);
    calls[0]?.cancel();
    const third = batcher.infer(calls[2] as InferCall);
    await expect(first).rejects.toMatchObject({ code: 'CANCELLED' });
    expect((await second).outputs[0]?.data[0]).toBe(2);
    expect((await third).outputs[0]?.data[0]).toBe(2);
    expect(bookedIds()).toEqual(['b', 'c']);
    expect(batcher.statistics).toMatchObject({ cancelled: 1, success: { count: 2 } });
    const gone = callOf([1], 'gone');
    gone.cancel();
    await expect(batcher.infer(gone)).rejects.toMatchObject({ code: 'CANCELLED' });
  });

  it('drops the answer of a caller that left while it was computed, and books it in full', async () => {
    const { batcher, bookedIds, booked } = doubler();
    const call = callOf([1], 'left');
    const answer = batcher.infer(call);
    await turn();
    call.cancel();
    await expect(answer).rejects.toMatchObject({ code: 'CANCELLED' });
    await batcher.drained();
    expect(bookedIds()).toEqual(['left']);
    expect(booked[0]?.items[0]?.outcome).toBe('aborted');
  });

  it('books what the model refused after it had computed, each try, and nothing that was not computed', async () => {
    const refusing = async (inputs: readonly TensorParts[]) => {
      const values = valuesOf(inputs);
      const computeNs = values.includes(0) ? 0 : 500;
      if (values.some((value) => value <= 0))
        throw new NotComputable('it refuses this', { computeNs, runnerPid: 7 });
      return doubled(inputs);
    };
    const { batcher, booked } = doubler({ target: { run: refusing } });
    const asked = [1, -1].map((value) => batcher.infer(callOf([value], `${value}`)));
    const [good, bad] = await Promise.allSettled(asked);
    expect([good?.status, bad?.status]).toEqual(['fulfilled', 'rejected']);
    const lines = booked.flatMap(({ items, runnerPid, computeNs }) =>
      items.map(({ context, outcome }) => [context.requestId, outcome, runnerPid, computeNs]),
    );
    expect(lines).toEqual([
      // Together first; then each alone.
      ['1~0', 'failed', 7, 500],
      ['-1~1', 'failed', 7, 500],
      ['1', undefined, 1, 1000],
      ['-1', 'failed', 7, 500],
    ]);
    await expect(batcher.infer(callOf([0], 'nothing'))).rejects.toMatchObject({ code: 'INVALID_TENSOR' });
    expect(booked).toHaveLength(3);
  });

  it('refuses what would wait behind a full queue, and answers the rest', async () => {
    const { batcher } = doubler({ maxQueue: 2 });
    const results = await Promise.allSettled(
      [1, 2, 3].map((value) => batcher.infer(callOf([value], `${value}`))),
    );
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected']);
    await expect(batcher.infer(callOf([4], '4'))).resolves.toBeDefined();
  });

  it('never computes what has expired, even while the runner is busy or its model is being loaded', async () => {
    let free = () => {};
    const run = (inputs: readonly TensorParts[]) =>
      new Promise<ReturnType<typeof doubled>>((resolve) => {
        free = () => resolve(doubled(inputs));
      });
    const { batcher, bookedIds } = doubler({ target: { run } });
    const long = batcher.infer(callOf([1], 'long'));
    await turn();
    const short = batcher.infer(callOf([2], 'short', { deadlineAtMs: performance.now() + 5 }));
    // Refused while the runner is still busy: nobody has to wait for that.
    await expect(short).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED', status: 504 });
    free();
    await long;
    let awake = () => {};
    let loading: Promise<void> | undefined = new Promise((resolve) => {
      awake = () => {
        loading = undefined;
        resolve();
      };
    });
    const loaded = doubler({ settings: { queueTimeoutMs: 5 }, target: { awake: () => loading } });
    const late = loaded.batcher.infer(callOf([3], 'late'));
    await expect(late).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    awake();
    await loaded.batcher.infer(callOf([4], 'after'));
    expect([...bookedIds(), ...loaded.bookedIds()]).toEqual(['long', 'after']);
  });

  it('asks again just before it sends, when a batch had to wait for its runner to come back', async () => {
    let back = () => {};
    const computed: number[] = [];
    const run = async (inputs: readonly TensorParts[], admit: () => void) => {
      await new Promise<void>((resolve) => {
        back = resolve;
      });
      admit();
      computed.push(...valuesOf(inputs));
      return doubled(inputs);
    };
    const { batcher, bookedIds } = doubler({ target: { run } });
    const left = callOf([1], 'left');
    const answers = Promise.allSettled([
      batcher.infer(left),
      batcher.infer(callOf([2], 'late', { deadlineAtMs: performance.now() + 5 })),
      batcher.infer(callOf([3], 'here')),
    ]);
    await turn();
    left.cancel();
    await sleep(8);
    back();
    await turn();
    back();
    expect(await answers).toMatchObject([
      { reason: { code: 'CANCELLED' } },
      { reason: { code: 'DEADLINE_EXCEEDED' } },
      { status: 'fulfilled' },
    ]);
    expect(computed).toEqual([3]);
    expect(bookedIds()).toEqual(['here']);
  });

  it('fails whatever waits for a model that cannot be loaded, and tries again with the next request', async () => {
    let broken = true;
    const awake = () => (broken ? Promise.reject(new CommonwattError('CORRUPT_MODEL', 'no')) : undefined);
    const { batcher } = doubler({ target: { awake } });
    const results = await Promise.allSettled(
      [1, 2].map((value) => batcher.infer(callOf([value], `${value}`))),
    );
    expect(results).toMatchObject([
      { reason: { code: 'CORRUPT_MODEL' } },
      { reason: { code: 'CORRUPT_MODEL' } },
    ]);
    broken = false;
    await expect(batcher.infer(callOf([3], '3'))).resolves.toBeDefined();
  });

  it('waits as long as it is told to for a full batch or a preferred size, and no longer', async () => {
    const settings = { maxQueueDelayMs: 30, preferredBatchSizes: [2, 4] };
    const { batcher, booked } = doubler({ settings });
    const startedAt = performance.now();
    await batcher.infer(callOf([1], 'alone'));
    expect(performance.now() - startedAt).toBeGreaterThan(25);
    const paired = performance.now();
    const first = batcher.infer(callOf([1], 'first'));
    await sleep(2);
    await Promise.all([first, batcher.infer(callOf([1], 'second'))]);
    expect(performance.now() - paired).toBeLessThan(25);
    await Promise.all(Array.from({ length: 7 }, (_, index) => batcher.infer(callOf([index], `${index}`))));
    // 7 wait: four, two, and the one that is left after its delay.
    expect(booked.map(({ items }) => items.length)).toEqual([1, 2, 4, 2, 1]);
  });

  it('keeps nobody waiting for more than a batch or two behind another organisation’s flood', async () => {
    let batches = 0;
    const run = async (inputs: readonly TensorParts[]) => {
      batches++;
      await turn();
      return doubled(inputs);
    };
    const { batcher } = doubler({ maxBatchSize: 32, maxQueue: 20_000, target: { run } });
    const flood = Array.from({ length: 10_000 }, (_, index) => batcher.infer(callOf([index], `a${index}`)));
    const waits: number[] = [];
    for (let index = 0; index < 100; index++) {
      const before = batches;
      await batcher.infer(callOf([index], `b${index}`, { tenant: 'b' }));
      waits.push(batches - before);
    }
    expect(Math.max(...waits)).toBeLessThanOrEqual(2);
    expect(batcher.pending).toBeGreaterThan(5000);
    await Promise.all(flood);
  });

  it('takes the more urgent first, and still gets to the others', async () => {
    const { batcher, bookedIds } = doubler({ maxBatchSize: 1, settings: { priorityLevels: 3 } });
    const calls = Array.from({ length: 40 }, (_, index) =>
      callOf([index], `urgent${index}`, { priority: 0 }),
    );
    await Promise.all(
      [callOf([1], 'later', { priority: 9 }), callOf([2], 'middle'), ...calls].map((call) =>
        batcher.infer(call),
      ),
    );
    const order = bookedIds();
    expect(order.slice(0, 10)).toEqual(calls.slice(0, 10).map((call) => call.context.requestId));
    expect(order.indexOf('later')).toBeLessThan(20);
  });
});

describe('when a batch fails', () => {
  /** Dies whenever one of these is among what it computes. */
  const deadly =
    (poison: number[], how = crash) =>
    async (inputs: readonly TensorParts[]) => {
      await turn();
      if (valuesOf(inputs).some((value) => poison.includes(value))) throw how();
      return doubled(inputs);
    };

  it('answers the mates of a request that crashes its runner, and refuses that one from then on', async () => {
    let runs = 0;
    const run = deadly([13]);
    const counted = (inputs: readonly TensorParts[]) => {
      runs++;
      return run(inputs);
    };
    const { batcher, bookedIds } = doubler({ target: { run: counted, runAlone: counted } });
    const values = [1, 13, 2, 3];
    const results = await Promise.allSettled(
      values.map((value) => batcher.infer(callOf([value], `${value}`))),
    );
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled']);
    expect(results[1]).toMatchObject({ reason: { code: 'POISONED', status: 422 } });
    expect(bookedIds().sort()).toEqual(['1', '2', '3']);
    const before = runs;
    await expect(batcher.infer(callOf([13], 'again', { tenant: 'b' }))).rejects.toMatchObject({
      code: 'POISONED',
    });
    expect(runs).toBe(before);
    await expect(batcher.infer(callOf([14], 'other'))).resolves.toBeDefined();
  });

  it('blames the version when every request fails alone: retryable, and nobody is refused afterwards', async () => {
    let broken = true;
    let alone = 0;
    const run = async (inputs: readonly TensorParts[]) => {
      await turn();
      if (broken) throw crash();
      return doubled(inputs);
    };
    const runAlone = (inputs: readonly TensorParts[]) => {
      alone++;
      return run(inputs);
    };
    const { batcher } = doubler({ target: { run, runAlone } });
    const results = await Promise.allSettled(
      [1, 2, 3, 4, 5, 6].map((value) => batcher.infer(callOf([value], `${value}`))),
    );
    for (const result of results) expect(result).toMatchObject({ reason: { code: 'RUNNER_FAILED' } });
    expect(alone).toBe(3);
    broken = false;
    await expect(batcher.infer(callOf([1], 'again'))).resolves.toBeDefined();
    expect(batcher.pending).toBe(0);
  });

  it('serves others while it tries the requests of a crashed batch alone, and skips who has left', async () => {
    let released = () => {};
    const alone: number[] = [];
    const runAlone = (inputs: readonly TensorParts[]) => {
      alone.push(...valuesOf(inputs));
      return new Promise<ReturnType<typeof doubled>>((resolve) => {
        released = () => resolve(doubled(inputs));
      });
    };
    const { batcher } = doubler({ target: { run: deadly([1]), runAlone } });
    const left = callOf([2], 'left');
    const crashed = batcher.infer(callOf([1], 'crashed'));
    const gone = batcher.infer(left);
    while (alone.length === 0) await turn();
    left.cancel();
    await expect(gone).rejects.toMatchObject({ code: 'CANCELLED' });
    await expect(batcher.infer(callOf([3], 'other'))).resolves.toBeDefined();
    released();
    expect((await crashed).outputs[0]?.data[0]).toBe(2);
    await batcher.drained();
    expect(alone).toEqual([1]);
  });

  it('finds the one request that the model cannot take without failing its mates', async () => {
    let runs = 0;
    const run = deadly([13], refusal);
    const counted = (inputs: readonly TensorParts[]) => {
      runs++;
      return run(inputs);
    };
    const { batcher } = doubler({ maxBatchSize: 64, target: { run: counted } });
    const results = await Promise.allSettled(
      Array.from({ length: 64 }, (_, value) => batcher.infer(callOf([value], `${value}`))),
    );
    expect(results.filter(({ status }) => status === 'rejected')).toMatchObject([
      { reason: { code: 'INVALID_TENSOR' } },
    ]);
    expect(results[13]?.status).toBe('rejected');
    expect(runs).toBeLessThanOrEqual(1 + 2 * 6);
    await batcher.drained();
  });

  it('never cuts up the outputs of a model that does not answer row for row: it computes them one by one', async () => {
    const warnings: string[] = [];
    const run = async (inputs: readonly TensorParts[]) => {
      await turn();
      const values = valuesOf(inputs);
      // As many rows as it saw numbers above zero.
      const kept = Float32Array.from(values.filter((value) => value > 0));
      return {
        ...doubled(inputs),
        outputs: [{ name: 'y', datatype: 'FP32' as const, shape: [kept.length], data: kept }],
      };
    };
    const { batcher, booked } = doubler({
      target: { run },
      log: { warn: (_, message) => warnings.push(message) },
    });
    const answers = await Promise.all(
      [
        [1, -1],
        [2, 3],
        [-4, -5],
      ].map((values, index) => batcher.infer(callOf(values, `${index}`))),
    );
    expect(answers.map(({ outputs }) => Array.from(outputs[0]?.data ?? [], Number))).toEqual([
      [1],
      [2, 3],
      [],
    ]);
    // What was computed together and thrown away is booked, too, as lines of its own.
    expect(booked.map(({ items }) => items.map((item) => [item.context.requestId, item.outcome]))).toEqual([
      ['0~0', '1~1', '2~2'].map((id) => [id, 'failed']),
      ...['0', '1', '2'].map((id) => [[id, undefined]]),
    ]);
    expect(warnings).toHaveLength(1);
    await Promise.all([1, 2].map((value) => batcher.infer(callOf([value], `${value}`))));
    expect(booked).toHaveLength(6);
  });
});
