/** The job that runs now: what its handler is given, and what is kept of it on the way. */
import type { Footprint } from '../energy/energy.ts';
import type { CommonwattError } from '../errors.ts';
import type { Db } from '../storage/db.ts';
import type { Checkpoints } from './checkpoints.ts';
import type { JobRecord } from './record.ts';
import { footprintsOf, type Run, runsJson } from './runs.ts';

/** What a handler throws when it has stopped at a checkpoint, because it was asked to. */
class Paused extends Error {}

export interface JobTools {
  /** Aborted when the job is cancelled or the server stops: end what computes, then throw the reason. */
  signal: AbortSignal;
  /** Aborted when cleaner hours come: store a checkpoint as soon as there is one, then throw the reason. */
  pause: AbortSignal;
  /** Plain JSON. Cheap: what is stored is at most one a second. */
  progress(progress: unknown): void;
  /** Share of all work that is done, 0 to 1. */
  done(share: number): void;
  /** What this run used so far; `overheadMs`: of its time, before it could go on with its work. */
  used(footprint: Footprint, overheadMs?: number): void;
  /** What earlier runs of this job used. */
  earlier: readonly Footprint[];
  /** What an earlier run saved last; null: there is nothing, begin at the beginning. */
  load(): Promise<Buffer | null>;
  save(checkpoint: Buffer): Promise<void>;
}

export interface RunningOptions {
  db: Db;
  log: { warn(fields: object, message: string): void };
  /** Least time between two stored states, ms. */
  progressEveryMs?: number;
  checkpoints?: Checkpoints;
}

export class Running {
  readonly id: string;
  readonly runs: Run[];
  readonly #options: RunningOptions;
  readonly #abort = new AbortController();
  readonly #pause = new AbortController();
  readonly #run: Run;
  progress: unknown = null;
  #storedMs = Number.NEGATIVE_INFINITY;
  #storing: Promise<unknown> = Promise.resolve();

  constructor(id: string, earlier: readonly Run[], options: RunningOptions) {
    this.id = id;
    this.#options = options;
    const nowMs = Date.now();
    this.#run = { startMs: nowMs, endMs: nowMs, overheadMs: 0, done: null, footprint: null };
    this.runs = [...earlier, this.#run];
  }

  abort(reason: CommonwattError): void {
    this.#abort.abort(reason);
  }

  pause(): void {
    if (!this.#pause.signal.aborted) this.#pause.abort(new Paused());
  }

  isPause(error: unknown): boolean {
    return this.#pause.signal.aborted && error === this.#pause.signal.reason;
  }

  /** Until now. */
  touch(): void {
    this.#run.endMs = Math.max(this.#run.startMs, Date.now());
  }

  tools(job: JobRecord, changed: (progress: unknown) => void): JobTools {
    const { checkpoints } = this.#options;
    return {
      signal: this.#abort.signal,
      pause: this.#pause.signal,
      progress: (latest) => {
        this.progress = latest;
        changed(latest);
        this.#keep();
      },
      done: (share) => {
        this.#run.done = share;
      },
      used: (footprint, overheadMs) => {
        this.#run.footprint = footprint;
        if (overheadMs !== undefined) this.#run.overheadMs = overheadMs;
      },
      earlier: footprintsOf(this.runs.slice(0, -1)),
      load: async () => (await checkpoints?.load(job)) ?? null,
      save: async (bytes) => {
        await checkpoints?.save(job, bytes);
        await this.flush();
      },
    };
  }

  /** Now and then, not with every step. */
  #keep(): void {
    if (performance.now() - this.#storedMs < (this.#options.progressEveryMs ?? 1000)) return;
    this.#storedMs = performance.now();
    // Progress that cannot be stored does not end the job; its end that cannot be stored will.
    this.#storing = this.#store().catch((error: unknown) => {
      this.#options.log.warn({ jobId: this.id, err: error }, 'progress of a job could not be stored');
    });
  }

  /** Stores the latest state, after those on their way. */
  async flush(): Promise<void> {
    await this.#storing;
    await this.#store();
  }

  #store(): Promise<unknown> {
    this.touch();
    const progress = this.progress === null ? null : JSON.stringify(this.progress);
    return this.#options.db
      .updateTable('jobs')
      .set({ progress, runs: runsJson(this.runs) })
      .where('id', '=', this.id)
      .execute();
  }
}
