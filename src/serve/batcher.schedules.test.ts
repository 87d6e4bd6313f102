/** Random schedules of everything that can happen at once, and what must hold whatever happens. */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { CommonwattError } from '../errors.ts';
import type { TensorParts } from '../runtimes/frames.ts';
import { AnswerCache } from './reuse.ts';
import type { InferCall, Inference } from './serve.ts';
import { callOf, doubled, doubler, turn as realTurn, sleep, valuesOf } from './testing/calls.ts';

// Time passes between turns and each ms, never in the middle of one: what has expired has no two answers.
let clock = 1000;
let ticking: NodeJS.Timeout;
beforeAll(() => {
  vi.spyOn(performance, 'now').mockImplementation(() => clock);
  ticking = setInterval(() => {
    clock += 1;
  }, 1);
});
afterAll(() => {
  clearInterval(ticking);
  vi.restoreAllMocks();
});
const turn = async () => {
  await realTurn();
  clock += 0.3;
};

const poison = 666;
const refused = 13;

const request = fc.record({
  /** Turns of the event loop before it is sent. */
  after: fc.nat(6),
  values: fc.array(
    fc.oneof({ weight: 30, arbitrary: fc.integer({ min: 1, max: 12 }) }, fc.constantFrom(poison, refused)),
    {
      minLength: 1,
      maxLength: 4,
    },
  ),
  tenant: fc.constantFrom('a', 'b', 'c'),
  priority: fc.option(fc.nat(3), { nil: undefined }),
  /** ms from when it is sent; 0: expired already. */
  deadlineIn: fc.oneof({ weight: 4, arbitrary: fc.constant(undefined) }, fc.nat(4)),
  /** Turns after which it is cancelled. */
  cancelAfter: fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, fc.nat(6)),
  reuse: fc.boolean(),
});

const house = fc.record({
  maxBatchSize: fc.integer({ min: 1, max: 16 }),
  maxQueue: fc.constantFrom(3, 10, 1000),
  parallelism: fc.integer({ min: 1, max: 3 }),
  priorityLevels: fc.integer({ min: 1, max: 3 }),
  maxQueueDelayMs: fc.constantFrom(0, 1, 'adaptive' as const),
  reuses: fc.boolean(),
  scope: fc.constantFrom('organisation' as const, 'everyone' as const),
  loads: fc.boolean(),
});

interface Sent {
  call: InferCall;
  values: number[];
  answers: (Inference | CommonwattError)[];
}

it('answers every caller once, with its own rows or one error, whatever happens to the others', async () => {
  await fc.assert(
    fc.asyncProperty(house, fc.array(request, { minLength: 1, maxLength: 60 }), async (given, requests) => {
      const { maxBatchSize, maxQueue, parallelism, priorityLevels, maxQueueDelayMs, scope } = given;
      const sent = new Map<Float32Array, Sent>();
      const late: string[] = [];
      let running = 0;
      let most = 0;
      /** Nothing may be computed for whom nobody waits: cancelled, or past its time. */
      const check = (inputs: readonly TensorParts[]) => {
        for (const part of inputs[0]?.parts ?? []) {
          const own = sent.get(part as Float32Array);
          const { deadlineAtMs = Infinity } = own?.call.options ?? {};
          const gone = own?.call.cancelled || deadlineAtMs <= performance.now();
          // Another caller may have joined it.
          if (gone && !given.reuses) late.push(own?.call.context.requestId ?? '?');
        }
      };
      const compute = async (inputs: readonly TensorParts[]) => {
        check(inputs);
        await (inputs.length % 2 === 0 ? sleep(1) : turn());
        const values = valuesOf(inputs);
        if (values.includes(poison)) throw new CommonwattError('RUNNER_FAILED', 'died');
        if (values.includes(refused)) throw new CommonwattError('INVALID_TENSOR', 'no');
        return doubled(inputs);
      };
      let loaded = !given.loads;
      const { batcher, booked, avoided } = doubler({
        maxBatchSize,
        maxQueue,
        ...(given.reuses ? { answers: new AnswerCache(1 << 20) } : {}),
        settings: { priorityLevels, maxQueueDelayMs, cache: { enabled: true, maxAgeS: 60, scope } },
        target: {
          parallelism,
          awake: () =>
            loaded
              ? undefined
              : sleep(3).then(() => {
                  loaded = true;
                }),
          runAlone: compute,
          async run(inputs) {
            most = Math.max(most, ++running);
            try {
              return await compute(inputs);
            } finally {
              running--;
            }
          },
        },
      });
      await Promise.all(
        requests.map(async ({ after, values, tenant, priority, deadlineIn, cancelAfter, reuse }, index) => {
          for (let turns = 0; turns < after; turns++) await turn();
          const call = callOf(values, `r${index}`, {
            tenant,
            priority,
            reuse,
            policyVersion: 1,
            deadlineAtMs: deadlineIn === undefined ? undefined : performance.now() + deadlineIn,
          });
          const own: Sent = { call, values, answers: [] };
          sent.set(call.inputs[0]?.data as Float32Array, own);
          batcher.submit(
            call,
            (inference) => own.answers.push(inference),
            (error) => own.answers.push(error as CommonwattError),
          );
          if (cancelAfter === undefined) return;
          for (let turns = 0; turns < cancelAfter; turns++) await turn();
          call.cancel();
        }),
      );
      await batcher.drained();

      const counts = { success: 0, cancelled: 0, fail: 0 };
      for (const { call, values, answers } of sent.values()) {
        expect(answers).toHaveLength(1);
        const [answer] = answers;
        if (answer instanceof Error) {
          counts[answer.code === 'CANCELLED' ? 'cancelled' : 'fail']++;
          const { deadlineAtMs } = call.options;
          if (answer.code === 'CANCELLED') expect(call.cancelled).toBe(true);
          else if (answer.code === 'DEADLINE_EXCEEDED') expect(deadlineAtMs).toBeDefined();
          else if (answer.code === 'OVERLOADED') expect(maxQueue).toBeLessThan(1000);
          else if (answer.code === 'INVALID_TENSOR') expect(values).toContain(refused);
          else if (answer.code === 'POISONED') expect(values).toContain(poison);
          else expect(answer.code).toBe('RUNNER_FAILED');
          continue;
        }
        counts.success++;
        expect(Array.from(answer?.outputs[0]?.data ?? [], Number)).toEqual(values.map((value) => value * 2));
      }
      expect(late).toEqual([]);
      expect(batcher.pending).toBe(0);
      expect(most).toBeLessThanOrEqual(parallelism);
      const { success, fail, cancelled, inferenceCount } = batcher.statistics;
      expect({ success: success.count, fail: fail.count, cancelled }).toEqual(counts);
      // What is booked: each batch that was computed, in full, and each answer that was used again, once.
      const rows = booked.flatMap(({ items }) => items).reduce((sum, item) => sum + item.rows, 0);
      expect(rows).toBe(inferenceCount);
      const ids = [...booked, ...avoided].flatMap(({ items }) =>
        items.map(({ context }) => context.requestId),
      );
      expect(new Set(ids).size).toBe(ids.length);
      for (const { call, answers } of sent.values())
        if (!(answers[0] instanceof Error)) expect(ids).toContain(call.context.requestId);
      // And it goes on.
      expect((await batcher.infer(callOf([1], 'after', { policyVersion: 1 }))).outputs[0]?.data[0]).toBe(2);
    }),
    { numRuns: Number(process.env.COMMONWATT_TEST_RUNS ?? 150) },
  );
}, 60_000);
