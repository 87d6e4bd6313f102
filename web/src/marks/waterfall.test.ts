import fc from 'fast-check';
import { expect, it } from 'vitest';
import { reachOf, waterfall } from './waterfall.ts';

const grams = fc.double({ min: -1e6, max: 1e6, noNaN: true });
const saving = fc.record({
  utilisationGCo2e: grams,
  batchingGCo2e: grams,
  pueGCo2e: grams,
  gridGCo2e: grams,
  embodiedGCo2e: grams,
});

it('goes up by what saves and back by what costs', () => {
  const falls = waterfall({
    utilisationGCo2e: 5,
    batchingGCo2e: -7,
    pueGCo2e: 0,
    gridGCo2e: 1,
    embodiedGCo2e: 4,
  });
  expect(falls.map(({ from, to }) => [from, to])).toEqual([
    [0, 5],
    [5, -2],
    [-2, -2],
    [-2, -1],
    [-1, 3],
  ]);
  expect(reachOf(falls)).toEqual([-2, 5]);
});

it('ends at the saving, whatever its parts, and leaves no bar outside', () => {
  fc.assert(
    fc.property(saving, (parts) => {
      const falls = waterfall(parts);
      const sum = Object.values(parts).reduce((all, part) => all + part, 0);
      expect(falls.at(-1)?.to).toBeCloseTo(sum, 6);
      const [least, most] = reachOf(falls);
      for (const { from, to } of falls) {
        expect(Math.min(from, to)).toBeGreaterThanOrEqual(least);
        expect(Math.max(from, to)).toBeLessThanOrEqual(most);
      }
    }),
  );
});
