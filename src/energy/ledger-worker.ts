/**
 * Where the ledger's heavy work is done: a handful of requests right here, more in a thread with a connection of its
 * own, so that bookkeeping and reports take no time from requests. The thread is started when there is work and ended
 * when there was none for a while; if it fails, its work is done here.
 */
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { sql } from 'kysely';
import { CommonwattError } from '../errors.ts';
import type { Db } from '../storage/db.ts';
import type { FromThread, ThreadResult, ThreadTask, ToThread } from './ledger-thread.ts';
import { type ImpactReport, impactReport, type ReportHost, type ReportQuery } from './reports.ts';
import { type Retention, tidyStep } from './store/tidy.ts';
import { Tidying } from './tidying.ts';
import { type Settlement, settleInterval, type Unsettled } from './unsettled.ts';

/** A TypeScript thread cannot be started on Node 20: from the sources (tests), the built one is used. */
const entry = fileURLToPath(
  import.meta.url.endsWith('.ts')
    ? new URL('../../dist/energy/ledger-thread.js', import.meta.url)
    : new URL('./ledger-thread.js', import.meta.url),
);

/** Settling so many lines, or reading so many entries, takes not much longer than serving a few requests. */
const settledHere = 100;
const reportedHere = 20_000;
const sumsReadHere = 2000;
const idleMs = 30_000;

interface WorkerLog {
  error(fields: object, message: string): void;
}

interface Waiting {
  resolve(result: ThreadResult): void;
  reject(error: Error): void;
}

/** The thread ended before it answered. */
class ThreadEnded extends Error {}

export class LedgerWorker {
  readonly #db: Db;
  readonly #log: WorkerLog;
  readonly #waiting = new Map<number, Waiting>();
  #thread: Promise<Worker> | undefined;
  #ending: NodeJS.Timeout | undefined;
  #nextId = 0;

  readonly #tidying: Tidying | undefined;

  /** Without `retention` it keeps every line as it is. */
  constructor(db: Db, log: WorkerLog, retention?: Retention) {
    this.#db = db;
    this.#log = log;
    if (!retention) return;
    this.#tidying = new Tidying(
      () => this.#tidy(retention),
      (err) => log.error({ err }, 'the ledger could not be tidied up; it is tried again in an hour'),
    );
  }

  /** `items`: how many lines the interval has. Throws STORE_FAILED when the database cannot be written. */
  async settle(unsettled: Unsettled, items: number): Promise<Settlement> {
    this.#tidying?.whenDue();
    if (items > settledHere) {
      const result = await this.#inThread({ kind: 'settle', unsettled });
      if (result && 'settlement' in result) return result.settlement;
    }
    return settleInterval(this.#db, unsettled);
  }

  /** Of what is settled. Throws as `impactReport` does. */
  async report(host: ReportHost, query: ReportQuery): Promise<ImpactReport> {
    const { rows } = await sql<{ large: number }>`select
      coalesce((select max(rowid) from ledger_lines), 0) > ${reportedHere}
      or exists (select 1 from ledger_hours limit 1 offset ${sumsReadHere}) as large`.execute(this.#db);
    if (rows[0]?.large) {
      const result = await this.#inThread({ kind: 'report', host, query });
      if (result && 'report' in result) return result.report;
    }
    return impactReport(this.#db, host, query);
  }

  async stop(): Promise<void> {
    await this.#tidying?.stop();
    await this.#endThread();
  }

  async #tidy(retention: Retention): Promise<boolean> {
    const nowMs = Date.now();
    const result = await this.#inThread({ kind: 'tidy', nowMs, retention });
    return result && 'more' in result ? result.more : tidyStep(this.#db, nowMs, retention);
  }

  async #endThread(): Promise<void> {
    clearTimeout(this.#ending);
    const thread = await this.#thread?.catch(() => undefined);
    this.#thread = undefined;
    if (!thread) return;
    const gone = new Promise<void>((resolve) => thread.once('exit', () => resolve()));
    // Its end is waited for, when nothing else keeps this process alive, too.
    thread.ref();
    thread.postMessage('end' satisfies ToThread);
    await gone;
  }

  /** Undefined when the thread could not do it and it is to be done here. */
  async #inThread(task: ThreadTask): Promise<ThreadResult | undefined> {
    clearTimeout(this.#ending);
    try {
      this.#thread ??= this.#start();
      return await this.#ask(await this.#thread, task);
    } catch (err) {
      if (!(err instanceof ThreadEnded)) throw err;
      this.#thread = undefined;
      this.#log.error({ err }, 'the thread of the ledger has ended; going on without it');
      return undefined;
    } finally {
      clearTimeout(this.#ending);
      if (this.#waiting.size === 0) this.#ending = setTimeout(() => this.#endThread(), idleMs).unref();
    }
  }

  #ask(thread: Worker, task: ThreadTask): Promise<ThreadResult> {
    const id = this.#nextId++;
    return new Promise<ThreadResult>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      thread.ref();
      thread.postMessage({ id, task } satisfies ToThread);
    }).finally(() => {
      this.#waiting.delete(id);
      if (this.#waiting.size === 0) thread.unref();
    });
  }

  async #start(): Promise<Worker> {
    const { rows } = await sql<{
      file: string;
    }>`select file from pragma_database_list where name = 'main'`.execute(this.#db);
    const file = rows[0]?.file;
    if (!file) throw new ThreadEnded('the database is in memory: a second connection would not see it');
    const thread = new Worker(entry, {
      workerData: { file },
      resourceLimits: { maxYoungGenerationSizeMb: 8 },
    });
    thread.unref();
    thread.on('message', ({ id, answer }: FromThread) => {
      const waiting = this.#waiting.get(id);
      if ('error' in answer)
        waiting?.reject(new CommonwattError('STORE_FAILED', answer.error, { retryAfterS: 2 }));
      else waiting?.resolve(answer);
    });
    let cause: unknown;
    thread.on('error', (error) => {
      cause = error;
    });
    thread.on('exit', (code) => {
      this.#thread = undefined;
      for (const { reject } of this.#waiting.values())
        reject(new ThreadEnded(`exit code ${code}`, { cause }));
    });
    return thread;
  }
}
