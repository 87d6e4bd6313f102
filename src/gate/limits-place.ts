/** A place under every limit that applies to a request: held until its use is booked, or nothing was computed. */

import type { Use } from '../energy/usage-counts.ts';
import type { Place, Work } from './limits.ts';
import { type Counter, estimateOf } from './limits-counter.ts';
import type { PerRow } from './limits-estimates.ts';
import { amountOf } from './limits-use.ts';

interface HeldOptions {
  counters: readonly Counter[];
  work: Work;
  perRow: PerRow;
  /** Throws LIMIT_EXCEEDED. */
  refuse(counter: Counter): never;
  noteShadow(counter: Counter): void;
  /** Where it waits for its use to be booked. */
  unbooked: Set<HeldPlace>;
  now(): number;
}

/** What began and was not booked by then has come to nothing: its runner ended. */
const bookedWithinMs = 60_000;

export class HeldPlace implements Place {
  readonly #options: HeldOptions;
  #amounts: number[] = [];
  #state: 'open' | 'settled' | 'over' = 'open';
  /** Shadow limits that it would not have passed. */
  readonly #noted = new Set<Counter>();
  #isBooked = false;
  #lateAtMs = 0;

  /** Throws LIMIT_EXCEEDED, and has then taken nothing. */
  constructor(options: HeldOptions) {
    this.#options = options;
    this.#take(1);
  }

  expect(rows: number): void {
    if (this.#state !== 'open' || rows === 1 || !(rows > 0) || !Number.isFinite(rows)) return;
    const before = this.#amounts;
    this.#letGo();
    try {
      this.#take(rows);
    } catch (error) {
      // It is released by whoever holds it.
      this.#amounts = before;
      for (const [index, counter] of this.#options.counters.entries()) counter.hold(before[index] ?? 0);
      throw error;
    }
  }

  #take(rows: number): void {
    const { counters, work, perRow, refuse, noteShadow } = this.#options;
    const estimate = estimateOf(rows, perRow);
    const amounts = counters.map(({ limit }) => amountOf(limit, estimate, work));
    for (const [index, counter] of counters.entries())
      if (counter.limit.mode === 'hard' && !counter.hasRoom(amounts[index] ?? 0)) refuse(counter);
    for (const [index, counter] of counters.entries()) {
      const amount = amounts[index] ?? 0;
      if (counter.limit.mode === 'shadow' && !this.#noted.has(counter) && !counter.hasRoom(amount)) {
        this.#noted.add(counter);
        noteShadow(counter);
      }
      counter.hold(amount);
    }
    this.#amounts = amounts;
  }

  /** An inference is booked once; what makes many model calls, call by call. */
  booked(use: Use): void {
    if (this.#state === 'over') return;
    this.#isBooked = true;
    if (this.#state === 'settled' || use.call === null) this.giveUp();
    else this.#reduce(use);
  }

  settle(): void {
    if (this.#state !== 'open') return;
    if (this.#isBooked) {
      this.giveUp();
      return;
    }
    this.#state = 'settled';
    this.#lateAtMs = this.#options.now() + bookedWithinMs;
    this.#options.unbooked.add(this);
  }

  release(): void {
    if (this.#state === 'open') this.giveUp();
  }

  /** Nothing is held any more. */
  giveUp(): void {
    if (this.#state === 'settled') this.#options.unbooked.delete(this);
    this.#state = 'over';
    this.#letGo();
  }

  isWaitedFor(nowMs: number): boolean {
    return nowMs < this.#lateAtMs;
  }

  get warning(): string | undefined {
    const warnings: string[] = [];
    for (const { limit, level, taken } of this.#options.counters) {
      const { warnAt, subject, id, unit, amount, period, mode } = limit;
      // What only counts says nothing, and what others use of their model is not the caller's business.
      if (
        mode === 'shadow' ||
        warnAt === null ||
        level < warnAt ||
        (subject.kind === 'model' && !this.#options.work.ownsModel)
      )
        continue;
      warnings.push(
        `${id};unit=${unit};used=${shortened(taken)};limit=${shortened(amount)};period=${period}`,
      );
    }
    return warnings.length > 0 ? warnings.join(', ') : undefined;
  }

  #reduce({ rows, energyJ, carbonG }: Use): void {
    const { counters, work } = this.#options;
    this.#amounts = this.#amounts.map((held, index) => {
      const counter = counters[index];
      if (!counter) return held;
      const used = amountOf(counter.limit, { requests: 1, rows, energyJ, carbonG }, work);
      const part = Math.min(held, Math.max(0, used));
      counter.reduce(part);
      return held - part;
    });
  }

  #letGo(): void {
    if (this.#amounts.length === 0) return;
    for (const [index, counter] of this.#options.counters.entries()) counter.letGo(this.#amounts[index] ?? 0);
    this.#amounts = [];
  }
}

/** Six digits tell how near it is. */
export function shortened(value: number): string {
  return String(Number(value.toPrecision(6)));
}
