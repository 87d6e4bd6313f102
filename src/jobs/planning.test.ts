import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { planRuns, type Slot, type Span, type Wish } from './planning.ts';

const hour = 3_600_000;

function hours(...gPerKwh: number[]): Slot[] {
  return gPerKwh.map((value, index) => ({
    startMs: index * hour,
    endMs: (index + 1) * hour,
    gPerKwh: value,
  }));
}

function wish(given: Partial<Wish>): Wish {
  return {
    nowMs: 0,
    deadlineMs: 24 * hour,
    durationMs: hour,
    interruptible: false,
    minRunMs: hour / 4,
    interruptionMs: 0,
    ...given,
  };
}

const lengthOf = (runs: readonly Span[]) =>
  runs.reduce((sum, { startMs, endMs }) => sum + endMs - startMs, 0);

/** By walking through it minute by minute: not how the planner computes it. */
function meanByMinutes(slots: readonly Slot[], runs: readonly Span[], durationMs: number): number {
  const minute = 60_000;
  let sum = 0;
  for (const { startMs, endMs } of runs)
    for (let at = startMs; at < endMs; ) {
      // Runs may begin within a minute; the forecast changes at whole ones only.
      const next = Math.min(endMs, (Math.floor(at / minute) + 1) * minute);
      sum +=
        (next - at) * (slots.find((slot) => at >= slot.startMs && at < slot.endMs)?.gPerKwh ?? Number.NaN);
      at = next;
    }
  return sum / durationMs;
}

describe('a job that cannot be interrupted', () => {
  it('waits for the cleanest hours: two of 300, 200, 100, 400 are the second and third', () => {
    expect(planRuns(wish({ durationMs: 2 * hour, deadlineMs: 4 * hour }), hours(300, 200, 100, 400))).toEqual(
      {
        why: 'cleanest',
        runs: [{ startMs: hour, endMs: 3 * hour }],
        meanGPerKwh: 150,
        atOnceGPerKwh: 250,
      },
    );
  });

  it('ends by its deadline, however clean the hours behind it', () => {
    const plan = planRuns(
      wish({ durationMs: 1.5 * hour, deadlineMs: 2.5 * hour }),
      hours(300, 200, 100, 1, 1, 1),
    );
    expect(plan.runs).toEqual([{ startMs: hour, endMs: 2.5 * hour }]);
  });

  it('begins at once where nothing is known, nothing is better, or no time is left', () => {
    const atOnce = [{ startMs: 0, endMs: hour }];
    expect(planRuns(wish({}), [])).toMatchObject({ why: 'no forecast', runs: atOnce, meanGPerKwh: null });
    expect(planRuns(wish({}), hours(342, 342, 342))).toMatchObject({ why: 'flat', runs: atOnce });
    expect(planRuns(wish({ deadlineMs: hour / 2 }), hours(300, 1))).toMatchObject({
      why: 'deadline',
      runs: atOnce,
    });
  });

  it('looks no further than the first gap of the forecast', () => {
    const slots = hours(300, 200, 100, 50).filter((_, index) => index !== 2);
    expect(planRuns(wish({}), slots).runs).toEqual([{ startMs: hour, endMs: 2 * hour }]);
  });

  it('keeps out of the hours of other jobs, and waits its turn when they have them all', () => {
    const forecast = hours(300, 200, 100, 250);
    const others = [{ startMs: 2 * hour, endMs: 3 * hour }];
    expect(planRuns(wish({ deadlineMs: 4 * hour }), forecast, others).runs[0]?.startMs).toBe(hour);
    const all = [{ startMs: 0, endMs: 4 * hour }];
    expect(planRuns(wish({ deadlineMs: 4 * hour }), forecast, all).runs[0]?.startMs).toBe(2 * hour);
  });
});

describe('a job that can be interrupted', () => {
  it('takes the cleanest hours wherever they are', () => {
    const interruptible = { interruptible: true, minRunMs: hour, durationMs: 2 * hour, deadlineMs: 4 * hour };
    const plan = planRuns(wish(interruptible), hours(900, 100, 900, 100));
    expect(plan.runs).toEqual([
      { startMs: hour, endMs: 2 * hour },
      { startMs: 3 * hour, endMs: 4 * hour },
    ]);
    expect(plan.meanGPerKwh).toBe(100);
  });

  it('counts what an interruption costs, and is not interrupted where it is not worth it', () => {
    const dear = { interruptible: true, minRunMs: hour, durationMs: 2 * hour, interruptionMs: 2 * hour };
    expect(planRuns(wish({ ...dear, deadlineMs: 4 * hour }), hours(300, 100, 200, 100)).runs).toHaveLength(1);
  });
});

const wishes = fc.record({
  gPerKwh: fc.array(fc.integer({ min: 1, max: 900 }), { minLength: 1, maxLength: 12 }),
  // Whole minutes, so that the walk by minutes is exact.
  durationMin: fc.integer({ min: 1, max: 400 }),
  deadlineMin: fc.integer({ min: 1, max: 900 }),
  interruptible: fc.boolean(),
  minRunMin: fc.integer({ min: 1, max: 90 }),
  interruptionMin: fc.integer({ min: 0, max: 30 }),
});

describe('whatever is asked for', () => {
  it('a deadline that can be met is met, all work is done, runs do not overlap, and it is never dirtier than at once', () => {
    fc.assert(
      fc.property(wishes, ({ gPerKwh, ...asked }) => {
        const slots = hours(...gPerKwh);
        const durationMs = asked.durationMin * 60_000;
        const deadlineMs = asked.deadlineMin * 60_000;
        const interruptionMs = asked.interruptionMin * 60_000;
        const { interruptible } = asked;
        const plan = planRuns(
          {
            nowMs: 0,
            durationMs,
            deadlineMs,
            interruptible,
            minRunMs: asked.minRunMin * 60_000,
            interruptionMs,
          },
          slots,
        );
        const { runs } = plan;
        expect(lengthOf(runs)).toBeCloseTo(durationMs + (runs.length - 1) * interruptionMs, 3);
        if (durationMs <= deadlineMs) expect(runs.at(-1)?.endMs).toBeLessThanOrEqual(deadlineMs + 1e-3);
        for (const [index, run] of runs.entries())
          if (index > 0) expect(run.startMs).toBeGreaterThan(runs[index - 1]?.endMs ?? 0);
        if (plan.meanGPerKwh === null || plan.atOnceGPerKwh === null) return;
        expect(plan.meanGPerKwh).toBeLessThanOrEqual(plan.atOnceGPerKwh + 1e-6);
      }),
      { numRuns: 300 },
    );
  });

  it('no start in whole minutes is better than the one that was found', () => {
    fc.assert(
      fc.property(wishes, ({ gPerKwh, durationMin, deadlineMin }) => {
        const slots = hours(...gPerKwh);
        const durationMs = durationMin * 60_000;
        const deadlineMs = deadlineMin * 60_000;
        const { meanGPerKwh, why } = planRuns(wish({ durationMs, deadlineMs }), slots);
        if (meanGPerKwh === null || why === 'deadline') return;
        const lastMs = Math.min(deadlineMs, slots.at(-1)?.endMs ?? 0) - durationMs;
        for (let startMs = 0; startMs <= lastMs; startMs += 15 * 60_000) {
          const run = { startMs, endMs: startMs + durationMs };
          expect(meanGPerKwh).toBeLessThanOrEqual(meanByMinutes(slots, [run], durationMs) + 1e-6);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('interrupted it is never dirtier than in one run, by the same forecast', () => {
    fc.assert(
      fc.property(wishes, ({ gPerKwh, durationMin, deadlineMin, minRunMin, interruptionMin }) => {
        const asked = wish({
          durationMs: durationMin * 60_000,
          deadlineMs: deadlineMin * 60_000,
          minRunMs: minRunMin * 60_000,
          interruptionMs: interruptionMin * 60_000,
        });
        const slots = hours(...gPerKwh);
        const whole = planRuns(asked, slots);
        const parts = planRuns({ ...asked, interruptible: true }, slots);
        if (whole.meanGPerKwh === null || parts.meanGPerKwh === null) return;
        expect(parts.meanGPerKwh).toBeLessThanOrEqual(whole.meanGPerKwh + 1e-6);
        expect(parts.meanGPerKwh).toBeCloseTo(meanByMinutes(slots, parts.runs, asked.durationMs), 6);
      }),
      {
        numRuns: 100,
        // Steps that are no whole minutes.
        examples: [
          [
            {
              gPerKwh: [1, 1, 1, 2, 1, 1, 2, 1, 1],
              durationMin: 295,
              deadlineMin: 502,
              interruptible: true,
              minRunMin: 1,
              interruptionMin: 4,
            },
          ],
        ],
      },
    );
  });
});

describe("Let's Wait Awhile: jobs of a working day that may end with the next one", () => {
  /** Clean at night and at noon, as in that paper's German year; synthetic, since no hourly data ships in a package. */
  const days = Array.from(
    { length: 96 },
    (_, index) => 300 - 60 * Math.cos(((index - 0.5) / 24) * 4 * Math.PI),
  );
  const forecast = hours(...days);
  const saved = (interruptible: boolean, slackHours: number) => {
    const parts = Array.from({ length: 8 }, (_, index) => {
      const nowMs = (9 + index) * hour;
      const durationMs = 6 * hour;
      const deadlineMs = nowMs + durationMs + slackHours * hour;
      const plan = planRuns(wish({ nowMs, deadlineMs, durationMs, interruptible }), forecast);
      return 1 - (plan.meanGPerKwh ?? Number.NaN) / (plan.atOnceGPerKwh ?? Number.NaN);
    });
    return (parts.reduce((sum, part) => sum + part, 0) / parts.length) * 100;
  };

  it('waiting saves single digits to 20 %, interrupting saves more, and so does more time', () => {
    expect(saved(false, 18)).toBeGreaterThan(2);
    expect(saved(false, 18)).toBeLessThan(20);
    expect(saved(true, 18)).toBeGreaterThan(saved(false, 18));
    expect(saved(false, 18)).toBeGreaterThan(saved(false, 3));
  });
});
