import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { plottedCurve, pointAt } from './curve-points.ts';

describe('the curve f(RUR)', () => {
  // Eight H100, PUE 1.2, 400 g/kWh: a = 2707.2 g/h, b = 823.62 g/h.
  const [a, b] = [2707.2, 823.62];
  const f = (utilisation: number) => a + b / utilisation;
  const curve = plottedCurve(
    [1, 0.2, 0.6, 0.1].map((utilisation) => ({ utilisation, gCo2ePerRequest: f(utilisation) })),
  );

  it('is met exactly, between its points and beyond them', () => {
    expect(pointAt(curve, 0.05)?.gCo2e).toBeCloseTo(5.432 * f(1), -1);
    fc.assert(
      fc.property(fc.double({ min: 0.001, max: 1, noNaN: true }), (utilisation) => {
        const met = pointAt(curve, utilisation)?.gCo2e ?? Number.NaN;
        expect(Math.abs(met / f(utilisation) - 1)).toBeLessThan(1e-9);
      }),
    );
  });

  it('has no point where nothing is known', () => {
    expect(pointAt(curve, null)).toBeNull();
    expect(pointAt(curve, 0)).toBeNull();
    expect(pointAt([], 0.5)).toBeNull();
    expect(plottedCurve([{ utilisation: 0.5, gCo2ePerRequest: null }])).toEqual([]);
  });
});
