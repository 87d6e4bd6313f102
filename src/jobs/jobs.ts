/**
 * The jobs room: work that takes longer than a request, one at a time, in the order it was asked for. What may wait
 * runs in the cleanest hours before its deadline (docs/carbon-aware.md).
 *
 * In: a kind, its configuration, until when. Out: a result, kept with the job, and progress on the way.
 * Promise: a job is committed before it is acknowledged; it survives the death of the server and goes on where it was
 * last saved, at most five times; cancelling reaches the process that computes.
 */

import { randomUUID } from 'node:crypto';
import { EventEmitter, on } from 'node:events';
import { CommonwattError } from '../errors.ts';
import type { AuditEvent } from '../gate/audit.ts';
import { quote } from '../models/names.ts';
import type { Db } from '../storage/db.ts';
import type { Checkpoints } from './checkpoints.ts';
import { Ends, type EndsOptions } from './ends.ts';
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
import { type JobTools, Running } from './running.ts';
import { parseRuns } from './runs.ts';
import { savingsOf } from './savings.ts';
import { type AtWork, type JobGrid, Scheduler } from './scheduler.ts';
import { type JobRow, JobStore } from './store.ts';
import { type GivenSchedule, type Wish, wishOf } from './wish.ts';

export type { JobError, JobRecord, JobState } from './record.ts';
export { jobJson } from './record.ts';
export type { JobTools } from './running.ts';

/** What does the work of one kind of job. It may be run again after a crash, from what it saved last. */
export interface JobHandler {
  /** Throws what is wrong with a configuration before there is a job; returns it with its defaults filled in. */
  check(organisationId: string, config: unknown, owner: JobOwner): Promise<unknown>;
  /** How much work it is, in a unit of the kind: what earlier jobs took tells how long it will. */
  work?(organisationId: string, config: unknown): Promise<number>;
  /** It stores checkpoints and heeds `pause`; what one interruption costs, as time of running. Absent: it does not. */
  interruptionMs?: number;
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

export interface JobsOptions extends Pick<EndsOptions, 'ended'> {
  db: Db;
  /** Writes the event in the same transaction as what it tells of. */
  audit(trx: Db, event: AuditEvent): Promise<unknown>;
  log: {
    info(fields: object, message: string): void;
    warn(fields: object, message: string): void;
    error(fields: object, message: string): void;
  };
  handlers: Readonly<Record<string, JobHandler>>;
  /** Throws, or absent, where nothing is known of the electricity: then nothing waits. */
  grid?: () => JobGrid;
  /** Absent: every run begins at the beginning. */
  checkpoints?: Checkpoints;
  /** Throws what keeps a job from beginning, or from going on after it was interrupted. */
  mayRun?(job: JobRecord, run: { goesOn: boolean }): Promise<void>;
  /** How often it is looked whether something changed for what waits, ms. */
  planEveryMs?: number;
  /** Least time between two stored states of progress, ms. */
  progressEveryMs?: number;
}

const maxAttempts = 5;

export class Jobs {
  readonly #options: JobsOptions;
  /** Emits `change` with the JobRecord. */
  readonly #events = new EventEmitter().setMaxListeners(0);
  readonly #store: JobStore;
  readonly #scheduler: Scheduler;
  readonly #ends: Ends;
  #running: (AtWork & { run: Running }) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #state: 'new' | 'started' | 'stopping' = 'new';
  #pumping: Promise<void> | undefined;
  #wanted = false;
  #lastCreatedMs = 0;

  constructor(options: JobsOptions) {
    this.#options = options;
    this.#store = new JobStore(options.db, options.audit);
    this.#ends = new Ends(options);
    this.#scheduler = new Scheduler({
      db: options.db,
      grid: () => {
        if (options.grid) return options.grid();
        throw new CommonwattError('NOT_READY', 'nothing is known of the electricity');
      },
      now: () => Date.now(),
      interruptionMs: (kind) => this.#handler(kind)?.interruptionMs ?? 0,
    });
  }

  /** Takes up where the last server ended: what was running is run again, or given up after five attempts. */
  async start(): Promise<void> {
    for (const job of await this.#store.interrupted()) {
      if (job.cancel_requested) await this.#finish(job.id, 'cancelled', { error: cancelledError });
      else if (job.attempts >= maxAttempts)
        await this.#finish(job.id, 'failed', { error: interruptedError(job.attempts) });
      else {
        await this.#store.putBack(job.id, { crashed: true });
        const fields = { jobId: job.id, attempts: job.attempts };
        this.#options.log.warn(fields, 'a job was interrupted and is run again');
      }
    }
    this.#state = 'started';
    this.#ends.tellAgain();
    this.#pump();
  }

  /** Stops the running job, which goes back to the queue without counting the attempt. Begins no other. */
  async stop(): Promise<void> {
    this.#state = 'stopping';
    clearTimeout(this.#timer);
    this.#running?.run.abort(new CommonwattError('NOT_READY', 'the server is stopping'));
    await this.#pumping;
    await this.#ends.idle();
    this.#events.emit('stop');
  }

  /**
   * Committed when it returns. Throws INVALID_REQUEST for an unknown kind, and what the kind's `check` throws.
   */
  async enqueue(
    owner: JobOwner,
    kind: string,
    config: unknown,
    schedule?: GivenSchedule,
  ): Promise<JobRecord> {
    const handler = this.#handler(kind);
    if (!handler)
      throw new CommonwattError('INVALID_REQUEST', `there is no job of kind ${quote(kind)}`, {
        where: 'kind',
        hint: `use one of: ${Object.keys(this.#options.handlers).join(', ')}`,
      });
    const checked = await handler.check(owner.organisationId, config, owner);
    const work = (await handler.work?.(owner.organisationId, checked)) ?? null;
    const wish = schedule ? await this.#wish(kind, handler, work, schedule) : null;
    const id = randomUUID();
    // Strictly increasing, so that jobs of the same millisecond keep their order.
    this.#lastCreatedMs = Math.max(Date.now(), this.#lastCreatedMs + 1);
    const createdAt = new Date(this.#lastCreatedMs).toISOString();
    await this.#store.insert(
      { ...owner, id, kind, config: checked, createdAt, work, wish },
      `${owner.organisation}/${owner.member}`,
    );
    // Its plan is part of the answer.
    if (wish) await this.#planOrLog();
    const job = await this.get(owner.organisationId, id);
    this.#events.emit('change', job);
    this.#pump();
    return job;
  }

  /** Throws NOT_FOUND, also for another organisation's job. */
  async get(organisationId: string, id: string): Promise<JobRecord> {
    return this.#record(await this.#store.rowOf(organisationId, id));
  }

  /** Newest first. */
  async list(organisationId: string, limit = 1000): Promise<JobRecord[]> {
    const rows = await this.#store.list(organisationId, limit);
    return rows.map((row) => this.#record(row));
  }

  /** A queued job is cancelled at once, a running one as soon as its process has ended; a finished one stays as it is. */
  async cancel(principal: Omit<JobOwner, 'keyId'>, id: string): Promise<JobRecord> {
    const job = await this.get(principal.organisationId, id);
    if (isFinished(job.state)) return job;
    const { organisationId, organisation, member } = principal;
    const ended = await this.#store.cancel(id, organisationId, `${organisation}/${member}`);
    if (!ended && this.#running?.id === id)
      this.#running.run.abort(new CommonwattError('CANCELLED', cancelledError.message));
    if (ended) {
      await this.#dropCheckpoint(job);
      if (job.startedAt !== null) await this.#ends.tell(id, 'cancelled');
    }
    const now = await this.get(principal.organisationId, id);
    if (ended) this.#events.emit('change', now);
    return now;
  }

  /** Ends the job that runs, if it is meant, as failed. */
  async failRunning(isMeant: (job: JobRecord) => boolean, reason: CommonwattError): Promise<void> {
    const running = this.#running;
    if (running && isMeant(await this.#byId(running.id))) running.run.abort(reason);
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
      await this.#plan();
      const next = await this.#store.next(Date.now());
      if (!next) continue;
      this.#wanted = true;
      await this.#run(next);
    }
  }

  async #run(row: JobRow): Promise<void> {
    const { id, kind, wish, runs } = row;
    // Known as running before it is stored, so that a cancel in between finds it.
    const run = new Running(id, parseRuns(runs), this.#options);
    const interruptionMs = this.#handler(kind)?.interruptionMs ?? 0;
    this.#running = {
      id,
      run,
      runs: run.runs,
      interruptionMs,
      wish: wish === null ? null : JSON.parse(wish),
    };
    try {
      const goesOn = row.started_at !== null;
      if (await this.#store.begin(id)) await this.#work(await this.#byId(id), run, goesOn);
    } finally {
      this.#running = undefined;
    }
  }

  async #work(job: JobRecord, run: Running, goesOn: boolean): Promise<void> {
    const { log } = this.#options;
    this.#events.emit('change', job);
    let outcome: { result: unknown } | { error: unknown };
    if (job.schedule) void this.#planOrLog();
    const tools = run.tools(job, (progress) => this.#events.emit('change', { ...job, progress }));
    try {
      const handler = this.#handler(job.kind);
      if (!handler)
        throw new CommonwattError('INVALID_REQUEST', `there is no job of kind ${quote(job.kind)}`);
      await this.#options.mayRun?.(job, { goesOn });
      outcome = { result: await handler.run(job, tools) };
    } catch (error) {
      outcome = { error };
    }
    await run.flush();
    // Whoever cancelled was told so: a result that came in the same moment is dropped.
    if (await this.#store.cancelRequested(job.id))
      await this.#finish(job.id, 'cancelled', { error: cancelledError });
    else if ('result' in outcome) await this.#finish(job.id, 'succeeded', { result: outcome.result });
    else if (this.#state === 'stopping' || run.isPause(outcome.error))
      await this.#store.putBack(job.id, { crashed: false });
    else {
      const error = errorOf(outcome.error);
      log.warn({ jobId: job.id, code: error.code, err: outcome.error }, `a job failed: ${error.message}`);
      await this.#finish(job.id, 'failed', { error });
    }
  }

  async #finish(id: string, state: JobState, end: { result?: unknown; error?: JobError }): Promise<void> {
    const savings = state === 'succeeded' ? savingsOf(await this.#store.row(id), this.#options) : undefined;
    await this.#store.finish(id, state, { ...end, ...(savings ? { savings } : {}) });
    if (this.#running?.id === id) this.#running = undefined;
    const job = await this.#byId(id);
    await this.#dropCheckpoint(job);
    await this.#ends.tell(id, state);
    this.#events.emit('change', job);
  }

  /** One that stays costs room, and nothing else. */
  async #dropCheckpoint(job: JobRecord): Promise<void> {
    try {
      await this.#options.checkpoints?.drop(job);
    } catch (error) {
      this.#options.log.warn({ jobId: job.id, err: error }, 'a checkpoint could not be removed');
    }
  }

  #handler(kind: string): JobHandler | undefined {
    const { handlers } = this.#options;
    return Object.hasOwn(handlers, kind) ? handlers[kind] : undefined;
  }

  async #wish(
    kind: string,
    handler: JobHandler,
    work: number | null,
    schedule: GivenSchedule,
  ): Promise<Wish> {
    const estimateMs = await this.#scheduler.estimateMs(kind, work);
    return wishOf(schedule, {
      nowMs: Date.now(),
      estimateMs,
      canPause: handler.interruptionMs !== undefined,
    });
  }

  /** Plans what waits, pauses what should, and comes back when the next is due or something may have changed. */
  async #plan(): Promise<void> {
    const running = this.#running;
    running?.run.touch();
    const { nextMs, changed } = await this.#scheduler.plan(running ?? null);
    for (const id of changed) this.#events.emit('change', await this.#byId(id));
    if (running && this.#scheduler.shouldPause(running)) running.run.pause();
    clearTimeout(this.#timer);
    if (this.#state !== 'started' || (nextMs === null && !running?.wish)) return;
    const everyMs = this.#options.planEveryMs ?? 60_000;
    const waitMs = nextMs === null || nextMs <= Date.now() ? everyMs : Math.min(everyMs, nextMs - Date.now());
    this.#timer = setTimeout(() => this.#look(), waitMs);
    this.#timer.unref();
  }

  /** While a job runs nothing else begins; it may be paused. */
  #look(): void {
    if (!this.#running) {
      this.#pump();
      return;
    }
    void this.#planOrLog();
  }

  async #planOrLog(): Promise<void> {
    try {
      await this.#plan();
    } catch (error) {
      this.#options.log.error({ err: error }, 'the plans of jobs could not be made');
    }
  }

  async #byId(id: string): Promise<JobRecord> {
    return this.#record(await this.#store.row(id));
  }

  /** What is in memory is newer than what is stored. */
  #record(row: JobRow): JobRecord {
    const job = recordOf(row);
    const running = this.#running?.run;
    return running?.id === job.id && running.progress !== null ? { ...job, progress: running.progress } : job;
  }
}
