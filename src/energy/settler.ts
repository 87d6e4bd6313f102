/**
 * Where intervals are settled: a handful of requests right here, more in a worker thread with a connection of its
 * own, so that bookkeeping takes no time from requests. The worker is started when there is work and ended when
 * there was none for a while; if it fails, its work is done here.
 */
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { sql } from 'kysely';
import { CommonwattError } from '../errors.ts';
import type { Db } from '../storage/db.ts';
import type { SettlerAnswer, SettlerWork } from './settler-worker.ts';
import { type Settlement, settleInterval, type Unsettled } from './unsettled.ts';

/** A TypeScript worker cannot be started on Node 20: from the sources (tests), the built one is used. */
const entry = fileURLToPath(
  import.meta.url.endsWith('.ts')
    ? new URL('../../dist/energy/settler-worker.js', import.meta.url)
    : new URL('./settler-worker.js', import.meta.url),
);

/** Settling so many takes about as long as serving one request. */
const settledHere = 100;
const idleMs = 30_000;

interface SettlerLog {
  error(fields: object, message: string): void;
}

export class Settler {
  readonly #db: Db;
  readonly #log: SettlerLog;
  #worker: Worker | undefined;
  #ending: NodeJS.Timeout | undefined;

  constructor(db: Db, log: SettlerLog) {
    this.#db = db;
    this.#log = log;
  }

  /** `items`: how many lines it has. Throws STORE_FAILED when the database cannot be written. */
  async settle(unsettled: Unsettled, items: number): Promise<Settlement> {
    if (items <= settledHere) return settleInterval(this.#db, unsettled);
    clearTimeout(this.#ending);
    const worker = this.#worker ?? (await this.#start());
    try {
      const answer = await ask(worker, { unsettled });
      if ('settlement' in answer) return answer.settlement;
      throw new CommonwattError('STORE_FAILED', answer.error, { retryAfterS: 2 });
    } catch (error) {
      if (this.#worker === worker) throw error;
      this.#log.error({ err: error }, 'the worker that settles the ledger has ended; going on without it');
      return settleInterval(this.#db, unsettled);
    } finally {
      this.#ending = setTimeout(() => this.stop(), idleMs).unref();
    }
  }

  async stop(): Promise<void> {
    clearTimeout(this.#ending);
    const worker = this.#worker;
    this.#worker = undefined;
    if (!worker) return;
    const gone = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
    worker.postMessage('end' satisfies SettlerWork);
    await gone;
  }

  async #start(): Promise<Worker> {
    const { rows } = await sql<{
      file: string;
    }>`select file from pragma_database_list where name = 'main'`.execute(this.#db);
    const worker = new Worker(entry, {
      workerData: { file: rows[0]?.file },
      resourceLimits: { maxYoungGenerationSizeMb: 8 },
    });
    worker.unref();
    worker.on('error', (err) => this.#log.error({ err }, 'the worker that settles the ledger failed'));
    worker.on('exit', () => {
      if (this.#worker === worker) this.#worker = undefined;
    });
    this.#worker = worker;
    return worker;
  }
}

/** Rejects when the worker ends before it answers. */
async function ask(worker: Worker, work: SettlerWork): Promise<SettlerAnswer> {
  worker.ref();
  try {
    return await new Promise<SettlerAnswer>((resolve, reject) => {
      const onExit = (code: number) => reject(new Error(`exit code ${code}`));
      worker.once('exit', onExit);
      worker.once('message', (answer: SettlerAnswer) => {
        worker.off('exit', onExit);
        resolve(answer);
      });
      worker.postMessage(work);
    });
  } finally {
    worker.unref();
  }
}
