/** What has been used under one limit in its period: what the ledger holds, and what is under way. */
import type { Use } from '../energy/usage-counts.ts';
import type { ModelUsage } from '../energy/usage-reading.ts';
import { type Amounts, amountOf, type Limit } from './limits-use.ts';

/** The ledger's part: begins at what is settled, follows what is booked, is put right by what settles. */
export class Tally {
  readonly #limit: Limit;
  readonly #startMs: number;
  readonly #calls = new Set<string>();
  #used = 0;

  constructor(limit: Limit, startMs: number) {
    this.#limit = limit;
    this.#startMs = startMs;
  }

  get used(): number {
    return Math.max(0, this.#used);
  }

  begin(settled: readonly ModelUsage[]): void {
    for (const usage of settled) this.#used += amountOf(this.#limit, usage, usage);
  }

  add(use: Use): void {
    if (use.atMs < this.#startMs) return;
    const isNew = use.call !== null && !this.#calls.has(use.call);
    if (isNew) this.#calls.add(use.call ?? '');
    const { rows, energyJ, carbonG } = use;
    const requests = use.requests + (isNew ? 1 : 0);
    this.#used += amountOf(this.#limit, { requests, rows, energyJ, carbonG }, ofUse(use));
  }
}

function ofUse({ head: { use } }: Use) {
  return { modelId: use?.modelId ?? null, ownerId: use?.owner.organisationId ?? null };
}

export class Counter {
  limit: Limit;
  readonly startMs: number;
  readonly endMs: number;
  /** Undefined until the ledger has been read. */
  tally: Tally | undefined;
  /** Follow what is booked while the ledger is read for them. */
  readonly beginning = new Set<Tally>();
  reserved = 0;
  #holds = 0;
  refused = 0;
  wouldHaveRefused = 0;
  /** Whoever stops jobs has been told. */
  toldExhausted = false;
  /** Requests were counted that may be in it twice: the ledger is to be read again. */
  isStale = false;
  isReading = false;

  constructor(limit: Limit, { startMs, endMs }: { startMs: number; endMs: number }) {
    this.limit = limit;
    this.startMs = startMs;
    this.endMs = endMs;
  }

  get used(): number {
    return this.tally?.used ?? 0;
  }

  /** Used, and held for what is under way. */
  get taken(): number {
    return this.used + this.reserved;
  }

  add(use: Use): void {
    this.tally?.add(use);
    for (const tally of this.beginning) tally.add(use);
  }

  /** `more`: besides what is taken. At the limit nothing more is let in, however little it may need. */
  hasRoom(more: number): boolean {
    const { amount } = this.limit;
    // Sums of many small figures are off by their rounding.
    return this.taken < amount * (1 - 1e-12) && this.taken + more <= amount * (1 + 1e-12);
  }

  get isExhausted(): boolean {
    return !this.hasRoom(0);
  }

  /** The part of the amount that is taken. */
  get level(): number {
    return this.taken / this.limit.amount;
  }

  hold(amount: number): void {
    this.#holds++;
    this.reserved += amount;
  }

  /** Of what one holds. */
  reduce(amount: number): void {
    this.reserved -= amount;
  }

  /** All that one holds. */
  letGo(amount: number): void {
    this.#holds--;
    // With nobody there what is left is rounding.
    this.reserved = this.#holds > 0 ? this.reserved - amount : 0;
  }
}

export function estimateOf(rows: number, perRow: { energyJ: number; carbonG: number }): Amounts {
  return { requests: 1, rows, energyJ: rows * perRow.energyJ, carbonG: rows * perRow.carbonG };
}
