import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CommonwattError } from '../errors.ts';
import { recordAudit } from '../gate/audit.ts';
import { type Db, openDatabase } from '../storage/db.ts';
import { type JobHandler, type JobRecord, Jobs, jobJson } from './jobs.ts';

const acme = { organisationId: 'org-acme', organisation: 'acme', member: 'ada', keyId: 'key-1' };
const globex = { organisationId: 'org-globex', organisation: 'globex', member: 'bob', keyId: null };
const quiet = { info() {}, warn() {}, error() {} };

/** What each test's handler is told to do, and what it was seen doing. */
let seen: string[];
const counting: JobHandler = {
  async check(_organisation, config) {
    if (config === 'wrong') throw new CommonwattError('INVALID_CONFIG', 'this configuration is wrong');
    return config;
  },
  async run(job, { signal, progress }) {
    seen.push(`run ${job.config}`);
    if (job.config === 'fail') throw new CommonwattError('RUNNER_FAILED', 'it broke', { hint: 'mend it' });
    if (job.config === 'crash') throw new TypeError('x is not a function');
    if (job.config === 'forever')
      await sleep(60_000, undefined, { signal }).catch(() => {
        throw signal.reason;
      });
    for (let step = 1; step <= 3; step++) {
      progress({ step });
      await sleep(2);
    }
    seen.push(`end ${job.config}`);
    return { answer: job.config };
  },
};

let db: Db;
const open: Jobs[] = [];

beforeEach(async () => {
  db = await openDatabase(':memory:');
  for (const name of ['acme', 'globex'])
    await db
      .insertInto('organisations')
      .values({ id: `org-${name}`, name, created_at: new Date().toISOString() })
      .execute();
  seen = [];
});

afterEach(async () => {
  for (const jobs of open.splice(0)) await jobs.stop();
  await db.destroy();
});

/** A server's jobs on the test's database. */
function server(handler: JobHandler = counting): Jobs {
  const jobs = new Jobs({
    db,
    audit: recordAudit,
    log: quiet,
    handlers: { count: handler },
    progressEveryMs: 0,
  });
  open.push(jobs);
  return jobs;
}

async function last(jobs: Jobs, job: JobRecord): Promise<JobRecord> {
  let latest = job;
  for await (const now of jobs.watch(job.organisationId, job.id)) latest = now;
  return latest;
}

async function until(jobs: Jobs, job: JobRecord, state: JobRecord['state']): Promise<JobRecord> {
  for await (const now of jobs.watch(job.organisationId, job.id)) if (now.state === state) return now;
  throw new Error(`the job never was ${state}`);
}

describe('a job', () => {
  test('is queued, runs, shows progress and keeps its result', async () => {
    const jobs = server();
    await jobs.start();
    const job = await jobs.enqueue(acme, 'count', 'one');
    expect(job).toMatchObject({ state: 'queued', createdBy: 'ada', keyId: 'key-1', organisation: 'acme' });
    const steps: unknown[] = [];
    for await (const now of jobs.watch('org-acme', job.id)) steps.push(now.progress ?? now.state);
    expect(steps).toEqual(expect.arrayContaining([{ step: 2 }, { step: 3 }]));
    const done = await jobs.get('org-acme', job.id);
    expect(jobJson(done)).toEqual({
      id: job.id,
      kind: 'count',
      config: 'one',
      state: 'succeeded',
      createdBy: 'ada',
      createdAt: job.createdAt,
      startedAt: expect.any(String),
      finishedAt: expect.any(String),
      attempts: 1,
      progress: { step: 3 },
      result: { answer: 'one' },
      error: null,
      schedule: null,
    });
  });

  test('runs alone, in the order of asking', async () => {
    const jobs = server();
    await jobs.start();
    const all = await Promise.all(['a', 'b', 'c', 'd'].map((config) => jobs.enqueue(acme, 'count', config)));
    for (const job of all) await last(jobs, job);
    const inOrder = [...all].sort((a, b) => a.createdAt.localeCompare(b.createdAt)).map((job) => job.config);
    expect(seen).toEqual(inOrder.flatMap((config) => [`run ${config}`, `end ${config}`]));
    expect((await jobs.list('org-acme')).map((job) => job.config)).toEqual(inOrder.reverse());
  });

  test('that fails says why, and the next one runs', async () => {
    const jobs = server();
    await jobs.start();
    const failing = await jobs.enqueue(acme, 'count', 'fail');
    const crashing = await jobs.enqueue(acme, 'count', 'crash');
    const good = await jobs.enqueue(acme, 'count', 'good');
    expect((await last(jobs, failing)).error).toEqual({
      code: 'RUNNER_FAILED',
      message: 'it broke',
      hint: 'mend it',
    });
    expect((await last(jobs, crashing)).error).toMatchObject({
      code: 'INTERNAL',
      message: 'the job failed unexpectedly: x is not a function',
    });
    expect((await last(jobs, good)).state).toBe('succeeded');
  });

  test('with a wrong configuration or kind is refused before it exists', async () => {
    const jobs = server();
    await expect(jobs.enqueue(acme, 'count', 'wrong')).rejects.toMatchObject({ code: 'INVALID_CONFIG' });
    for (const kind of ['dance', 'constructor'])
      await expect(jobs.enqueue(acme, kind, {})).rejects.toMatchObject({
        code: 'INVALID_REQUEST',
        hint: 'use one of: count',
      });
    expect(await jobs.list('org-acme')).toEqual([]);
  });

  test('of another organisation looks like one that does not exist', async () => {
    const jobs = server();
    const job = await jobs.enqueue(acme, 'count', 'one');
    const message = `job "${job.id}" does not exist`;
    await expect(jobs.get('org-globex', job.id)).rejects.toMatchObject({ code: 'NOT_FOUND', message });
    await expect(jobs.cancel(globex, job.id)).rejects.toMatchObject({ code: 'NOT_FOUND', message });
    expect(await jobs.list('org-globex')).toEqual([]);
    expect((await jobs.get('org-acme', job.id)).state).toBe('queued');
  });

  test('leaves a trail of who asked for it and who cancelled it', async () => {
    const jobs = server();
    const job = await jobs.enqueue(acme, 'count', 'one');
    await jobs.cancel({ ...acme, member: 'eve' }, job.id);
    const events = await db.selectFrom('audit_events').select(['actor', 'action', 'subject']).execute();
    expect(events).toEqual([
      { actor: 'acme/ada', action: 'job.create', subject: job.id },
      { actor: 'acme/eve', action: 'job.cancel', subject: job.id },
    ]);
  });
});

describe('cancelling', () => {
  test('ends a queued job at once, and it never runs', async () => {
    const jobs = server();
    const job = await jobs.enqueue(acme, 'count', 'one');
    expect(await jobs.cancel(acme, job.id)).toMatchObject({
      state: 'cancelled',
      error: { code: 'CANCELLED' },
    });
    await jobs.start();
    await last(jobs, await jobs.enqueue(acme, 'count', 'two'));
    expect(seen).toEqual(['run two', 'end two']);
  });

  test('reaches the work of a running job', async () => {
    const jobs = server();
    await jobs.start();
    const job = await jobs.enqueue(acme, 'count', 'forever');
    await until(jobs, job, 'running');
    await jobs.cancel(acme, job.id);
    expect(await last(jobs, job)).toMatchObject({ state: 'cancelled', error: { code: 'CANCELLED' } });
  });

  test('leaves a finished job as it is', async () => {
    const jobs = server();
    await jobs.start();
    const job = await last(jobs, await jobs.enqueue(acme, 'count', 'one'));
    expect(await jobs.cancel(acme, job.id)).toEqual(job);
  });
});

describe('when the server ends', () => {
  test('gracefully, the running job goes back to the queue and no attempt is counted', async () => {
    const first = server();
    await first.start();
    const job = await first.enqueue(acme, 'count', 'forever');
    await until(first, job, 'running');
    await first.stop();
    expect(await first.get('org-acme', job.id)).toMatchObject({ state: 'queued', attempts: 0 });
    expect(seen).toEqual(['run forever']);
  });

  test('by a crash, what was running is run again by the next one', async () => {
    const job = await server().enqueue(acme, 'count', 'one');
    await crashedWhileRunning(job.id, 1);
    const next = server();
    await next.start();
    expect(await last(next, job)).toMatchObject({
      state: 'succeeded',
      attempts: 2,
      result: { answer: 'one' },
    });
  });

  test('by a crash for the fifth time, the job is given up', async () => {
    const job = await server().enqueue(acme, 'count', 'one');
    await crashedWhileRunning(job.id, 5);
    const next = server();
    await next.start();
    expect(await last(next, job)).toMatchObject({
      state: 'failed',
      attempts: 5,
      error: { code: 'RUNNER_FAILED', message: 'the server ended 5 times while this job was running' },
    });
    expect(seen).toEqual([]);
  });

  test('before a cancelled job ended, the next one ends it', async () => {
    const job = await server().enqueue(acme, 'count', 'one');
    await crashedWhileRunning(job.id, 1);
    await db.updateTable('jobs').set({ cancel_requested: 1 }).execute();
    const next = server();
    await next.start();
    expect(await last(next, job)).toMatchObject({ state: 'cancelled' });
  });

  test('whoever watches a job is let go', async () => {
    const jobs = server();
    await jobs.start();
    const job = await jobs.enqueue(acme, 'count', 'forever');
    await until(jobs, job, 'running');
    const watched = last(jobs, job);
    await jobs.stop();
    expect((await watched).state).toBe('running');
  });

  /** The state a killed server leaves behind. */
  function crashedWhileRunning(id: string, attempts: number) {
    return db.updateTable('jobs').set({ state: 'running', attempts }).where('id', '=', id).execute();
  }
});
