/** The self-check of the ledger: what an interval's entries lack of its totals, or exceed them by. Pure. */
import type { Entry } from './attribution.ts';

/** Promised: Σ entries = the meter, to this part of it. */
export const allowedResidual = 1e-9;

export interface Totals {
  energy_j: number;
  carbon_g: number;
  embodied_g: number;
  water_l?: number | null;
}

/**
 * The largest relative difference over energy, carbon, water and embodied, on both bases. What should be 0 and is not
 * differs by all of it (1). Example: entries of 30.00000006 J for a meter's 30 J → 2e-9.
 */
export function residualRatio(entries: readonly Entry[], totals: Totals): number {
  const sum = { energyJ: 0, carbonG: 0, embodiedG: 0, waterL: 0 };
  const allocated = { energyJ: 0, carbonG: 0, embodiedG: 0 };
  for (const entry of entries) {
    const count = entry.ids.length;
    sum.energyJ += count * entry.energyJ;
    sum.carbonG += count * entry.carbonG;
    sum.embodiedG += count * entry.embodiedG;
    sum.waterL += count * (entry.waterL ?? 0);
    allocated.energyJ += count * entry.allocated.energyJ;
    allocated.carbonG += count * entry.allocated.carbonG;
    allocated.embodiedG += count * entry.allocated.embodiedG;
  }
  return Math.max(
    relative(sum.energyJ, totals.energy_j),
    relative(sum.carbonG, totals.carbon_g),
    relative(sum.embodiedG, totals.embodied_g),
    totals.water_l === null || totals.water_l === undefined ? 0 : relative(sum.waterL, totals.water_l),
    relative(allocated.energyJ, totals.energy_j),
    relative(allocated.carbonG, totals.carbon_g),
    relative(allocated.embodiedG, totals.embodied_g),
  );
}

function relative(sum: number, total: number): number {
  if (sum === total) return 0;
  const ratio = Math.abs(sum - total) / Math.abs(total);
  return Number.isFinite(ratio) ? ratio : 1;
}
