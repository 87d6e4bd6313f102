/**
 * Random numbers from a seed, so that an interval or an explanation can be computed again to the last digit.
 * Not for secrets.
 *
 * sfc32 by Chris Doty-Humphrey (public domain, part of PractRand): 128 bits of state, period at least 2^32.
 */
export interface SeededRandom {
  /** A whole number in [0, bound), bound ≤ 2^32. */
  below(bound: number): number;
}

export function seededRandom(seed: number): SeededRandom {
  let a = 0;
  let b = seed | 0;
  let c = Math.floor(seed / 2 ** 32) | 0;
  let counter = 1;
  const next = (): number => {
    const sum = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return sum >>> 0;
  };
  // Twelve rounds spread a small seed over the whole state (the author's own seeding).
  for (let round = 0; round < 12; round++) next();
  // Scaling 32 bits favours no value by more than bound / 2^32, far below what any use here can see.
  return { below: (bound) => Math.floor((next() / 2 ** 32) * bound) };
}

/** Fisher-Yates in place. */
export function shuffle(values: Uint32Array, random: SeededRandom): void {
  for (let last = values.length - 1; last > 0; last--) {
    const other = random.below(last + 1);
    const value = values[last]!;
    values[last] = values[other]!;
    values[other] = value;
  }
}
