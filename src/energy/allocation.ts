/**
 * Who holds what of the host, and what that makes of its energy. Pure.
 *
 * Basis *usage*: a deployment's idle share goes to its requests from a second before the first of them; before, and
 * without any, it is its entry `ready`. Basis *allocation*: idle power and hardware that a deployment reserves are its
 * requests' for the whole interval, or its `ready` entry's when it has none; what is left (overhead, what nobody
 * reserved) is spread over all of them in proportion to what they have so far, so that somebody pays for everything.
 * Example: 30 J, of which 10 idle; a deployment that reserves .2 has a request with 3.5 J dynamic: allocated so far
 * 3.5 + 2 = 5.5 J; when it is alone, 30 J. Waste = allocated − used. Source: docs/accounting.md, FinOps' fully loaded cost.
 */
import type { Amounts, Entry, IntervalFacts } from './attribution.ts';
import type { ModelUse } from './energy.ts';

/** How long before its first request a deployment's idle power counts as that request's, s. */
export const readinessS = 1;

export function useKey(use: ModelUse): string {
  return `${use.modelId}:${use.version}`;
}

interface Held {
  use: ModelUse;
  /** r_k / R */
  share: number;
}

/** r_k / R for each model version and job. Reserving more than there is shares out the whole. */
export function reservedShares({ reservations, jobs, memoryBytes }: IntervalFacts) {
  let bytes = 0;
  for (const reservation of reservations) bytes += reservation.memoryBytes;
  for (const job of jobs) bytes += job.memoryBytes;
  const capacity = Math.max(memoryBytes, bytes);
  const part = (held: number) => (capacity > 0 ? held / capacity : 0);
  const models = new Map<string, Held>();
  for (const { use, memoryBytes: held } of reservations) {
    const key = useKey(use);
    models.set(key, { use, share: (models.get(key)?.share ?? 0) + part(held) });
  }
  return { models, jobs: jobs.map((job) => part(job.memoryBytes)), free: Math.max(0, 1 - part(bytes)) };
}

/** Parts of the host's idle power, of each id of each line (`used`, `reserved`; −1: it reserves nothing) and of `ready`. */
export function splitIdle({ lines, endMs, durationS }: IntervalFacts, models: ReadonlyMap<string, Held>) {
  const busy = new Map<string, { weight: number; count: number; firstMs: number }>();
  for (const { head, computeNs, atMs, ids } of lines) {
    if (!head.use) continue;
    const key = useKey(head.use);
    const sum = busy.get(key);
    if (!sum) busy.set(key, { weight: ids.length * computeNs, count: ids.length, firstMs: atMs });
    else {
      sum.weight += ids.length * computeNs;
      sum.count += ids.length;
      sum.firstMs = Math.min(sum.firstMs, atMs);
    }
  }
  const ready: { use: ModelUse; unused: number; share: number }[] = [];
  const activeParts = new Map<string, number>();
  for (const [key, { use, share }] of models) {
    const sum = busy.get(key);
    const activeS = sum ? Math.min(durationS, Math.max(0, endMs - sum.firstMs) / 1000 + readinessS) : 0;
    const active = durationS > 0 ? activeS / durationS : 0;
    activeParts.set(key, active);
    if (active < 1) ready.push({ use, unused: share * (1 - active), share: sum ? 0 : share });
  }
  const used = new Float64Array(lines.length);
  const reserved = new Float64Array(lines.length).fill(-1);
  for (let index = 0; index < lines.length; index++) {
    const line = lines[index];
    if (!line?.head.use) continue;
    const key = useKey(line.head.use);
    const sum = busy.get(key);
    const held = models.get(key);
    if (!sum || !held) continue;
    const part = sum.weight > 0 ? line.computeNs / sum.weight : 1 / sum.count;
    reserved[index] = held.share * part;
    used[index] = held.share * part * (activeParts.get(key) ?? 0);
  }
  return { used, reserved, ready };
}

/**
 * What has no owner on the basis *allocation* so far goes to those who have something, in proportion to it. When
 * nobody reserved anything and nothing ran, `platform`, the last entry, has it all.
 */
export function spread(entries: readonly Entry[], total: Amounts): void {
  let energyJ = 0;
  let embodiedG = 0;
  for (const { ids, allocated } of entries) {
    energyJ += ids.length * allocated.energyJ;
    embodiedG += ids.length * allocated.embodiedG;
  }
  const gramsPerJoule = total.energyJ > 0 ? total.carbonG / total.energyJ : 0;
  for (const [index, { allocated }] of entries.entries()) {
    const last = index === entries.length - 1;
    allocated.energyJ = partOf(total.energyJ, allocated.energyJ, energyJ, last);
    allocated.embodiedG = partOf(total.embodiedG, allocated.embodiedG, embodiedG, last);
    allocated.carbonG = allocated.energyJ * gramsPerJoule;
  }
}

/** Below this nothing can be divided with the promised exactness. */
const least = 1e-290;

function partOf(whole: number, own: number, all: number, last: boolean): number {
  if (all > least) return whole * (own / all);
  return last ? whole : 0;
}
