import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  plausibleAccelerator,
  plausibleCpu,
  plausibleNs,
  plausibleReading,
  plausibleTimes,
} from './plausible.ts';
import { joules } from './units.ts';

const sample = (energyJ: number) => ({ energyJ: joules(energyJ) });

describe('what a meter tells', () => {
  it('is taken when a host can draw it', () => {
    expect(plausibleReading(sample(30), 1)).toEqual(sample(30));
    expect(plausibleReading(sample(0), 1)).toEqual(sample(0));
    expect(plausibleReading({ missing: 'unplugged' }, 1)).toEqual({ missing: 'unplugged' });
  });

  it.each([
    [Number.NaN, /NaN/],
    [Number.POSITIVE_INFINITY, /Infinity/],
    [-0.5, /backwards/],
    // A 32-bit counter of microjoules that was reset and is read as having gone all around, in a millisecond.
    [2 ** 32, /4294967296000 W/],
  ])('is missing when it is %s J', (energyJ, reason) => {
    expect(plausibleReading(sample(energyJ), 0.001)).toEqual({ missing: expect.stringMatching(reason) });
  });

  it('bounds accelerators by the host that they are a part of', () => {
    expect(plausibleAccelerator({ ...sample(10), acceleratorJ: joules(25) }, ['m:1'])).toEqual({
      accelerator: { energyJ: 10, idleW: 0, users: ['m:1'] },
      notes: ['accelerators told more than the whole host: bounded by it'],
    });
    expect(
      plausibleAccelerator({ ...sample(10), acceleratorJ: joules(Number.NaN) }, []).accelerator,
    ).toBeUndefined();
    expect(plausibleAccelerator(sample(10), [])).toEqual({ notes: [] });
  });
});

describe('CPU times', () => {
  const none = { hostBusyS: 0, gatewayCpuS: 0, runners: [], helpers: [], jobs: [] };

  it('are left alone as long as the CPUs can have done that', () => {
    const times = { ...none, hostBusyS: 1.9, gatewayCpuS: 0.5, runners: [{ pid: 1, cpuS: 1.4 }] };
    expect(plausibleCpu(times, 2, 1)).toEqual({ hostBusyS: 1.9, factor: 1, notes: [] });
  });

  it('are bounded by what the CPUs have when a counter jumps', () => {
    const jumped = plausibleCpu({ ...none, hostBusyS: 1, runners: [{ pid: 1, cpuS: 4000 }] }, 2, 1);
    expect(jumped.factor).toBeCloseTo(2 / 4000, 12);
    expect(jumped.notes).toHaveLength(1);
    expect(plausibleCpu({ ...none, hostBusyS: 1e12 }, 2, 1).hostBusyS).toBe(2);
    expect(plausibleCpu({ ...none, hostBusyS: Number.NaN }, 2, 1)).toMatchObject({ hostBusyS: 0 });
    expect(plausibleCpu({ ...none, jobs: [{ cpuS: Number.NaN }] }, 2, 1).factor).toBe(0);
  });

  it('never exceed the CPUs by more than sampling explains, whatever is told', () => {
    const told = fc.oneof(fc.double(), fc.double({ min: 0, max: 10 }));
    fc.assert(
      fc.property(
        told,
        told,
        fc.array(told),
        fc.integer({ min: 1, max: 64 }),
        (hostBusyS, gatewayCpuS, all, count) => {
          const runners = all.map((cpuS, pid) => ({ pid, cpuS }));
          const bounded = plausibleCpu({ ...none, hostBusyS, gatewayCpuS, runners }, count, 1);
          expect(bounded.hostBusyS).toBeGreaterThanOrEqual(0);
          expect(bounded.hostBusyS).toBeLessThanOrEqual(1.5 * count + 0.1);
          expect(bounded.factor).toBeGreaterThanOrEqual(0);
          expect(bounded.factor).toBeLessThanOrEqual(1);
        },
      ),
    );
  });
});

describe('clocks', () => {
  it('let an interval be as long as it was when the wall clock is set', () => {
    expect(plausibleTimes(1000, 2000, 1)).toEqual({ startMs: 1000, endMs: 2000, notes: [] });
    // Set back by an hour, and (summer time on a clock that should know better) forward by one.
    expect(plausibleTimes(3_600_000, 1000, 1)).toMatchObject({
      startMs: 0,
      endMs: 1000,
      notes: [expect.stringMatching(/set by -3600 s/)],
    });
    expect(plausibleTimes(0, 3_601_000, 1)).toMatchObject({
      startMs: 3_600_000,
      notes: [expect.stringMatching(/set by 3600 s/)],
    });
    // Drift of less than 2 s is none.
    expect(plausibleTimes(1000, 999, 0.5)).toEqual({ startMs: 999, endMs: 999, notes: [] });
  });

  it('bound what a runner says of its own time', () => {
    expect([Number.NaN, -1, 5, 1e30].map(plausibleNs)).toEqual([0, 0, 5, 86_400e9]);
  });
});
