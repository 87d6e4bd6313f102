/** Progress of a running job, stored now and then and not with every step. */
import type { Db } from '../storage/db.ts';

export interface ProgressOptions {
  db: Db;
  log: { warn(fields: object, message: string): void };
  /** Least time between two stored states, ms. */
  progressEveryMs?: number;
}

export class StoredProgress {
  readonly #options: ProgressOptions;
  readonly #jobId: string;
  #latest: unknown = null;
  #storedMs = Number.NEGATIVE_INFINITY;
  #storing: Promise<unknown> = Promise.resolve();

  constructor(options: ProgressOptions, jobId: string) {
    this.#options = options;
    this.#jobId = jobId;
  }

  report(progress: unknown): void {
    this.#latest = progress;
    if (performance.now() - this.#storedMs < (this.#options.progressEveryMs ?? 1000)) return;
    this.#storedMs = performance.now();
    // Progress that cannot be stored does not end the job; its end that cannot be stored will.
    this.#storing = this.#store().catch((error: unknown) => {
      this.#options.log.warn({ jobId: this.#jobId, err: error }, 'progress of a job could not be stored');
    });
  }

  /** Stores the latest state, after those on their way. */
  async flush(): Promise<void> {
    await this.#storing;
    await this.#store();
  }

  #store(): Promise<unknown> {
    return this.#options.db
      .updateTable('jobs')
      .set({ progress: this.#latest === null ? null : JSON.stringify(this.#latest) })
      .where('id', '=', this.#jobId)
      .execute();
  }
}
