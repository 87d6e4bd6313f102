/**
 * Where a difference in carbon comes from: the Shapley value of each thing that differs between everyone's own servers
 * and the shared one. g = PUE·I·(idle + dynamic)/1000 + embodied; what is multiplied is shared out evenly over all
 * orders in which the one side can be turned into the other. Pure. Promise: the parts sum to the whole, to rounding.
 */
import type { Burden, Carbon } from './counterfactual.ts';

const factors = ['utilisation', 'batching', 'pue', 'grid', 'embodied'] as const;
type Factor = (typeof factors)[number];

/**
 * Grams saved by: idle power of fewer, fuller servers; CPU time in common batches and one service instead of many; a
 * better building; cleaner electricity; less hardware.
 */
export type Decomposition = Record<Factor, number>;

export type Side = Burden & Carbon;

/** Σ parts = grams(own) − grams(shared). Example: only the grid differs → all of it is `grid`. */
export function decompose(own: Side, shared: Side): Decomposition {
  const value = (isShared: (factor: Factor) => boolean) => {
    const of = (factor: Factor) => (isShared(factor) ? shared : own);
    const wh = of('utilisation').idleWh + of('batching').dynamicWh;
    return (wh / 1000) * of('pue').pue * of('grid').intensity + of('embodied').embodiedG;
  };
  const parts = Object.fromEntries(factors.map((factor) => [factor, 0])) as Decomposition;
  for (let set = 0; set < 2 ** factors.length; set++) {
    const holds = (at: number) => Math.floor(set / 2 ** at) % 2 === 1;
    const size = factors.filter((_, at) => holds(at)).length;
    const before = value((factor) => holds(factors.indexOf(factor)));
    for (const [at, factor] of factors.entries()) {
      if (holds(at)) continue;
      const after = value((other) => other === factor || holds(factors.indexOf(other)));
      parts[factor] += weight(size) * (before - after);
    }
  }
  return parts;
}

/** |S|! (n − |S| − 1)! / n! */
function weight(size: number): number {
  const factorial = (n: number): number => (n < 2 ? 1 : n * factorial(n - 1));
  return (factorial(size) * factorial(factors.length - size - 1)) / factorial(factors.length);
}
