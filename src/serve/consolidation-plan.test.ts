import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type ConsolidationFacts,
  type DeploymentFacts,
  p95With,
  planConsolidation,
  processesFor,
} from './consolidation-plan.ts';

const mb = 2 ** 20;

function one(given: Partial<DeploymentFacts> = {}): DeploymentFacts {
  return {
    id: given.name ?? 'a',
    name: 'a',
    pinned: false,
    copies: 1,
    replicas: 1,
    minReplicas: 1,
    memoryBytes: 100 * mb,
    maxBatchSize: 128,
    threads: 1,
    windowS: 600,
    requestsPerS: 10,
    computeShare: 0.1,
    stepMs: 2,
    p95Ms: 5,
    fullSteps: 0,
    latencyObjectiveMs: null,
    ...given,
  };
}

const facts = (...deployments: DeploymentFacts[]): ConsolidationFacts => ({
  windowS: 600,
  deployments,
  runners: 4,
  runnerBytes: 1000 * mb,
});

const idle = { requestsPerS: 0, computeShare: 0, stepMs: null, p95Ms: null };

describe('what is proposed', () => {
  it('to unload what nobody asks for; pinned models stay, and so does everything seen for less than five minutes', () => {
    const unused = one({ name: 'unused', ...idle });
    const pinned = one({ name: 'pinned', pinned: true, ...idle });
    const { steps, before, after } = planConsolidation(facts(one(), unused, pinned));
    expect(steps.filter(({ kind }) => kind === 'unload')).toMatchObject([
      { name: 'unused', freesBytes: 100 * mb },
    ]);
    expect(before).toMatchObject({ copies: 3, reservedBytes: 300 * mb });
    expect(after).toMatchObject({ copies: 2, reservedBytes: 200 * mb });
    const early = planConsolidation({ ...facts({ ...unused, windowS: 60 }), windowS: 60 });
    expect(early.steps).toEqual([]);
  });

  it('fewer copies, as many as keep the latency, never less than the least', () => {
    const wide = { copies: 4, replicas: 4, computeShare: 0.4, memoryBytes: 400 * mb };
    expect(planConsolidation(facts(one(wide))).steps[0]).toMatchObject({ kind: 'replicas', from: 4, to: 1 });
    const kept = planConsolidation(facts(one({ ...wide, minReplicas: 3 }))).steps[0];
    expect(kept).toMatchObject({ kind: 'replicas', from: 4, to: 3 });
    const busy = planConsolidation(facts(one({ ...wide, computeShare: 1.7 }))).steps[0];
    expect(busy).toMatchObject({ kind: 'replicas', to: 3 });
    const strict = one({ ...wide, computeShare: 1.7, latencyObjectiveMs: 5.01 });
    expect(planConsolidation(facts(strict)).steps.filter(({ kind }) => kind === 'replicas')).toEqual([]);
  });

  it('one thread where it computes soon enough, larger batches where full ones make others wait', () => {
    const threaded = one({ threads: 2, stepMs: 1, p95Ms: 8, computeShare: 0.05 });
    expect(planConsolidation(facts(threaded)).steps).toMatchObject([
      { kind: 'threads', from: 2, to: 1 },
      { kind: 'runners' },
    ]);
    const full = one({ fullSteps: 0.9, p95Ms: 20, maxBatchSize: 32 });
    expect(planConsolidation(facts(full)).steps[0]).toMatchObject({ kind: 'maxBatchSize', from: 32, to: 64 });
  });

  it('fewer processes, and how much fuller they are', () => {
    const { steps, before, after } = planConsolidation(
      facts(...['a', 'b', 'c', 'd'].map((name) => one({ name }))),
    );
    expect(steps).toMatchObject([{ kind: 'runners', from: 4, to: 1 }]);
    expect([before.rur, after.rur]).toEqual([0.1, 0.4]);
  });
});

describe('the predicted latency', () => {
  it('is that of an M/D/1 queue: p95 grows from 5 to 6.25 ms on half the copies', () => {
    expect(p95With(one({ copies: 2, computeShare: 0.4 }), 1, 2)).toBeCloseTo(
      5 + 3 * ((0.4 / (2 * 0.6)) * 2 - (0.2 / (2 * 0.8)) * 2),
    );
    expect(p95With(one({ copies: 2, computeShare: 1.2 }), 1, 2)).toBe(Number.POSITIVE_INFINITY);
  });
});

describe('whatever was measured', () => {
  const some = fc.record({
    pinned: fc.boolean(),
    copies: fc.integer({ min: 0, max: 4 }),
    minReplicas: fc.integer({ min: 1, max: 4 }),
    memoryBytes: fc.integer({ min: 1, max: 900 }).map((size) => size * mb),
    computeShare: fc.double({ min: 0, max: 3, noNaN: true }),
    used: fc.boolean(),
  });

  it('pinned models stay, the least number of copies is kept, and no process is loaded beyond its bounds by packing', () => {
    fc.assert(
      fc.property(fc.array(some, { minLength: 1, maxLength: 8 }), (given) => {
        const deployments = given.map(({ used, ...values }, index) =>
          one({
            ...values,
            id: `${index}`,
            name: `${index}`,
            replicas: Math.max(1, values.copies),
            ...(used ? {} : idle),
          }),
        );
        const { steps, after, before } = planConsolidation(facts(...deployments));
        for (const step of steps) {
          if (step.kind === 'runners') continue;
          const of = deployments.find(({ id }) => id === step.id);
          if (step.kind === 'unload') expect(of?.pinned).toBe(false);
          if (step.kind === 'replicas') expect(step.to).toBeGreaterThanOrEqual(of?.minReplicas ?? 9);
        }
        expect(after.runners).toBeLessThanOrEqual(before.runners);
        expect(after.reservedBytes).toBeLessThanOrEqual(before.reservedBytes);
        // No packing needs fewer than the sum of all loads and bytes asks for.
        const load = deployments.reduce(
          (sum, { copies, computeShare }) => sum + (copies ? computeShare : 0),
          0,
        );
        const bins = processesFor(deployments, { runnerBytes: 1000 * mb });
        expect(bins).toBeGreaterThanOrEqual(Math.max(...deployments.map(({ copies }) => copies)));
        if (deployments.every(({ copies, computeShare }) => computeShare / Math.max(1, copies) <= 0.6))
          expect(bins).toBeGreaterThanOrEqual(Math.ceil(load / 0.6 - 1e-9));
      }),
    );
  });
});
