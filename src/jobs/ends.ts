/**
 * Tells whoever keeps account what became of jobs that came to nothing. Told as they end and, in case the server ended
 * just then, once more at the next start: who is told twice does the same as before.
 */
import type { JobEnd } from '../energy/energy.ts';
import type { Db } from '../storage/db.ts';
import type { JobState } from './record.ts';

const outcomes: Partial<Record<JobState, JobEnd['outcome']>> = { failed: 'failed', cancelled: 'aborted' };

export interface EndsOptions {
  db: Db;
  log: { error(fields: object, message: string): void };
  /** Absent: nobody wants to know. */
  ended?(ends: readonly JobEnd[]): Promise<void>;
}

export class Ends {
  readonly #options: EndsOptions;
  #telling: Promise<void> = Promise.resolve();

  constructor(options: EndsOptions) {
    this.#options = options;
  }

  /** Of all jobs there are; nobody waits for it. */
  tellAgain(): void {
    this.#telling = this.#tellAll();
  }

  /** Ready when it has been told, or cannot be told now. */
  async tell(jobId: string, state: JobState): Promise<void> {
    const outcome = outcomes[state];
    if (outcome) await this.#tell([{ jobId, outcome }]);
  }

  /** Resolves when nothing is being told any more. */
  idle(): Promise<void> {
    return this.#telling;
  }

  async #tellAll(): Promise<void> {
    try {
      const rows = await this.#options.db
        .selectFrom('jobs')
        .where('state', 'in', ['failed', 'cancelled'])
        .where('started_at', 'is not', null)
        .select(['id', 'state'])
        .execute();
      await this.#tell(
        rows.flatMap(({ id, state }) => {
          const outcome = outcomes[state];
          return outcome ? [{ jobId: id, outcome }] : [];
        }),
      );
    } catch (error) {
      this.#options.log.error({ err: error }, 'what became of earlier jobs could not be read');
    }
  }

  async #tell(ends: readonly JobEnd[]): Promise<void> {
    if (ends.length === 0) return;
    try {
      await this.#options.ended?.(ends);
    } catch (error) {
      const jobIds = ends.map(({ jobId }) => jobId);
      this.#options.log.error({ jobIds, err: error }, 'the ledger does not say yet what became of jobs');
    }
  }
}
