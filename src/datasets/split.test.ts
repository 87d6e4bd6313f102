import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkSplit, defaultSplit, splitNames, splitRows } from './split.ts';

const labels = fc
  .array(fc.constantFrom(0, 1, Number.NaN), { minLength: 1, maxLength: 300 })
  .map((values) => Float32Array.from(values));
const split = fc
  .tuple(fc.integer({ min: 1, max: 98 }), fc.integer({ min: 1, max: 98 }), fc.nat())
  .filter(([train, validation]) => train + validation < 100)
  .map(([train, validation, seed]) => ({
    seed,
    train: train / 100,
    validation: validation / 100,
    test: (100 - train - validation) / 100,
  }));

describe('a split', () => {
  test('is disjoint and complete', () => {
    fc.assert(
      fc.property(labels, split, (y, s) => {
        const parts = splitRows(y, s);
        const rows = splitNames.flatMap((name) => [...parts[name]]).sort((a, b) => a - b);
        expect(rows).toEqual([...y.keys()]);
      }),
    );
  });

  test('is the same for the same rows and seed, and another for another seed', () => {
    fc.assert(
      fc.property(labels, split, (y, s) => {
        expect(splitRows(y, s)).toEqual(splitRows(y, s));
      }),
    );
    const y = Float32Array.from({ length: 100 }, (_, i) => i % 2);
    expect(splitRows(y, defaultSplit)).not.toEqual(splitRows(y, { ...defaultSplit, seed: 43 }));
  });

  test('has each label in proportion, to one row', () => {
    fc.assert(
      fc.property(labels, split, (y, s) => {
        const parts = splitRows(y, s);
        for (const label of [0, 1]) {
          const of = (rows: Iterable<number>) => [...rows].filter((row) => y[row] === label).length;
          const total = of(y.keys());
          for (const name of splitNames)
            expect(Math.abs(of(parts[name]) - total * s[name])).toBeLessThanOrEqual(1 + 1e-9);
        }
      }),
    );
  });

  test.each([
    [{ ...defaultSplit, test: 0.3 }, /sum to 1.15/],
    [{ ...defaultSplit, train: 0 }, /train fraction is 0/],
    [{ ...defaultSplit, train: Number.NaN }, /train fraction is NaN/],
    [{ ...defaultSplit, seed: 1.5 }, /seed 1.5/],
    [{ ...defaultSplit, seed: -1 }, /seed -1/],
  ])('with wrong numbers is refused: %j', (wrong, message) => {
    expect(() => checkSplit(wrong)).toThrow(message);
  });
});
