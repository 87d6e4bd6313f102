import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { gramsOf } from './counterfactual.ts';
import { decompose, type Side } from './decomposition.ts';

const amount = fc.double({ min: 0, max: 1e6, noNaN: true });
const side: fc.Arbitrary<Side> = fc.record({
  idleWh: amount,
  dynamicWh: amount,
  embodiedG: amount,
  pue: fc.double({ min: 1, max: 3, noNaN: true }),
  intensity: fc.double({ min: 0, max: 1500, noNaN: true }),
});
const sumOf = (parts: object) => Object.values(parts).reduce((sum: number, part) => sum + part, 0);

describe('where a saving comes from', () => {
  it('sums to the whole, whatever differs', () => {
    fc.assert(
      fc.property(side, side, (own, shared) => {
        const [ownG, sharedG] = [gramsOf(own, own), gramsOf(shared, shared)];
        const gap = sumOf(decompose(own, shared)) - (ownG - sharedG);
        expect(Math.abs(gap)).toBeLessThanOrEqual(1e-9 * Math.max(1, ownG, sharedG));
      }),
    );
  });

  it('gives nothing to what is the same on both sides', () => {
    fc.assert(
      fc.property(side, side, (own, shared) => {
        const parts = decompose(own, { ...shared, pue: own.pue, intensity: own.intensity });
        expect(Math.abs(parts.pue) + Math.abs(parts.grid)).toBe(0);
      }),
    );
  });

  it('is the opposite when the sides change places', () => {
    fc.assert(
      fc.property(side, side, (own, shared) => {
        const [there, back] = [decompose(own, shared), decompose(shared, own)];
        const size = Math.max(1, gramsOf(own, own), gramsOf(shared, shared));
        for (const [factor, part] of Object.entries(there))
          expect(Math.abs(part + back[factor as keyof typeof back])).toBeLessThanOrEqual(1e-9 * size);
      }),
    );
  });

  it('splits docs/accounting.md §7 (B0, per hour) into 4,454.4 g of idle power and 2,134.6 g of hardware', () => {
    const m = 7_012_000 / (3 * 365 * 24);
    const carbon = { pue: 1.2, intensity: 400 };
    const parts = decompose(
      { idleWh: 11_600, dynamicWh: 2820, embodiedG: 10 * m, ...carbon },
      { idleWh: 2320, dynamicWh: 2820, embodiedG: 2 * m, ...carbon },
    );
    expect(parts.utilisation).toBeCloseTo(4454.4, 9);
    expect(parts.embodied).toBeCloseTo(8 * m, 9);
    expect([parts.batching, parts.pue, parts.grid]).toEqual([0, 0, 0]);
  });

  it('shares what two factors do together evenly: 100 Wh, PUE 2 → 1 and 1000 → 500 g/kWh', () => {
    // Alone: 100 g for the building, 100 g for the grid; together 150 g of 200.
    const parts = decompose(
      { idleWh: 100, dynamicWh: 0, embodiedG: 0, pue: 2, intensity: 1000 },
      { idleWh: 100, dynamicWh: 0, embodiedG: 0, pue: 1, intensity: 500 },
    );
    expect(parts.pue).toBeCloseTo(75, 9);
    expect(parts.grid).toBeCloseTo(75, 9);
  });
});
