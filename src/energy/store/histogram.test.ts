import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Histogram } from './histogram.ts';

it('gives percentiles to 1 %, also of many histograms that were packed and merged', () => {
  const values = fc.array(fc.double({ min: 1e-9, max: 1e9, noNaN: true }), { minLength: 1, maxLength: 200 });
  fc.assert(
    fc.property(
      fc.array(values, { minLength: 1, maxLength: 5 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (parts, q) => {
        const merged = new Histogram();
        for (const part of parts) {
          const histogram = new Histogram();
          for (const value of part) histogram.add(value);
          merged.merge(histogram.pack());
        }
        const sorted = parts.flat().sort((a, b) => a - b);
        const exact = sorted[Math.floor(q * (sorted.length - 1))] ?? Number.NaN;
        expect(merged.total).toBe(sorted.length);
        expect(Math.abs((merged.quantile(q) ?? Number.NaN) / exact - 1)).toBeLessThan(0.01);
      },
    ),
  );
});

it('knows 0 from little, counts beyond 32 bits, and knows nothing of nothing', () => {
  const histogram = new Histogram();
  expect(histogram.quantile(0.5)).toBeNull();
  expect(histogram.pack().length).toBe(0);
  histogram.add(0, 5_000_000_000);
  histogram.add(1e-12, 1);
  const again = new Histogram();
  again.merge(histogram.pack());
  expect(again.total).toBe(5_000_000_001);
  expect(again.quantile(0.5)).toBe(0);
  expect(again.quantile(1)).toBeGreaterThan(0);
});

it('finds the median of 1, 2, …, 100 within half a percent of 50', () => {
  const histogram = new Histogram();
  for (let value = 1; value <= 100; value++) histogram.add(value);
  expect(histogram.quantile(0.5)).toBeCloseTo(50, -0.3);
});
