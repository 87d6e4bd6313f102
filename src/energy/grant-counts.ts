/** How many requests of each grant an interval has that is not settled yet: a few numbers instead of its lines. */
import type { Db } from '../storage/db.ts';
import type { ComputedBatch } from './energy.ts';
import { isRepeat, type PricedLine, requestOf } from './lines.ts';
import { settledCalls, usageSince } from './store/usage.ts';

interface GrantCount {
  /** Second of the wall clock → inferences in it. Periods of limits begin at whole seconds. */
  seconds: Map<number, number>;
  /** What may make many model calls, each counted once → when it last did, epoch ms. */
  others: Map<string, number>;
}

export class GrantCounts {
  readonly #grants = new Map<string, GrantCount>();

  /** What is computed again after it failed (`id~n`) is one request. */
  add(items: ComputedBatch['items'], atMs: number): void {
    let grantId: string | null = null;
    let inferences = 0;
    for (const { context, outcome } of items) {
      if (outcome === 'failed' && isRepeat(context.requestId)) continue;
      if (context.kind !== 'inference') {
        if (context.grantId !== null) this.addOther(context.grantId, requestOf(context), atMs);
        continue;
      }
      if (context.grantId !== grantId) {
        if (grantId !== null) this.addInferences(grantId, inferences, atMs);
        grantId = context.grantId;
        inferences = 0;
      }
      inferences++;
    }
    if (grantId !== null) this.addInferences(grantId, inferences, atMs);
  }

  addInferences(grantId: string, count: number, atMs: number): void {
    const { seconds } = this.#of(grantId);
    const second = Math.floor(atMs / 1000);
    seconds.set(second, (seconds.get(second) ?? 0) + count);
  }

  addOther(grantId: string, requestId: string, atMs: number): void {
    this.#of(grantId).others.set(requestId, atMs);
  }

  inferences(grantId: string, sinceMs: number): number {
    let sum = 0;
    for (const [second, count] of this.#grants.get(grantId)?.seconds ?? []) {
      if (second * 1000 >= sinceMs) sum += count;
    }
    return sum;
  }

  others(grantId: string, sinceMs: number): string[] {
    const others = this.#grants.get(grantId)?.others ?? [];
    return [...others].filter(([, atMs]) => atMs >= sinceMs).map(([requestId]) => requestId);
  }

  #of(grantId: string): GrantCount {
    const known = this.#grants.get(grantId);
    if (known) return known;
    const made = { seconds: new Map<number, number>(), others: new Map<string, number>() };
    this.#grants.set(grantId, made);
    return made;
  }
}

export function countsOf(lines: readonly PricedLine[]): GrantCounts {
  const counts = new GrantCounts();
  for (const { head, ids, atMs, outcome } of lines) {
    if (head.grantId === null) continue;
    if (head.kind === 'inference') {
      const requests = outcome === 'failed' ? ids.filter((id) => !isRepeat(id)) : ids;
      counts.addInferences(head.grantId, requests.length, atMs);
    } else for (const id of ids) counts.addOther(head.grantId, id.split('~', 1)[0] ?? id, atMs);
  }
  return counts;
}

/**
 * Requests booked on a grant since then. Intervals that are not settled are counted from memory and left out of what
 * is asked of the database, so that none counts twice.
 */
export async function requestsOfGrant(
  db: Db,
  unsettled: readonly { id: string; counts: GrantCounts }[],
  grantId: string,
  sinceMs: number,
): Promise<number> {
  const others = [...new Set(unsettled.flatMap(({ counts }) => counts.others(grantId, sinceMs)))];
  const inferences = unsettled.reduce((sum, { counts }) => sum + counts.inferences(grantId, sinceMs), 0);
  const ids = unsettled.map(({ id }) => id);
  const settled = await usageSince(db, { grantId }, sinceMs, ids);
  const counted = await settledCalls(db, { grantId }, sinceMs, others, ids);
  return settled.requests + inferences + others.length - counted;
}
