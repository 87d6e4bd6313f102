/** Jobs in the database: every change of state is committed when it returns. */
import { CommonwattError } from '../errors.ts';
import type { AuditEvent } from '../gate/audit.ts';
import { quote } from '../models/names.ts';
import type { Db } from '../storage/db.ts';
import { cancelledError, type JobError, type JobState } from './record.ts';
import type { Wish } from './wish.ts';

export interface NewJob {
  id: string;
  organisationId: string;
  keyId: string | null;
  member: string;
  kind: string;
  config: unknown;
  createdAt: string;
  work: number | null;
  wish: Wish | null;
}

export type JobRow = Awaited<ReturnType<JobStore['row']>>;

export class JobStore {
  readonly #db: Db;
  readonly #audit: (trx: Db, event: AuditEvent) => Promise<unknown>;

  constructor(db: Db, audit: (trx: Db, event: AuditEvent) => Promise<unknown>) {
    this.#db = db;
    this.#audit = audit;
  }

  async insert(job: NewJob, actor: string): Promise<void> {
    const { id, organisationId, kind, wish, work } = job;
    await this.#db.transaction().execute(async (trx) => {
      await trx
        .insertInto('jobs')
        .values({
          id,
          organisation_id: organisationId,
          key_id: job.keyId,
          created_by: job.member,
          kind,
          spec: JSON.stringify({ config: job.config }),
          state: 'queued',
          cancel_requested: 0,
          attempts: 0,
          progress: null,
          result: null,
          error: null,
          created_at: job.createdAt,
          started_at: null,
          finished_at: null,
          work,
          wish: wish && JSON.stringify(wish),
        })
        .execute();
      const deadline = wish ? { deadline: new Date(wish.deadlineMs).toISOString() } : {};
      const detail = { kind, ...deadline };
      await this.#audit(trx, { actor, organisationId, action: 'job.create', subject: id, detail });
    });
  }

  /** Throws NOT_FOUND, also for another organisation's job. */
  async rowOf(organisationId: string, id: string) {
    const row = await this.#select()
      .where('jobs.id', '=', id)
      .where('jobs.organisation_id', '=', organisationId)
      .executeTakeFirst();
    if (row) return row;
    throw new CommonwattError('NOT_FOUND', `job ${quote(id)} does not exist`, {
      where: 'job',
      hint: 'see GET /api/v1/jobs (commonwatt jobs) for the jobs of your organisation',
    });
  }

  row(id: string) {
    return this.#select().where('jobs.id', '=', id).executeTakeFirstOrThrow();
  }

  /** Newest first. */
  list(organisationId: string, limit: number) {
    return this.#select()
      .where('jobs.organisation_id', '=', organisationId)
      .orderBy('jobs.created_at', 'desc')
      .limit(limit)
      .execute();
  }

  /** What was running when the last server ended. */
  interrupted() {
    return this.#db.selectFrom('jobs').selectAll().where('state', '=', 'running').execute();
  }

  /** What waited for its hours goes first: they pass. The rest in the order of asking. */
  next(nowMs: number) {
    return this.#select()
      .where('jobs.state', '=', 'queued')
      .where((by) => by.or([by('due_ms', 'is', null), by('due_ms', '<=', nowMs)]))
      .orderBy((by) => by.case().when('wish', 'is', null).then(1).else(0).end())
      .orderBy((by) => by.case().when('wish', 'is', null).then(0).else(by.ref('due_ms')).end())
      .orderBy('jobs.created_at')
      .limit(1)
      .executeTakeFirst();
  }

  /** False: it is queued no more. */
  async begin(id: string): Promise<boolean> {
    const { numUpdatedRows } = await this.#db
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
    return numUpdatedRows > 0n;
  }

  /** Goes on later. A crash counts as an attempt; whatever was wanted does not. */
  async putBack(id: string, { crashed }: { crashed: boolean }): Promise<void> {
    await this.#db
      .updateTable('jobs')
      .set((by) => ({
        state: 'queued' as const,
        progress: null,
        ...(crashed ? {} : { attempts: by('attempts', '-', 1) }),
      }))
      .where('id', '=', id)
      .execute();
  }

  async finish(
    id: string,
    state: JobState,
    { result, error, savings }: { result?: unknown; error?: JobError; savings?: unknown },
  ): Promise<void> {
    await this.#db
      .updateTable('jobs')
      .set({
        state,
        result: result === undefined ? null : JSON.stringify(result),
        error: error === undefined ? null : JSON.stringify(error),
        savings: savings === undefined ? null : JSON.stringify(savings),
        finished_at: new Date().toISOString(),
      })
      .where('id', '=', id)
      .execute();
  }

  async cancelRequested(id: string): Promise<boolean> {
    const row = await this.#db
      .selectFrom('jobs')
      .select('cancel_requested')
      .where('id', '=', id)
      .executeTakeFirstOrThrow();
    return row.cancel_requested !== 0;
  }

  /** True: it was queued, and has ended. */
  async cancel(id: string, organisationId: string, actor: string): Promise<boolean> {
    return await this.#db.transaction().execute(async (trx) => {
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
      await this.#audit(trx, { actor, organisationId, action: 'job.cancel', subject: id, detail: {} });
      return numUpdatedRows > 0n;
    });
  }

  #select() {
    return this.#db
      .selectFrom('jobs')
      .innerJoin('organisations', 'organisations.id', 'jobs.organisation_id')
      .selectAll('jobs')
      .select('organisations.name as organisation')
      .select((by) =>
        by
          .selectFrom('api_keys')
          .whereRef('api_keys.id', '=', 'jobs.key_id')
          .select('api_keys.member_id')
          .as('memberId'),
      );
  }
}
