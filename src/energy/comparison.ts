/**
 * What a smaller model of the same task would have used: joules per request of each version, from the ledger of the last
 * 30 days (answered inferences, idle share included; the same basis for all), kept for a minute.
 */
import type { Db } from '../storage/db.ts';
import { readLedger } from './report-queries.ts';

interface VersionUse {
  requests: number;
  energyJ: number;
}

/** A served version, and what is known of it. */
export interface Candidate {
  /** `org/model` */
  model: string;
  modelId: string;
  version: number;
}

export interface Alternative extends Candidate {
  energyWhPerRequest: number;
  /** Its energy per request ÷ that of the version that was asked for. */
  ratio: number;
  requests: number;
  /** Is the energy per request of its model to be trusted yet? Null: no request lately. */
  settled: boolean | null;
}

const windowMs = 30 * 24 * 3_600_000;
const keptMs = 60_000;

export class Comparison {
  readonly #db: Db;
  readonly #now: () => number;
  #kept: { atMs: number; uses: Promise<Map<string, VersionUse>> } | undefined;

  constructor(db: Db, now: () => number = Date.now) {
    this.#db = db;
    this.#now = now;
  }

  /** What a request of each version used; of those without a request nothing. */
  async uses(): Promise<ReadonlyMap<string, VersionUse>> {
    const atMs = this.#now();
    if (!this.#kept || atMs - this.#kept.atMs >= keptMs) {
      const uses = this.#read(atMs);
      this.#kept = { atMs, uses };
      // What failed is not kept.
      uses.catch(() => {
        this.#kept = undefined;
      });
    }
    return this.#kept.uses;
  }

  async #read(atMs: number): Promise<Map<string, VersionUse>> {
    const { sums, heads } = await readLedger(this.#db, { fromMs: atMs - windowMs, toMs: atMs });
    const uses = new Map<string, VersionUse>();
    for (const [id, stored] of sums.sums) {
      const head = heads.get(id);
      // Answers used again say nothing of what computing costs.
      if (head?.kind !== 'inference' || head.outcome !== 'finished' || head.model_id === null) continue;
      const key = versionKey({ modelId: head.model_id, version: head.version ?? 0 });
      const use = uses.get(key) ?? { requests: 0, energyJ: 0 };
      uses.set(key, {
        requests: use.requests + stored.requests,
        energyJ: use.energyJ + stored.energy_j,
      });
    }
    return uses;
  }
}

export function versionKey({ modelId, version }: Pick<Candidate, 'modelId' | 'version'>): string {
  return `${modelId}:${version}`;
}

/** What a request of it used, J; null: it had none. */
export function perRequestJ(use: VersionUse | undefined): number | null {
  return use && use.requests > 0 ? use.energyJ / use.requests : null;
}

/** Those that used less per request than the one that was asked for, least first. Nothing where that is not known. */
export function smallerOnes(
  asked: Candidate,
  others: readonly Candidate[],
  uses: ReadonlyMap<string, VersionUse>,
  settled: (modelId: string) => boolean | null,
): Alternative[] {
  const own = perRequestJ(uses.get(versionKey(asked)));
  if (own === null) return [];
  return others
    .flatMap((other): Alternative[] => {
      const use = uses.get(versionKey(other));
      const each = perRequestJ(use);
      if (!use || each === null || each >= own || versionKey(other) === versionKey(asked)) return [];
      return [
        {
          ...other,
          energyWhPerRequest: each / 3600,
          ratio: each / own,
          requests: use.requests,
          settled: settled(other.modelId),
        },
      ];
    })
    .sort((a, b) => a.ratio - b.ratio);
}
