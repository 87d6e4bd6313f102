import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SettlingWindows, settlingOf } from './settling.ts';

const windows = (...each: [energyJ: number, requests: number][]) =>
  each.map(([energyJ, requests]) => ({ energyJ, requests }));

describe('a figure', () => {
  it('has settled when 100 windows say the same to 10 %: the worked example', () => {
    const half = Array.from({ length: 50 }, () => windows([1, 1], [3, 1])).flat();
    const { windows: count, coefficientOfVariation, settled } = settlingOf(half);
    expect(count).toBe(100);
    expect(coefficientOfVariation).toBeCloseTo(Math.sqrt(100 / 99) / 2, 12);
    // 1.96 · .5025 / 10 = 9.85 %
    expect(settled).toBe(true);
    expect(settlingOf(half.slice(1)).settled).toBe(false);
    // 1 J and 4 J: CoV .603, half-width 11.8 %.
    expect(
      settlingOf(half.map(({ energyJ }) => ({ energyJ: energyJ === 3 ? 4 : 1, requests: 1 }))).settled,
    ).toBe(false);
  });

  it('weighs a window as many requests as it has', () => {
    // Nine requests of 1 J and one of 2 J: mean 1.1 and not 1.5.
    const { coefficientOfVariation } = settlingOf(windows([9, 9], [2, 1]));
    const variance = (9 * 0.01 + 0.81) / 10;
    const effective = 100 / 82;
    expect(coefficientOfVariation).toBeCloseTo(Math.sqrt((variance * effective) / (effective - 1)) / 1.1, 12);
  });

  it('is not judged by nothing: too few windows, no energy', () => {
    expect(settlingOf([])).toEqual({ windows: 0, coefficientOfVariation: null, settled: false });
    expect(settlingOf(windows([5, 1])).coefficientOfVariation).toBeNull();
    expect(settlingOf(windows([0, 1], [0, 1])).coefficientOfVariation).toBeNull();
  });

  it('does not depend on the unit of energy, and windows that are alike never unsettle it', () => {
    const window = fc.record({
      energyJ: fc.double({ min: 1e-6, max: 1e3, noNaN: true }),
      requests: fc.integer({ min: 1, max: 1000 }),
    });
    fc.assert(
      fc.property(fc.array(window, { minLength: 2, maxLength: 120 }), (all) => {
        const own = settlingOf(all);
        const inWh = settlingOf(all.map(({ energyJ, requests }) => ({ energyJ: energyJ / 3600, requests })));
        expect(inWh.coefficientOfVariation).toBeCloseTo(own.coefficientOfVariation ?? Number.NaN, 6);
        const alike = all.map(({ requests }) => ({ energyJ: 2 * requests, requests }));
        expect(settlingOf(alike).settled).toBe(all.length >= 100);
      }),
    );
  });
});

describe('the windows of models', () => {
  it('are the last 100 of each, those from before this start included', () => {
    const last = new SettlingWindows();
    for (let index = 0; index < 90; index++) last.add('m1', { energyJ: 1, requests: 1 });
    last.add('m2', { energyJ: 1, requests: 0 });
    expect(last.of('m1')).toMatchObject({ windows: 90, settled: false });
    for (let index = 0; index < 20; index++) last.addEarlier('m1', { energyJ: 1, requests: 1 });
    expect(last.all()).toEqual({ m1: { windows: 100, coefficientOfVariation: 0, settled: true } });
    // A new window pushes the oldest out.
    last.add('m1', { energyJ: 1000, requests: 1 });
    expect(last.of('m1')).toMatchObject({ windows: 100, settled: false });
    expect(last.of('unknown').windows).toBe(0);
  });
});
