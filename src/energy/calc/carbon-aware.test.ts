import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bestRuns, bestStart, scaleOut } from './carbon-aware.ts';

/** Half hours of days that are cleanest at night and at noon and dirtiest in the morning and evening. No measured data. */
function diurnal(days: number, mean = 300, swing = 60): number[] {
  return Array.from(
    { length: days * 48 },
    (_, index) => mean - swing * Math.cos(((index / 2 - 0.5) / 24) * 4 * Math.PI),
  );
}

const meanOf = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const series = fc.array(fc.integer({ min: 1, max: 900 }), { minLength: 2, maxLength: 9 });

/** Every choice of steps, by brute force. */
function leastRuns(gPerKwh: readonly number[], steps: number, minRun: number, interruption: number): number {
  let least = Number.POSITIVE_INFINITY;
  for (let mask = 0; mask < 2 ** gPerKwh.length; mask++) {
    const chosen = gPerKwh.map((_, index) => (mask >> index) & 1);
    if (chosen.reduce((sum, bit) => sum + bit, 0) !== steps) continue;
    let cost = 0;
    let done = 0;
    let run = 0;
    let allowed = true;
    for (const [index, intensity] of gPerKwh.entries()) {
      if (chosen[index]) {
        cost += intensity * (1 + (run === 0 && done > 0 ? interruption : 0));
        run++;
        done++;
      } else {
        if (run > 0 && run < minRun && done < steps) allowed = false;
        run = 0;
      }
    }
    if (allowed) least = Math.min(least, cost);
  }
  return least / steps;
}

describe('a job that cannot be interrupted', () => {
  it('starts where the mean over its length is least', () => {
    expect(bestStart([5, 1, 1, 9], 2)).toEqual({ start: 1, mean: 1 });
  });

  it('never does worse than at once, and no other start is better', () => {
    fc.assert(
      fc.property(series, fc.integer({ min: 1, max: 9 }), (gPerKwh, length) => {
        const steps = Math.min(length, gPerKwh.length);
        const { start, mean } = bestStart(gPerKwh, steps);
        expect(mean).toBeCloseTo(meanOf(gPerKwh.slice(start, start + steps)), 6);
        for (let other = 0; other + steps <= gPerKwh.length; other++)
          expect(mean).toBeLessThanOrEqual(meanOf(gPerKwh.slice(other, other + steps)) + 1e-6);
      }),
    );
  });
});

describe('a job that can be interrupted', () => {
  it('takes the cleanest steps', () => {
    const runs = bestRuns({ gPerKwh: [9, 1, 9, 1], steps: 2, minRunSteps: 1, interruptionSteps: 0 });
    expect(runs).toEqual({ chosen: [1, 3], interruptions: 1, mean: 1 });
  });

  it('stays in one run when an interruption costs more than it saves', () => {
    const runs = bestRuns({ gPerKwh: [9, 2, 3, 1], steps: 2, minRunSteps: 1, interruptionSteps: 2 });
    expect(runs.interruptions).toBe(0);
    expect(runs.chosen).toEqual([2, 3]);
  });

  it('finds what trying every choice finds, with run lengths and costs of interruptions', () => {
    fc.assert(
      fc.property(
        series,
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 3 }),
        fc.constantFrom(0, 0.1, 0.5, 2),
        (gPerKwh, length, minRunSteps, interruptionSteps) => {
          const steps = Math.min(length, gPerKwh.length);
          const { chosen, mean } = bestRuns({ gPerKwh, steps, minRunSteps, interruptionSteps });
          expect(chosen).toHaveLength(steps);
          expect(mean).toBeCloseTo(leastRuns(gPerKwh, steps, minRunSteps, interruptionSteps), 9);
        },
      ),
    );
  });
});

describe("Let's Wait Awhile, in its directions", () => {
  // Its percentages need its data (DE, GB, FR, California 2020), which no package has; a synthetic day shows the rest.
  const jobs = Array.from({ length: 20 }, (_, index) => 16 + index);
  const saved = (slack: number, steps: number, interrupted: boolean) =>
    meanOf(
      jobs.map((arrival) => {
        const gPerKwh = diurnal(3).slice(arrival, arrival + steps + slack);
        const mean = interrupted
          ? bestRuns({ gPerKwh, steps, minRunSteps: 1, interruptionSteps: 0 }).mean
          : bestStart(gPerKwh, steps).mean;
        return 1 - mean / meanOf(gPerKwh.slice(0, steps));
      }),
    );

  it('more slack saves more, interrupting saves more, long jobs save less', () => {
    expect(saved(16, 4, false)).toBeGreaterThan(saved(4, 4, false));
    expect(saved(16, 16, true)).toBeGreaterThan(saved(16, 16, false));
    expect(saved(16, 4, false)).toBeGreaterThan(saved(16, 20, false));
  });

  it('is single digits to 20 % on a day that swings by a fifth', () => {
    for (const percent of [saved(16, 4, false), saved(16, 4, true)].map((part) => part * 100)) {
      expect(percent).toBeGreaterThan(4);
      expect(percent).toBeLessThan(35);
    }
  });

  it('nothing is saved on a grid that never changes', () => {
    expect(
      bestStart(
        Array.from({ length: 48 }, () => 342.06),
        6,
      ).start,
    ).toBe(0);
  });
});

describe('a job that can scale', () => {
  const replicas = [
    { unitsPerHour: 2, watts: 100 },
    { unitsPerHour: 1, watts: 100 },
  ];

  it('runs wide in clean steps', () => {
    expect(scaleOut({ gPerKwh: [400, 100], stepHours: 1, work: 3, replicas })).toEqual({
      replicas: [0, 2],
      done: 3,
      energyKwh: 0.2,
      carbonG: 20,
    });
  });

  it('does exactly the work, the last step trimmed (the published loop would do 4 of 3.5)', () => {
    const scale = scaleOut({ gPerKwh: [400, 100], stepHours: 1, work: 3.5, replicas });
    expect(scale).toMatchObject({ done: 3.5, replicas: [0.25, 2] });
    expect(scale.carbonG).toBeCloseTo(20 + 0.25 * 0.1 * 400, 9);
  });

  it('does all work that fits, never more, and never worse than one replica after the other', () => {
    fc.assert(
      fc.property(series, fc.double({ min: 0.05, max: 1, noNaN: true }), (gPerKwh, part) => {
        const work = part * gPerKwh.length * 2;
        const scale = scaleOut({ gPerKwh, stepHours: 1, work, replicas });
        expect(scale.done).toBeCloseTo(work, 9);
        let left = work;
        let inOrder = 0;
        for (const intensity of gPerKwh) {
          const hours = Math.min(1, left / 2);
          inOrder += hours * 0.1 * intensity;
          left -= hours * 2;
        }
        expect(scale.carbonG).toBeLessThanOrEqual(inOrder * (1 + 1e-9));
      }),
    );
  });
});
