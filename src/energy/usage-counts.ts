/**
 * Use that is not settled yet, by whom and when: what limits count of it. A few numbers for each head of an interval
 * instead of its lines. Once an interval is settled, `corrections` put right what had been told of it.
 */
import type { Entry, LineHead } from './attribution.ts';
import type { ComputedBatch, Footprint } from './energy.ts';
import { isRepeat, type PricedLine, requestOf } from './lines.ts';
import { isCall } from './store/tally.ts';
import type { Subject } from './store/usage.ts';

type UseHead = Pick<LineHead, 'kind' | 'consumer' | 'keyId' | 'memberId' | 'grantId' | 'use'>;

/** A piece of use; negative where something is put right. */
export interface Use {
  head: UseHead;
  atMs: number;
  /** Inferences; what makes many model calls is one request, told by `call`. */
  requests: number;
  rows: number;
  energyJ: number;
  carbonG: number;
  /** The request of an explanation or an evaluation: all uses with it are one. A training is no request. */
  call: string | null;
}

/** Hears of all use as it is booked, and what is put right as it is settled. */
export interface UsageListener {
  /** False: nobody counts, and nothing needs to be told. */
  readonly listening: boolean;
  used(use: Use): void;
  settled(uses: readonly Use[]): void;
}

interface Sums {
  requests: number;
  rows: number;
  energyJ: number;
  carbonG: number;
}

interface HeadCount {
  /** Second of the wall clock → use in it: periods of limits begin at whole seconds. */
  seconds: Map<number, Sums>;
  /** What may make many model calls → when it last did, epoch ms. */
  calls: Map<string, number>;
}

export class UsageCounts {
  readonly #heads = new Map<LineHead, HeadCount>();

  add(use: Use & { head: LineHead }): void {
    let own = this.#heads.get(use.head);
    if (!own) {
      own = { seconds: new Map(), calls: new Map() };
      this.#heads.set(use.head, own);
    }
    const second = Math.floor(use.atMs / 1000);
    let sums = own.seconds.get(second);
    if (!sums) {
      sums = { requests: 0, rows: 0, energyJ: 0, carbonG: 0 };
      own.seconds.set(second, sums);
    }
    sums.requests += use.requests;
    sums.rows += use.rows;
    sums.energyJ += use.energyJ;
    sums.carbonG += use.carbonG;
    if (use.call !== null) own.calls.set(use.call, use.atMs);
  }

  /** Of a subject (absent: of everybody) since a time. */
  list(subject: Subject = {}, sinceMs = 0): Use[] {
    const uses: Use[] = [];
    for (const [head, { seconds, calls }] of this.#heads) {
      if (!isOf(head, subject)) continue;
      for (const [second, sums] of seconds) {
        const atMs = second * 1000;
        if (atMs >= sinceMs) uses.push({ head, atMs, ...sums, call: null });
      }
      for (const [call, atMs] of calls) if (atMs >= sinceMs) uses.push({ head, atMs, ...nothing, call });
    }
    return uses;
  }
}

const nothing: Sums = { requests: 0, rows: 0, energyJ: 0, carbonG: 0 };

function isOf({ consumer, keyId, memberId, grantId, use }: UseHead, subject: Subject): boolean {
  return (
    (subject.keyId === undefined || subject.keyId === keyId) &&
    (subject.memberId === undefined || subject.memberId === memberId) &&
    (subject.organisationId === undefined || subject.organisationId === consumer.organisationId) &&
    (subject.grantId === undefined || subject.grantId === grantId) &&
    (subject.modelId === undefined || subject.modelId === use?.modelId)
  );
}

/** Of one item of a batch. What is computed again after it failed (`id~n`) is one request. */
export function useOf(
  head: LineHead,
  { context, rows, outcome }: ComputedBatch['items'][number],
  { energyJ, carbonGCo2e }: Footprint,
  atMs: number,
): Use & { head: LineHead } {
  const isInference = context.kind === 'inference';
  const again = outcome === 'failed' && isRepeat(context.requestId);
  return {
    head,
    atMs,
    requests: isInference && !again ? 1 : 0,
    rows,
    energyJ: bounded(energyJ),
    carbonG: bounded(carbonGCo2e),
    call: isCall(context.kind) ? requestOf(context) : null,
  };
}

/** Of one item; far above what any machine uses for it, and small enough that sums keep their digits. */
const mostOfItem = 1e9;

/** What is not known counts as nothing, and no charge gives room back. */
function bounded(amount: number): number {
  return amount > 0 ? Math.min(amount, mostOfItem) : 0;
}

/** Of a server that was killed, at the figures its answers carried. */
export function countsOf(lines: readonly PricedLine[], gramsPerJoule: number): UsageCounts {
  const counts = new UsageCounts();
  for (const { head, ids, atMs, rows, outcome, dynamicJ, idleShareJ } of lines) {
    const energyJ = ids.length * (dynamicJ + idleShareJ);
    const isInference = head.kind === 'inference';
    const requests = outcome === 'failed' ? ids.filter((id) => !isRepeat(id)).length : ids.length;
    const sums = { rows: ids.length * rows, energyJ, carbonG: energyJ * gramsPerJoule };
    counts.add({ head, atMs, requests: isInference ? requests : 0, ...sums, call: null });
    if (!isCall(head.kind)) continue;
    for (const id of ids) counts.add({ head, atMs, ...nothing, call: requestOfId(id) });
  }
  return counts;
}

/** What an interval's entries say; by head and hour, since no period begins within one. */
export function usesOf(entries: readonly Entry[]): Use[] {
  const uses = new Map<LineHead, Map<number, Use>>();
  const calls: Use[] = [];
  for (const { head, ids, kind, atMs, rows, energyJ, carbonG } of entries) {
    if (!head) continue;
    const own = uses.get(head) ?? new Map<number, Use>();
    uses.set(head, own);
    const hour = Math.floor(atMs / 3_600_000);
    const use = own.get(hour) ?? { head, atMs, ...nothing, call: null };
    own.set(hour, use);
    if (kind === 'inference') use.requests += ids.length;
    else if (isCall(kind))
      for (const id of ids) calls.push({ head, atMs, ...nothing, call: requestOfId(id) });
    use.rows += ids.length * rows;
    use.energyJ += ids.length * energyJ;
    use.carbonG += ids.length * carbonG;
  }
  return [...[...uses.values()].flatMap((own) => [...own.values()]), ...calls];
}

/** What makes of what was told of an interval what it has been settled at. */
export function corrections(told: readonly Use[], settled: readonly Use[]): Use[] {
  const undone = told.map((use) => ({
    ...use,
    requests: -use.requests,
    rows: -use.rows,
    energyJ: -use.energyJ,
    carbonG: -use.carbonG,
    call: null,
  }));
  return [...settled, ...undone];
}

function requestOfId(id: string): string {
  const end = id.indexOf('~');
  return end < 0 ? id : id.slice(0, end);
}
