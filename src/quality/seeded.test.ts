import fc from 'fast-check';
import { expect, test } from 'vitest';
import { seededRandom, shuffle } from './seeded.ts';

test('gives the numbers of sfc32, computed with whole numbers in Python', () => {
  const draw = (seed: number, count: number) => {
    const random = seededRandom(seed);
    return Array.from({ length: count }, () => random.below(2 ** 32));
  };
  expect(draw(42, 6)).toEqual([1264412219, 1947509147, 3919439299, 1251167922, 656401615, 478193053]);
  expect(draw(2 ** 32 + 7, 3)).toEqual([3404989448, 1745631766, 2856156403]);
});

test('a shuffle keeps every value and is the same for the same seed', () => {
  fc.assert(
    fc.property(fc.array(fc.nat()), fc.nat(), (values, seed) => {
      const [first, second] = [Uint32Array.from(values), Uint32Array.from(values)];
      shuffle(first, seededRandom(seed));
      shuffle(second, seededRandom(seed));
      expect(first).toEqual(second);
      expect(first.toSorted()).toEqual(Uint32Array.from(values).sort());
    }),
  );
});

test('every order of three comes up about equally often', () => {
  const random = seededRandom(1);
  const counts = new Map<string, number>();
  for (let round = 0; round < 6000; round++) {
    const values = Uint32Array.of(1, 2, 3);
    shuffle(values, random);
    counts.set(values.join(), (counts.get(values.join()) ?? 0) + 1);
  }
  // Six orders, 1,000 expected, standard deviation 29.
  expect(counts.size).toBe(6);
  for (const count of counts.values()) expect(Math.abs(count - 1000)).toBeLessThan(150);
});
