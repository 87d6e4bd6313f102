import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { runPython } from '../../../test/python.ts';
import { cpuSeconds } from '../units.ts';
import {
  type Calibration,
  fitCurve,
  isotonic,
  leaveOneOutError,
  type MeasuredPoint,
  readCalibration,
  relativeError,
  saveCalibration,
  statedError,
} from './calibration.ts';
import { CpuTimeMeter, hostWatts } from './cpu-time.ts';
import { curveFault, curveOf, wattsAt } from './curves.ts';

/** Measured by CodeCarbon (MIT): its cpu_load_profiling, all cores, watts of RAPL; TDP from the data sheets. */
const profiles = {
  'AMD EPYC 8024P': {
    tdpW: 90,
    points: [
      [0.006, 0.59],
      [0.1, 18.61],
      [0.2, 29.5],
      [0.3, 38.67],
      [0.403, 41.75],
      [0.5, 43.22],
      [0.646, 47.6],
      [0.702, 48.71],
      [0.8, 49.29],
      [0.894, 50.72],
      [1, 46.08],
    ],
  },
  'Intel Xeon E3-1240 V2': {
    tdpW: 69,
    points: [
      [0.025, 0.18],
      [0.125, 5.51],
      [0.218, 6.87],
      [0.325, 8.15],
      [0.412, 9.59],
      [0.513, 14.39],
      [0.608, 24.13],
      [0.713, 29.98],
      [0.802, 44.59],
      [0.889, 47.2],
      [1, 48.4],
    ],
  },
  'Intel Xeon E5-2620 v3': {
    tdpW: 85,
    points: [
      [0, 0.51],
      [0.1, 16.39],
      [0.2, 30.98],
      [0.3, 38.41],
      [0.405, 45.28],
      [0.502, 62.16],
      [0.6, 61.95],
      [0.699, 76.92],
      [0.808, 111.88],
      [0.897, 115.81],
      [0.996, 117.02],
    ],
  },
} as const;

const pointsOf = (points: readonly (readonly [number, number])[]): MeasuredPoint[] =>
  points.map(([utilisation, watts]) => ({ utilisation, watts, seconds: 30 }));

/** Those nearest to idle, a quarter, half, three quarters and full load: what `calibrate` measures. */
const calibrated = (points: MeasuredPoint[]) =>
  [0, 0.25, 0.5, 0.75, 1].map((load) =>
    points.reduce((best, point) =>
      Math.abs(point.utilisation - load) < Math.abs(best.utilisation - load) ? point : best,
    ),
  );

describe('isotonic regression', () => {
  it('pools what violates the order', () => {
    const points = [10, 30, 20, 40].map((watts, index) => ({ utilisation: index / 3, watts, seconds: 1 }));
    expect(isotonic(points).map(([, watts]) => watts)).toEqual([10, 25, 25, 40]);
    // Three times as long counts three times.
    const weighted = points.map((point, index) => ({ ...point, seconds: index === 1 ? 3 : 1 }));
    expect(isotonic(weighted).map(([, watts]) => watts)).toEqual([10, 27.5, 27.5, 40]);
  });

  it("is scikit-learn's, weighted by time", () => {
    const point = fc.record({
      // Some are told twice.
      utilisation: fc.integer({ min: 0, max: 20 }).map((part) => part / 20),
      watts: fc.double({ min: 1, max: 500, noNaN: true }),
      seconds: fc.double({ min: 1, max: 60, noNaN: true }),
    });
    const several = fc.array(point, { minLength: 2, maxLength: 9 });
    const inputs = fc.sample(several, { numRuns: 50, seed: 7 });
    const script = `
import json, sys
from sklearn.isotonic import IsotonicRegression
for points in json.load(sys.stdin):
    points.sort(key=lambda point: point["utilisation"])
    u, watts, seconds = ([point[name] for point in points] for name in ("utilisation", "watts", "seconds"))
    model = IsotonicRegression().fit(u, watts, sample_weight=seconds)
    print(json.dumps(list(model.predict(sorted(set(u))))))
`;
    const theirs = runPython(script, [], JSON.stringify(inputs)).trim().split('\n');
    expect(theirs).toHaveLength(50);
    for (const [index, points] of inputs.entries())
      expect(isotonic(points).map(([, watts]) => watts)).toEqual(
        (JSON.parse(theirs[index] ?? '[]') as number[]).map((watts) => expect.closeTo(watts, 6)),
      );
  });

  it('rises, keeps the sum, and no rising curve of the same values is nearer', () => {
    const point = fc.record({
      utilisation: fc.integer({ min: 0, max: 40 }).map((part) => part / 40),
      watts: fc.double({ min: 1, max: 500, noNaN: true }),
      seconds: fc.double({ min: 1, max: 60, noNaN: true }),
    });
    fc.assert(
      fc.property(
        fc.uniqueArray(point, { minLength: 2, maxLength: 12, selector: (p) => p.utilisation }),
        (points) => {
          const fitted = isotonic(points);
          const sorted = [...points].sort((a, b) => a.utilisation - b.utilisation);
          const energy = (watts: (index: number) => number) =>
            sorted.reduce((sum, { seconds }, index) => sum + watts(index) * seconds, 0);
          const off = (curve: readonly number[]) =>
            energy((index) => ((curve[index] ?? 0) - (sorted[index]?.watts ?? 0)) ** 2);
          const own = fitted.map(([, watts]) => watts);
          for (const [index, watts] of own.entries())
            expect(watts).toBeGreaterThanOrEqual((own[index - 1] ?? 0) - 1e-9);
          expect(energy((index) => own[index] ?? 0)).toBeCloseTo(
            energy((index) => sorted[index]?.watts ?? 0),
            4,
          );
          const other = own.map((watts, index) => Math.max(watts, own[index - 1] ?? 0) + 1);
          const levels = own.map(() => energy((i) => sorted[i]?.watts ?? 0) / energy(() => 1));
          expect(off(own)).toBeLessThanOrEqual(Math.min(off(other), off(levels)) + 1e-6);
          expect(curveFault(fitCurve(points))).toBeNull();
        },
      ),
      { numRuns: 100 },
    );
  });
});

describe('a calibration', () => {
  const errorsOn = ({ tdpW, points }: (typeof profiles)[keyof typeof profiles]) => {
    const measured = pointsOf(points);
    const used = calibrated(measured);
    const unseen = measured.filter((point) => !used.includes(point));
    const curve = fitCurve(used);
    return {
      calibrated: relativeError(unseen, (u) => wattsAt(curve, u)),
      // What one has without: a straight line to the TDP, CodeCarbon's cubic, Teads' curve.
      linear: relativeError(unseen, (u) => u * tdpW),
      cubic: relativeError(unseen, (u) => wattsAt(curveOf('codecarbon', tdpW), u)),
      teads: relativeError(unseen, (u) => wattsAt(curveOf('teads', tdpW), u)),
      stated: statedError(used, 0.05),
    };
  };

  it.each(Object.entries(profiles))('lowers the real and the stated error on %s', (_, profile) => {
    const { calibrated: real, linear, stated } = errorsOn(profile);
    // Seen: 7, 16 and 13 % in place of 36, 57 and 32 %.
    expect(real).toBeLessThan(0.2);
    expect(real).toBeLessThan(linear / 2);
    expect(real).toBeLessThan(stated);
    expect(stated).toBeLessThan(0.37);
  });

  it("is closer on average than any curve that is not this host's own", () => {
    const all = Object.values(profiles).map(errorsOn);
    const average = (name: 'calibrated' | 'linear' | 'cubic' | 'teads') =>
      all.reduce((sum, errors) => sum + errors[name], 0) / all.length;
    const best = Math.min(average('linear'), average('cubic'), average('teads'));
    expect(average('calibrated')).toBeLessThan(best / 2);
  });

  it('with two points states what two points were seen to be off by', () => {
    const two = pointsOf([
      [0, 10],
      [1, 50],
    ]);
    expect(leaveOneOutError(two)).toBeNull();
    expect(statedError(two, 0.03)).toBeCloseTo(0.4, 12);
    expect(() => fitCurve(two.slice(1))).toThrow('two loads or more');
  });

  it('does not claim to know the ends of a host that was never idle', () => {
    const busy = pointsOf([
      [0.5, 62],
      [0.6, 66],
      [0.77, 72],
      [1, 80],
    ]);
    expect(leaveOneOutError(busy)).toBeLessThan(0.05);
    expect(statedError(busy, 0.03)).toBeCloseTo(0.4, 12);
  });

  it('tries each inner point from its neighbours', () => {
    // At .5 the line from 10 to 50 W tells 30 W; 36 W were measured.
    expect(
      leaveOneOutError(
        pointsOf([
          [0, 10],
          [0.5, 36],
          [1, 50],
        ]),
      ),
    ).toBeCloseTo(6 / 36, 12);
  });

  it('takes loads that are nearly the same for one: two ends at full load are no cliff', () => {
    const curve = fitCurve(
      pointsOf([
        [0.1, 20],
        [0.979, 70],
        [0.981, 74],
      ]),
    );
    expect(curve.at(-1)?.[1]).toBeCloseTo(72 + (0.02 * 52) / 0.88, 6);
    expect(
      fitCurve(
        pointsOf([
          [0.5, 20],
          [1, 60],
          [1, 62],
        ]),
      )[2],
    ).toEqual([1, 61]);
  });

  it('goes on beyond its ends, and never below half of its lowest', () => {
    const curve = fitCurve(
      pointsOf([
        [0.1, 14],
        [0.9, 46],
      ]),
    );
    expect(curve[0]?.[1]).toBeCloseTo(10, 9);
    expect(curve.at(-1)?.[1]).toBeCloseTo(50, 9);
    expect(
      fitCurve(
        pointsOf([
          [0.4, 10],
          [0.5, 60],
        ]),
      )[0],
    ).toEqual([0, 5]);
  });

  const kept: Calibration = {
    version: 1,
    at: '2026-01-02T03:04:05.000Z',
    processor: 'AMD EPYC 8024P',
    cpuCount: 16,
    sensor: 'tasmota',
    covers: 'wall',
    error: 0.08,
    curve: [
      [0, 20],
      [0.5, 60],
      [1, 80],
    ],
  };
  const host = { processor: 'AMD EPYC 8024P', cpuCount: 16 };

  it('is kept in the data folder and makes the estimate of that host closer', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'calibration-'));
    expect(readCalibration(folder, host)).toHaveProperty('none');
    await saveCalibration(folder, kept);
    expect(readCalibration(folder, host)).toEqual(kept);
    const watts = hostWatts({ idleW: null, maxW: null }, 16, kept);
    expect(watts).toMatchObject({ idleW: 20, maxW: 80, assumed: false });
    let now = 0;
    let busy = 0;
    const meter = new CpuTimeMeter({
      watts,
      cpu: () => ({ busyS: cpuSeconds(busy), count: 16 }),
      clock: () => now,
      covers: kept.covers,
    });
    meter.read();
    now = 10;
    busy = 40;
    // A quarter of the CPUs: between 20 and 60 W, for 10 s.
    expect(meter.read()).toEqual({ energyJ: 400 });
    expect(meter.covers).toBe('wall');
    expect(meter.interval.low).toBeCloseTo(0.92, 12);
    expect(meter.description).toContain('calibrated with tasmota on 2026-01-02 (±8 %)');
  });

  it('is not taken for that of another host, and configured watts go first', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'calibration-'));
    await saveCalibration(folder, kept);
    expect(readCalibration(folder, { ...host, cpuCount: 8 })).toEqual({
      none: expect.stringContaining('another host'),
    });
    expect(hostWatts({ idleW: 5, maxW: 9 }, 16, kept)).toMatchObject({ idleW: 5, maxW: 9 });
  });

  it.each([
    ['no JSON', '{'],
    ['another form', '{"version": 2}'],
    [
      'a falling curve',
      JSON.stringify({
        ...kept,
        curve: [
          [0, 20],
          [1, 10],
        ],
      }),
    ],
  ])('that is damaged is refused: %s', (_, text) => {
    const folder = mkdtempSync(join(tmpdir(), 'calibration-'));
    writeFileSync(join(folder, 'calibration.json'), text);
    expect(() => readCalibration(folder, host)).toThrow(/is no calibration/);
  });
});
