/**
 * Intervals that are closed and not settled yet, oldest first. While requests keep the server busy they wait in the
 * spool, so that a burst does not compete with its own bookkeeping; afterwards, or when it lasts, they are settled.
 */
import { ratesOf } from './basis.ts';
import { joulesPerKwh } from './grid.ts';
import type { TakenJob } from './job-meters.ts';
import type { LedgerWorker } from './ledger-worker.ts';
import { parseLines } from './lines.ts';
import type { RecoveryBasis } from './recovery.ts';
import { readSegment, type Segment, type Spool } from './spool.ts';
import { asMetered, type Settlement, type Unsettled } from './unsettled.ts';
import { countsOf, type UsageCounts } from './usage-counts.ts';

/** Above this much of its time the event loop is busy. */
const busyLoop = 0.5;
const mayWaitMs = 60_000;
const mayWaitItems = 1_000_000;
/** So many lines of a server that was killed are settled before this one starts; more, while it serves. */
const settledAtStart = 100_000;

export interface Closed {
  unsettled: Unsettled;
  segment: Segment | undefined;
  /** Lines, each model call counted. */
  items: number;
  counts: UsageCounts;
  jobs: readonly TakenJob[];
}

interface BacklogLog {
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface BacklogOptions {
  worker: LedgerWorker;
  spool: Spool;
  log: BacklogLog;
  clock: { now(): number };
  /** How busy the event loop was since the last call, 0 to 1. */
  loopUse?: () => number;
  settled(closed: Closed, settlement: Settlement): void;
}

export class Backlog {
  readonly #options: BacklogOptions;
  readonly #loopUse: () => number;
  readonly #closed: (Closed & { sinceMs: number })[] = [];
  #items = 0;
  #settling: Promise<void> = Promise.resolve();
  #failure: string | null = null;

  constructor(options: BacklogOptions) {
    this.#options = options;
    this.#loopUse = options.loopUse ?? measuredLoopUse();
  }

  /** Lines of all its intervals. */
  get items(): number {
    return this.#items;
  }

  /** Why its intervals could not be settled when that was tried last; null: they could. */
  get failure(): string | null {
    return this.#failure;
  }

  counts(): { id: string; counts: UsageCounts }[] {
    return this.#closed.map(({ unsettled, counts }) => ({ id: unsettled.id, counts }));
  }

  add(closed: Closed): void {
    this.#closed.push({ ...closed, sinceMs: this.#options.clock.now() });
    this.#items += closed.items;
    if (!closed.segment) return;
    this.#options.spool.conclude(closed.segment, closed.unsettled);
    // At once, whenever it is settled: a power cut may cost only about the last second.
    void this.#options.spool.sync(closed.segment);
  }

  /** Segments of a server that was killed: they are settled now, or counted and settled while this one serves. */
  async takeLeftovers(basis: RecoveryBasis): Promise<void> {
    const { pue, gPerKwh } = ratesOf(basis.basis, 1);
    const gramsPerJoule = (pue * gPerKwh) / joulesPerKwh;
    for (const { id, file } of this.#options.spool.leftovers()) {
      const { values, interval } = readSegment(file);
      const { lines, items } = parseLines(id, values);
      this.add({
        unsettled: asMetered(interval, id, file) ?? { kind: 'leftover', id, file, basis },
        segment: undefined,
        items,
        counts: countsOf(lines, gramsPerJoule),
        jobs: [],
      });
    }
    const settled = this.settle();
    if (this.#items <= settledAtStart) await settled;
    else this.#logFailure(settled);
  }

  /** Once a second: settles when it is time for it. */
  tick(): void {
    const busy = this.#loopUse() > busyLoop;
    const oldest = this.#closed[0];
    if (!oldest) return;
    const late = this.#options.clock.now() - oldest.sinceMs >= mayWaitMs || this.#items >= mayWaitItems;
    if (!busy || late) this.#logFailure(this.settle());
  }

  /** Settles everything that is closed, one interval after the other. What fails is kept for the next time. */
  settle(): Promise<void> {
    const settling = this.#settling.then(() => this.#drain());
    this.#settling = settling.catch(() => {});
    return settling;
  }

  async #drain(): Promise<void> {
    const { spool, worker, log, settled } = this.#options;
    for (let closed = this.#closed[0]; closed; closed = this.#closed[0]) {
      const { segment, unsettled, items } = closed;
      if (segment && !(await spool.sync(segment))) {
        this.#failure = 'the disk does not keep the spool';
        return;
      }
      let settlement: Settlement;
      try {
        settlement = await worker.settle(unsettled, items);
      } catch (error) {
        log.error({ err: error, lines: this.#items }, 'the ledger database cannot be written; trying again');
        this.#failure = error instanceof Error ? error.message : String(error);
        return;
      }
      this.#closed.shift();
      this.#items -= items;
      if (segment) spool.remove(segment);
      else if (unsettled.file !== null) spool.removeFile(unsettled.file);
      this.#tell(closed, settlement);
      settled(closed, settlement);
    }
    this.#failure = null;
  }

  #tell({ unsettled, segment }: Closed, { lost, fresh, requests }: Settlement): void {
    const { log } = this.#options;
    if (lost > 0) log.error({ lost, interval: unsettled.id }, 'lines of the ledger cannot be read any more');
    if (segment === undefined && unsettled.file !== null && fresh)
      log.warn({ requests }, 'the last run ended before its ledger was settled; its requests are booked now');
  }

  #logFailure(settling: Promise<void>): void {
    settling.catch((error) => this.#options.log.error({ err: error }, 'the ledger could not be settled'));
  }
}

/** The part of the time in which the event loop was at work, since the last call. */
function measuredLoopUse(): () => number {
  let last = performance.eventLoopUtilization();
  return () => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, last);
    last = now;
    return utilization;
  };
}
