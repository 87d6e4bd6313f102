import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  coefficients,
  floorPerUnit,
  headlineRur,
  perUnit,
  relativeToFull,
  rur,
  savingPerHour,
  totalPerHour,
} from './impact.ts';

/** The worked example of docs/accounting.md: 8 × H100, 7,012 kg over 3 years. */
const server = {
  idleW: 1160,
  maxW: 6800,
  pue: 1.2,
  intensity: 400,
  embodiedGPerH: 7_012_000 / (3 * 365 * 24),
};

describe('impact of a unit of work at a utilisation', () => {
  const c = coefficients(server);

  it('has a = 2707.2 and b = 823.62 g/h for the example server', () => {
    expect(c.a).toBeCloseTo(2707.2, 9);
    expect(c.b).toBeCloseTo(823.62, 2);
  });

  it('is 5.432, 1.933 and 1.156 times the floor at a use of 5, 20 and 60 %', () => {
    expect(relativeToFull(c, 0.05)).toBeCloseTo(5.432, 3);
    expect(relativeToFull(c, 0.2)).toBeCloseTo(1.933, 3);
    expect(relativeToFull(c, 0.6)).toBeCloseTo(1.156, 3);
  });

  it('agrees with Barroso and Hölzle: P0 = Pmax/2 → efficiency .333 at 20 %, .667 at 50 %', () => {
    const half = coefficients({ idleW: 50, maxW: 100, pue: 1, intensity: 100, embodiedGPerH: 0 });
    expect(1 / relativeToFull(half, 0.2)).toBeCloseTo(0.333, 3);
    expect(1 / relativeToFull(half, 0.5)).toBeCloseTo(0.667, 3);
  });

  it('falls with use and never below its floor, while the total of a fixed supply rises', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.01, max: 0.98, noNaN: true }),
        fc.double({ min: 1, max: 1e6, noNaN: true }),
        (u, w) => {
          expect(perUnit(c, u, w)).toBeGreaterThan(perUnit(c, u + 0.01, w));
          expect(perUnit(c, u, w)).toBeGreaterThanOrEqual(floorPerUnit(c, w));
          expect(totalPerHour(c, u)).toBeLessThan(totalPerHour(c, u + 0.01));
        },
      ),
    );
    expect(perUnit(c, 1, 10)).toBe(floorPerUnit(c, 10));
  });

  it('saves (D/W)·b·(1/u1 − 1/u2): the difference of the totals of a demand', () => {
    const [w, d] = [1000, 100];
    expect(savingPerHour(c, w, d, 0.1, 0.5)).toBeCloseTo(d * (perUnit(c, 0.1, w) - perUnit(c, 0.5, w)), 9);
  });
});

describe('resource utilization rate', () => {
  it('is used over supplied, the product of used over reserved and reserved over supplied', () => {
    expect(rur({ used: 2, reserved: 5, supplied: 10 })).toEqual({
      usedOverSupplied: 0.2,
      usedOverReserved: 0.4,
      reservedOverSupplied: 0.5,
    });
  });

  it('is unknown, not 0, where nothing was supplied', () => {
    expect(rur({ used: 0, reserved: 0, supplied: 0 }).usedOverSupplied).toBeNull();
    expect(headlineRur([{ rur: null, weight: 1 }])).toBeNull();
  });

  it('weighs resources by their impact, so that a cheap one cannot inflate it', () => {
    expect(
      headlineRur([
        { rur: 0.2, weight: 9 },
        { rur: 0.8, weight: 1 },
      ]),
    ).toBeCloseTo(0.26, 12);
  });
});
