import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { planCapacity } from './capacity.ts';

const auto = { processes: 'auto', threads: 'auto', memoryLimitBytes: null } as const;

describe('the capacity of a host', () => {
  it.each([
    [1, 1, 1],
    [2, 1, 1],
    [4, 1, 3],
    [8, 3, 2],
    [16, 7, 2],
    [64, 8, 7],
  ])(
    'of %i cores is %i processes of %i threads, and a core is left to the gateway',
    (cores, processes, threads) => {
      expect(planCapacity(auto, { cores, memoryBytes: 8e9 })).toMatchObject({ processes, threads });
    },
  );

  it('never has more threads at work than cores, whatever is asked for', () => {
    const setting = fc.oneof(fc.constant('auto' as const), fc.integer({ min: 1, max: 300 }));
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 256 }), setting, (cores, threads) => {
        const plan = planCapacity({ ...auto, threads }, { cores, memoryBytes: 8e9 });
        expect(plan.threads).toBeGreaterThanOrEqual(1);
        expect(plan.threads).toBeLessThanOrEqual(plan.maxThreads);
        expect(plan.processes * plan.maxThreads).toBeLessThanOrEqual(cores);
      }),
    );
  });

  it('lets a process grow to four fifths of the memory, or as the operator says', () => {
    const host = { cores: 8, memoryBytes: 30e9 };
    expect(planCapacity(auto, host).memoryLimitBytes).toBe(24e9);
    expect(planCapacity({ ...auto, memoryLimitBytes: 1e9 }, host).memoryLimitBytes).toBe(1e9);
  });
});
