import type { SavingByCause } from '../server/shapes.ts';

export interface Fall {
  cause: keyof SavingByCause;
  grams: number;
  /** Where its bar begins and ends, in grams from no saving. */
  from: number;
  to: number;
}

const causes = [
  'utilisationGCo2e',
  'batchingGCo2e',
  'pueGCo2e',
  'gridGCo2e',
  'embodiedGCo2e',
] as const satisfies (keyof SavingByCause)[];

/** Each cause begins where the one before ended; the last one ends at the saving. What costs goes back. */
export function waterfall(saving: SavingByCause): Fall[] {
  let reached = 0;
  return causes.map((cause) => {
    const from = reached;
    reached += saving[cause];
    return { cause, grams: saving[cause], from, to: reached };
  });
}

/** From the least to the most that any bar reaches, 0 included. */
export function reachOf(falls: readonly Fall[]): [number, number] {
  const ends = [0, ...falls.map(({ to }) => to)];
  return [Math.min(...ends), Math.max(...ends)];
}
