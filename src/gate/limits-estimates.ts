/** What a row of a model will use, before it is computed: the upper end of what its last rows used. */
import type { Use } from '../energy/usage-counts.ts';

export interface PerRow {
  energyJ: number;
  carbonG: number;
}

/** A reservation at the mean would be too small for every second request. */
const quantile = 0.95;
const kept = 64;
/** Sorting at each use would cost more than it tells. */
const learnEvery = 16;
const modelsAtMost = 1000;

interface Learnt extends PerRow {
  energies: number[];
  next: number;
  sinceSorted: number;
  /** Of the last use. */
  gramsPerJoule: number;
}

export class Estimates {
  readonly #models = new Map<string, Learnt>();

  knows(modelId: string): boolean {
    return this.#models.has(modelId);
  }

  /** Zero for a model that nothing is known of. */
  perRow(modelId: string): PerRow {
    return this.#models.get(modelId) ?? nothing;
  }

  /** What the ledger knows of it. */
  begin(modelId: string, mean: PerRow): void {
    if (this.#models.has(modelId)) return;
    if (this.#models.size >= modelsAtMost) this.#models.clear();
    this.#models.set(modelId, {
      ...mean,
      energies: [],
      next: 0,
      sinceSorted: 0,
      gramsPerJoule: mean.energyJ > 0 ? mean.carbonG / mean.energyJ : 0,
    });
  }

  learn({ head, rows, energyJ, carbonG }: Use): void {
    const own = head.use && this.#models.get(head.use.modelId);
    // Repeats and answers from the cache say nothing of what computing a row costs.
    if (!own || rows <= 0 || !(energyJ > 0) || !Number.isFinite(carbonG)) return;
    own.energies[own.next] = energyJ / rows;
    own.next = (own.next + 1) % kept;
    own.gramsPerJoule = carbonG / energyJ;
    own.sinceSorted++;
    if (own.sinceSorted < learnEvery && own.energies.length > learnEvery) return;
    own.sinceSorted = 0;
    const sorted = [...own.energies].sort((a, b) => a - b);
    own.energyJ = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * quantile))] ?? 0;
    own.carbonG = own.energyJ * own.gramsPerJoule;
  }
}

const nothing: PerRow = { energyJ: 0, carbonG: 0 };
