/**
 * The jobs room: work that takes longer than a request, one at a time, in the order it was asked for.
 *
 * In: a kind and its configuration. Out: a result, kept with the job, and progress on the way.
 * Promise: a job is committed before it is acknowledged; it survives the death of the server and is run again,
 * at most five times; cancelling reaches the process that computes.
 */

import { randomUUID } from 'node:crypto';
import { EventEmitter, on } from 'node:events';
import { CommonwattError } from '../errors.ts';
import type { AuditEvent } from '../gate/audit.ts';
import { quote } from '../models/names.ts';
import type { Db } from '../storage/db.ts';
import { StoredProgress } from './progress.ts';
import {
  cancelledError,
  errorOf,
  interruptedError,
  isFinished,
  type JobError,
  type JobRecord,
  type JobState,
  recordOf,
} from './record.ts';

export type { JobError, JobRecord, JobState } from './record.ts';
export { jobJson } from './record.ts';

interface JobTools {
  /** Aborted when the job is cancelled or the server stops: end what computes, then throw the reason. */
  signal: AbortSignal;
  /** Plain JSON. Cheap: what is stored is at most one a second. */
  progress(progress: unknown): void;
}

/** What does the work of one kind of job. It may be run again from the start after a crash. */
export interface JobHandler {
  /** Throws what is wrong with a configuration before there is a job; returns it with its defaults filled in. */
  check(organisationId: string, config: unknown): Promise<unknown>;
  /** The result is plain JSON. */
  run(job: JobRecord, tools: JobTools): Promise<unknown>;
}

/** Who asks. */
export interface JobOwner {
  organisationId: string;
  organisation: string;
  member: string;
  keyId: string | null;
}

export interface JobsOptions {
  db: Db;
  /** Writes the event in the same transaction as what it tells of. */
  audit(trx: Db, event: AuditEvent): Promise<unknown>;
  log: {
    info(fields: object, message: string): void;
    warn(fields: object, message: string): void;
    error(fields: object, message: string): void;
  };
  handlers: Readonly<Record<string, JobHandler>>;
  /** Least time between two stored states of progress, ms. */
  progressEveryMs?: number;
}

const maxAttempts = 5;

interface Running {
  id: string;
  abort: AbortController;
  progress: unknown;
}

export class Jobs {
  readonly #options: JobsOptions;
  /** Emits `change` with the JobRecord. */
  readonly #events = new EventEmitter().setMaxListeners(0);
  #running: Running | undefined;
  #state: 'new' | 'started' | 'stopping' = 'new';
  #pumping: Promise<void> | undefined;
  #wanted = false;
  #lastCreatedMs = 0;

  constructor(options: JobsOptions) {
    this.#options = options;
  }

  /** Takes up where the last server ended: what was running is run again, or given up after five attempts. */
  async start(): Promise<void> {
    const { db, log } = this.#options;
    const interrupted = await db.selectFrom('jobs').selectAll().where('state', '=', 'running').execute();
    for (const job of interrupted) {
      if (job.cancel_requested) await this.#finish(job.id, 'cancelled', { error: cancelledError });
      else if (job.attempts >= maxAttempts)
        await this.#finish(job.id, 'failed', { error: interruptedError(job.attempts) });
      else {
        await db
          .updateTable('jobs')
          .set({ state: 'queued', progress: null })
          .where('id', '=', job.id)
          .execute();
        log.warn({ jobId: job.id, attempts: job.attempts }, 'a job was interrupted and is run again');
      }
    }
    this.#state = 'started';
    this.#pump();
  }

  /** Stops the running job, which goes back to the queue without counting the attempt. Begins no other. */
  async stop(): Promise<void> {
    this.#state = 'stopping';
    this.#running?.abort.abort(new CommonwattError('NOT_READY', 'the server is stopping'));
    await this.#pumping;
    this.#events.emit('stop');
  }

  /**
   * Committed when it returns. Throws INVALID_REQUEST for an unknown kind, and what the kind's `check` throws.
   */
  async enqueue(owner: JobOwner, kind: string, config: unknown): Promise<JobRecord> {
    const handler = Object.hasOwn(this.#options.handlers, kind) ? this.#options.handlers[kind] : undefined;
    if (!handler)
      throw new CommonwattError('INVALID_REQUEST', `there is no job of kind ${quote(kind)}`, {
        where: 'kind',
        hint: `use one of: ${Object.keys(this.#options.handlers).join(', ')}`,
      });
    const checked = await handler.check(owner.organisationId, config);
    const id = randomUUID();
    // Strictly increasing, so that jobs of the same millisecond keep their order.
    this.#lastCreatedMs = Math.max(Date.now(), this.#lastCreatedMs + 1);
    const createdAt = new Date(this.#lastCreatedMs).toISOString();
    await this.#options.db.transaction().execute(async (trx) => {
      await trx
        .insertInto('jobs')
        .values({
          id,
          organisation_id: owner.organisationId,
          key_id: owner.keyId,
          created_by: owner.member,
          kind,
          spec: JSON.stringify({ config: checked }),
          state: 'queued',
          cancel_requested: 0,
          attempts: 0,
          progress: null,
          result: null,
          error: null,
          created_at: createdAt,
          started_at: null,
          finished_at: null,
        })
        .execute();
      await this.#options.audit(trx, {
        actor: `${owner.organisation}/${owner.member}`,
        organisationId: owner.organisationId,
        action: 'job.create',
        subject: id,
        detail: { kind },
      });
    });
    const job = await this.get(owner.organisationId, id);
    this.#events.emit('change', job);
    this.#pump();
    return job;
  }

  /** Throws NOT_FOUND, also for another organisation's job. */
  async get(organisationId: string, id: string): Promise<JobRecord> {
    const row = await this.#select()
      .where('jobs.id', '=', id)
      .where('jobs.organisation_id', '=', organisationId)
      .executeTakeFirst();
    if (row) return this.#record(row);
    throw new CommonwattError('NOT_FOUND', `job ${quote(id)} does not exist`, {
      where: 'job',
      hint: 'see GET /api/v1/jobs (commonwatt jobs) for the jobs of your organisation',
    });
  }

  /** Newest first. */
  async list(organisationId: string, limit = 1000): Promise<JobRecord[]> {
    const rows = await this.#select()
      .where('jobs.organisation_id', '=', organisationId)
      .orderBy('jobs.created_at', 'desc')
      .limit(limit)
      .execute();
    return rows.map((row) => this.#record(row));
  }

  /** A queued job is cancelled at once, a running one as soon as its process has ended; a finished one stays as it is. */
  async cancel(principal: Omit<JobOwner, 'keyId'>, id: string): Promise<JobRecord> {
    const job = await this.get(principal.organisationId, id);
    if (isFinished(job.state)) return job;
    const ended = await this.#options.db.transaction().execute(async (trx) => {
      await trx
        .updateTable('jobs')
        .set({ cancel_requested: 1 })
        .where('id', '=', id)
        .where('state', 'in', ['queued', 'running'])
        .execute();
      const { numUpdatedRows } = await trx
        .updateTable('jobs')
        .set({
          state: 'cancelled',
          error: JSON.stringify(cancelledError),
          finished_at: new Date().toISOString(),
        })
        .where('id', '=', id)
        .where('state', '=', 'queued')
        .executeTakeFirst();
      await this.#options.audit(trx, {
        actor: `${principal.organisation}/${principal.member}`,
        organisationId: principal.organisationId,
        action: 'job.cancel',
        subject: id,
        detail: {},
      });
      return numUpdatedRows > 0n;
    });
    if (!ended && this.#running?.id === id)
      this.#running.abort.abort(new CommonwattError('CANCELLED', cancelledError.message));
    const now = await this.get(principal.organisationId, id);
    if (ended) this.#events.emit('change', now);
    return now;
  }

  /** The job now, then after each change, ending with its last state (or when the server stops). */
  async *watch(
    organisationId: string,
    id: string,
    signal?: AbortSignal,
  ): AsyncGenerator<JobRecord, void, void> {
    const ended = new AbortController();
    const changes = on(this.#events, 'change', {
      close: ['stop'],
      signal: signal ? AbortSignal.any([signal, ended.signal]) : ended.signal,
    });
    try {
      const now = await this.get(organisationId, id);
      yield now;
      if (isFinished(now.state)) return;
      for await (const change of changes) {
        const job: JobRecord = change[0];
        if (job.id !== id) continue;
        yield job;
        if (isFinished(job.state)) return;
      }
    } catch (error) {
      if (!signal?.aborted) throw error;
    } finally {
      await changes.return?.();
    }
  }

  /** Runs queued jobs until there is none; only ever once at a time. */
  #pump(): void {
    this.#wanted = true;
    if (this.#state !== 'started' || this.#pumping) return;
    this.#pumping = this.#runQueued()
      .catch((error: unknown) => {
        // The store failed. What was running stays `running` there, and is taken up at the next start.
        this.#wanted = false;
        this.#options.log.error({ err: error }, 'jobs wait: the state of a job could not be stored');
      })
      .finally(() => {
        this.#pumping = undefined;
        // Asked for between the last look at the queue and here.
        if (this.#wanted) this.#pump();
      });
  }

  async #runQueued(): Promise<void> {
    while (this.#wanted && this.#state === 'started') {
      this.#wanted = false;
      const next = await this.#select()
        .where('jobs.state', '=', 'queued')
        .orderBy('jobs.created_at')
        .limit(1)
        .executeTakeFirst();
      if (!next) continue;
      this.#wanted = true;
      await this.#run(next.id);
    }
  }

  async #run(id: string): Promise<void> {
    const { db } = this.#options;
    const abort = new AbortController();
    // Known as running before it is stored, so that a cancel in between finds it.
    const running: Running = { id, abort, progress: null };
    this.#running = running;
    try {
      const { numUpdatedRows } = await db
        .updateTable('jobs')
        .set((by) => ({
          state: 'running' as const,
          attempts: by('attempts', '+', 1),
          started_at: new Date().toISOString(),
          progress: null,
        }))
        .where('id', '=', id)
        .where('state', '=', 'queued')
        .executeTakeFirst();
      if (numUpdatedRows > 0n) await this.#work(await this.#byId(id), running);
    } finally {
      this.#running = undefined;
    }
  }

  async #work(job: JobRecord, running: Running): Promise<void> {
    const { log, handlers } = this.#options;
    this.#events.emit('change', job);
    let outcome: { result: unknown } | { error: unknown };
    const progress = new StoredProgress(this.#options, job.id);
    const report = (latest: unknown) => {
      running.progress = latest;
      this.#events.emit('change', { ...job, progress: latest });
      progress.report(latest);
    };
    try {
      const handler = Object.hasOwn(handlers, job.kind) ? handlers[job.kind] : undefined;
      if (!handler)
        throw new CommonwattError('INVALID_REQUEST', `there is no job of kind ${quote(job.kind)}`);
      outcome = { result: await handler.run(job, { signal: running.abort.signal, progress: report }) };
    } catch (error) {
      outcome = { error };
    }
    await progress.flush();
    const { cancel_requested } = await this.#options.db
      .selectFrom('jobs')
      .select('cancel_requested')
      .where('id', '=', job.id)
      .executeTakeFirstOrThrow();
    // Whoever cancelled was told so: a result that came in the same moment is dropped.
    if (cancel_requested) await this.#finish(job.id, 'cancelled', { error: cancelledError });
    else if ('result' in outcome) await this.#finish(job.id, 'succeeded', { result: outcome.result });
    else if (this.#state === 'stopping') await this.#putBack(job.id);
    else {
      const error = errorOf(outcome.error);
      log.warn({ jobId: job.id, code: error.code, err: outcome.error }, `a job failed: ${error.message}`);
      await this.#finish(job.id, 'failed', { error });
    }
  }

  async #finish(id: string, state: JobState, end: { result?: unknown; error?: JobError }): Promise<void> {
    await this.#options.db
      .updateTable('jobs')
      .set({
        state,
        result: end.result === undefined ? null : JSON.stringify(end.result),
        error: end.error === undefined ? null : JSON.stringify(end.error),
        finished_at: new Date().toISOString(),
      })
      .where('id', '=', id)
      .execute();
    if (this.#running?.id === id) this.#running = undefined;
    this.#events.emit('change', await this.#byId(id));
  }

  async #putBack(id: string): Promise<void> {
    await this.#options.db
      .updateTable('jobs')
      .set((by) => ({ state: 'queued' as const, attempts: by('attempts', '-', 1), progress: null }))
      .where('id', '=', id)
      .execute();
  }

  #select() {
    return this.#options.db
      .selectFrom('jobs')
      .innerJoin('organisations', 'organisations.id', 'jobs.organisation_id')
      .selectAll('jobs')
      .select('organisations.name as organisation');
  }

  async #byId(id: string): Promise<JobRecord> {
    return this.#record(await this.#select().where('jobs.id', '=', id).executeTakeFirstOrThrow());
  }

  /** What is in memory is newer than what is stored. */
  #record(row: Parameters<typeof recordOf>[0]): JobRecord {
    const job = recordOf(row);
    return this.#running?.id === job.id && this.#running.progress !== null
      ? { ...job, progress: this.#running.progress }
      : job;
  }
}
