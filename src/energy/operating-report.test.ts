import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { savingPerHour } from './impact.ts';
import type { WatchedModel } from './latency.ts';
import { type OperatingInput, operatingReport } from './operating-report.ts';

/** 8 × H100: 7,012 kg over 3 years, so a = 2707.2 and b = 823.62 g/h (docs/accounting.md). */
const server = {
  idleW: 1160,
  maxW: 6800,
  pue: 1.2,
  intensity: 400,
  embodiedGPerH: 7_012_000 / (3 * 365 * 24),
};
const [a, b] = [2707.2, 0.48 * 1160 + server.embodiedGPerH];

function report(change: Partial<OperatingInput> = {}) {
  return operatingReport({
    server,
    settings: null,
    calibrated: null,
    latencies: [],
    utilisation: 0.2,
    otherUse: 0,
    perHourAtFull: 1000,
    ...change,
  });
}

/** p95 20 ms at u = .5, so 10 + 10 · u/(1 − u): 40 ms at .75 (the example of latency.ts). */
const watched = (model: string, objectiveMs: number | null, windows = 1): WatchedModel => ({
  model,
  objectiveMs,
  windows: Array.from({ length: windows }, () => ({ utilisation: 0.5, p95Ms: 20, requests: 100 })),
});

describe('the operating point', () => {
  it('of the example server is 1.933 times the floor at a use of 20 %', () => {
    const { operatingPoint, atFullUtilisationGCo2e, best, function: f } = report();
    expect(f).toEqual({ kind: 'straight line', formula: 'a + b / u' });
    expect(atFullUtilisationGCo2e).toBeCloseTo((a + b) / 1000, 9);
    expect((operatingPoint?.gCo2ePerRequest ?? 0) / (atFullUtilisationGCo2e ?? 1)).toBeCloseTo(1.933, 3);
    expect(best?.utilisation).toBe(1);
  });

  it('causes for each request less and in each hour more, the better the supply is used', () => {
    const { curve } = report();
    for (const [at, point] of curve.entries()) {
      // A server at u: a·u + b g/h, for u·W requests.
      expect(point.gCo2ePerHour).toBeCloseTo(a * point.utilisation + b, 9);
      expect(point.gCo2ePerRequest * 1000 * point.utilisation).toBeCloseTo(point.gCo2ePerHour, 9);
      const before = curve[at - 1];
      if (!before) continue;
      expect(point.gCo2ePerRequest).toBeLessThan(before.gCo2ePerRequest);
      expect(point.gCo2ePerHour).toBeGreaterThan(before.gCo2ePerHour);
    }
  });

  it('by a measured power curve may be best below full use', () => {
    // c(u)·W = (400/1000 · P(u) + 0)/u: 40 g at .5 and 100 g at 1, where the power rises steeply.
    const bent = { ...server, pue: 1, intensity: 400, embodiedGPerH: 0 };
    const calibrated = [
      [0, 20],
      [0.5, 50],
      [1, 250],
    ] as const;
    const { best, atFullUtilisationGCo2e, function: f } = report({ server: bent, calibrated: calibrated });
    expect(f.kind).toBe('power curve');
    expect(best?.utilisation).toBeCloseTo(0.5, 3);
    expect(best?.gCo2ePerRequest).toBeCloseTo(0.04, 4);
    expect(atFullUtilisationGCo2e).toBeCloseTo(0.1, 9);
  });

  it('is not known without a request, and says why', () => {
    const why = 'no request was computed in this window';
    expect(report({ perHourAtFull: 0, utilisation: 0 })).toMatchObject({
      operatingPoint: null,
      best: null,
      sloSafe: null,
      atFullUtilisationGCo2e: null,
      curve: [],
      unknown: { operatingPoint: why, best: why, sloSafe: why },
    });
  });
});

describe('the best use that keeps every objective', () => {
  it('is that of the model whose objective is reached first', () => {
    const { sloSafe, unknown } = report({ latencies: [watched('slack', 110), watched('tight', 40)] });
    expect(sloSafe).toMatchObject({
      model: 'tight',
      objectiveMs: 40,
      method: 'M/M/1 at the use that was observed',
    });
    expect(sloSafe?.mostUtilisation).toBeCloseTo(0.75, 9);
    expect(sloSafe?.utilisation).toBeCloseTo(0.75, 9);
    expect(sloSafe?.p95Ms).toBeCloseTo(40, 9);
    expect(unknown).toEqual({});
  });

  it('leaves room for what else the CPUs do', () => {
    expect(
      report({ latencies: [watched('tight', 40)], otherUse: 0.25 }).sloSafe?.mostUtilisation,
    ).toBeCloseTo(0.5, 9);
  });

  it('saves what the published formula says: (D/W) · b · (1/u1 − 1/u2)', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.01, max: 0.99, noNaN: true }),
        fc.double({ min: 11, max: 1000, noNaN: true }),
        fc.double({ min: 1, max: 1e6, noNaN: true }),
        (utilisation, objectiveMs, perHourAtFull) => {
          const latencies = [watched('only', objectiveMs)];
          const { sloSafe } = report({ latencies, utilisation, perHourAtFull });
          if (!sloSafe) throw new Error('an objective above 10 ms can be kept');
          const demand = perHourAtFull * utilisation;
          const saving = savingPerHour({ a, b }, perHourAtFull, demand, utilisation, sloSafe.utilisation);
          expect(sloSafe.savingGCo2ePerHour).toBeCloseTo(saving, 6);
        },
      ),
    );
  });

  it('is not known without an objective, without requests, or where none is kept, and says which', () => {
    const why = (latencies: WatchedModel[], otherUse = 0) => {
      const { sloSafe, unknown } = report({ latencies, otherUse });
      expect(sloSafe).toBeNull();
      return unknown.sloSafe;
    };
    expect(why([watched('m', null)])).toContain('no deployment has a latency objective');
    expect(why([watched('m', 40, 0)])).toContain('too few requests');
    expect(why([watched('m', 10)])).toBe('the objective of m, 10 ms, is not kept at any use');
    expect(why([watched('m', 40)], 0.8)).toBe('the objective of m, 40 ms, is not kept at any use');
  });

  it('says whose objectives it says nothing about', () => {
    const { sloSafe, unknown } = report({ latencies: [watched('known', 40), watched('quiet', 5, 0)] });
    expect(sloSafe?.model).toBe('known');
    expect(unknown.sloSafe).toBe('too few requests of quiet lately: its objective is left out');
  });
});
