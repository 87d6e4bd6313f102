import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { unmetered } from '../energy/footprint.ts';
import type { Intensity } from '../energy/grid.ts';
import { gramsCo2e, joules } from '../energy/units.ts';
import { recordAudit } from '../gate/audit.ts';
import { type Db, openDatabase } from '../storage/db.ts';
import { Checkpoints } from './checkpoints.ts';
import { type JobHandler, type JobRecord, Jobs } from './jobs.ts';
import { remainingMs } from './runs.ts';
import { actualSavings } from './savings.ts';
import type { JobGrid } from './scheduler.ts';

const acme = { organisationId: 'org-acme', organisation: 'acme', member: 'ada', keyId: 'key-1' };
const quiet = { info() {}, warn() {}, error() {} };

/** Intensities of the test, in steps of its own; what is asked for beyond is not known. */
let grid: { stepMs: number; fromMs: number; gPerKwh: number[] };
let log: string[];
let db: Db;
const artifacts = new Map<string, Buffer>();
const open: Jobs[] = [];

const jobGrid: JobGrid = {
  forecast: (fromMs, toMs) =>
    grid.gPerKwh.flatMap((gPerKwh, index) => {
      const startMs = Math.max(fromMs, grid.fromMs + index * grid.stepMs);
      const endMs = Math.min(toMs, grid.fromMs + (index + 1) * grid.stepMs);
      return endMs > startMs ? [{ startMs, endMs, gPerKwh }] : [];
    }),
  over: (startMs, endMs) => {
    const slots = jobGrid.forecast(startMs, Math.max(endMs, startMs + 1));
    const ms = slots.reduce((sum, slot) => sum + slot.endMs - slot.startMs, 0);
    const value = slots.reduce((sum, slot) => sum + slot.gPerKwh * (slot.endMs - slot.startMs), 0) / ms;
    return { ...measured, value };
  },
};

const measured: Intensity = {
  zone: 'DEU',
  value: 0,
  source: 'test',
  kind: 'average',
  scope: 'life-cycle',
  estimated: false,
  stale: false,
  atMs: 0,
  instead: null,
};

/** Counts to `config`, 10 ms a step; goes on where it was. */
const counting: JobHandler = {
  interruptionMs: 10,
  check: async (_organisation, config) => config,
  work: async (_organisation, config) => Number(config),
  async run(job, tools) {
    let at = Number((await tools.load())?.toString() ?? 0);
    log.push(`${job.createdBy} from ${at}`);
    const started = performance.now();
    while (at < Number(job.config)) {
      tools.signal.throwIfAborted();
      await sleep(10);
      at += 1;
      tools.done(at / Number(job.config));
      const energyJ = joules(performance.now() - started);
      tools.used({ ...unmetered, energyJ, carbonGCo2e: gramsCo2e(energyJ) }, 0);
      tools.progress({ at });
      if (tools.pause.aborted || at % 10 === 0) await tools.save(Buffer.from(String(at)));
      tools.pause.throwIfAborted();
    }
    log.push(`${job.createdBy} done`);
    return { at, runs: tools.earlier.length + 1 };
  },
};

beforeEach(async () => {
  db = await openDatabase(':memory:');
  await db
    .insertInto('organisations')
    .values({ id: 'org-acme', name: 'acme', created_at: new Date().toISOString() })
    .execute();
  log = [];
  artifacts.clear();
});

afterEach(async () => {
  for (const jobs of open.splice(0)) await jobs.stop();
  await db.destroy();
});

function server(): Jobs {
  const store = {
    async stage(_organisation: string, content: Buffer | AsyncIterable<Uint8Array>) {
      const bytes = content as Buffer;
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      artifacts.set(sha256, bytes);
      return { sha256, sizeBytes: bytes.length, record: async () => {} };
    },
    read: async (_organisation: string, sha256: string) => artifacts.get(sha256) ?? Buffer.alloc(0),
    remove: async (_organisation: string, sha256: string) => void artifacts.delete(sha256),
  };
  const jobs = new Jobs({
    db,
    audit: recordAudit,
    log: quiet,
    handlers: { count: counting, whole: { check: counting.check, run: counting.run } },
    grid: () => jobGrid,
    checkpoints: new Checkpoints({ db, artifacts: store, log: quiet }),
    progressEveryMs: 0,
    planEveryMs: 20,
  });
  open.push(jobs);
  return jobs;
}

async function last(jobs: Jobs, job: JobRecord): Promise<JobRecord> {
  let latest = job;
  for await (const now of jobs.watch(job.organisationId, job.id)) latest = now;
  return latest;
}

const inS = (seconds: number) => new Date(Date.now() + seconds * 1000).toISOString();

describe('a job with a deadline', () => {
  test('waits for the cleanest time, and says what it planned and what that saved in truth', async () => {
    grid = { stepMs: 500, fromMs: Date.now(), gPerKwh: [400, 100, 300, 300] };
    const jobs = server();
    await jobs.start();
    const job = await jobs.enqueue(acme, 'whole', 10, { deadline: inS(2), expectedS: 0.2 });
    expect(job.schedule).toMatchObject({ interruptible: false, expectedS: 0.2, expectedFrom: 'asked' });
    expect(job.schedule?.plan).toMatchObject({ why: 'cleanest', meanGPerKwh: 100, atOnceGPerKwh: 400 });
    expect(job.schedule?.plan?.forecastSavedPercent).toBeCloseTo(75);
    const done = await last(jobs, job);
    expect(Date.parse(done.startedAt ?? '')).toBeGreaterThanOrEqual(grid.fromMs + 490);
    expect(done.schedule?.actual?.unknown).toBeNull();
    expect(done.schedule?.actual?.savedPercent).toBeGreaterThan(20);
    expect(done.schedule?.actual?.atOnceGCo2e).toBeGreaterThan(done.schedule?.actual?.emittedGCo2e ?? 0);
    expect(Date.parse(done.finishedAt ?? '')).toBeLessThan(Date.parse(done.schedule?.deadline ?? ''));
  });

  test('lets others go before it while it waits', async () => {
    grid = { stepMs: 600, fromMs: Date.now(), gPerKwh: [400, 100, 300] };
    const jobs = server();
    await jobs.start();
    const waits = await jobs.enqueue({ ...acme, member: 'waits' }, 'whole', 2, {
      deadline: inS(1.5),
      expectedS: 0.1,
    });
    await last(jobs, await jobs.enqueue({ ...acme, member: 'other' }, 'whole', 2));
    await last(jobs, waits);
    expect(log).toEqual(['other from 0', 'other done', 'waits from 0', 'waits done']);
  });

  test('that cannot be met begins at once and says so; so does one of unknown length', async () => {
    grid = { stepMs: 500, fromMs: Date.now(), gPerKwh: [400, 100] };
    const jobs = server();
    await jobs.start();
    const late = await jobs.enqueue(acme, 'whole', 2, { deadline: inS(0.4), expectedS: 3600 });
    expect(late.schedule?.plan?.why).toBe('deadline');
    await last(jobs, late);
    const unknown = await jobs.enqueue(acme, 'count', 2, { deadline: inS(60) });
    expect(unknown.schedule).toMatchObject({ expectedS: null, plan: { why: 'unknown length' } });
    expect((await last(jobs, unknown)).state).toBe('succeeded');
  });

  test('takes its length from earlier jobs of its kind, by their size', async () => {
    grid = { stepMs: 500, fromMs: Date.now(), gPerKwh: [400] };
    const jobs = server();
    await jobs.start();
    await last(jobs, await jobs.enqueue(acme, 'count', 10));
    const job = await jobs.enqueue(acme, 'count', 1000, { deadline: inS(3600) });
    await jobs.cancel(acme, job.id);
    expect(job.schedule?.expectedFrom).toBe('earlier jobs');
    // Ten steps of 10 ms and more: a hundred times as many, and a fifth more to be on the safe side.
    expect(job.schedule?.expectedS).toBeGreaterThan(12 * 0.9);
    expect(job.schedule?.expectedS).toBeLessThan(60);
  });

  test('is planned anew when the forecast changes', async () => {
    grid = { stepMs: 10_000, fromMs: Date.now(), gPerKwh: [400, 400, 100] };
    const jobs = server();
    await jobs.start();
    const job = await jobs.enqueue(acme, 'whole', 2, { deadline: inS(30), expectedS: 5 });
    expect(job.schedule?.plan?.why).toBe('cleanest');
    grid.gPerKwh = [50, 400, 100];
    expect((await last(jobs, job)).state).toBe('succeeded');
  });

  test('keeps its plan over a crash of the server', async () => {
    grid = { stepMs: 400, fromMs: Date.now(), gPerKwh: [400, 400, 100] };
    const job = await server().enqueue(acme, 'whole', 2, { deadline: inS(1.3), expectedS: 0.1 });
    const next = server();
    await next.start();
    expect((await next.get('org-acme', job.id)).schedule?.plan?.runs[0]).toEqual(job.schedule?.plan?.runs[0]);
    const done = await last(next, job);
    expect(Date.parse(done.startedAt ?? '')).toBeGreaterThanOrEqual(grid.fromMs + 790);
  });

  test.each([
    [{ deadline: '2020-01-01T00:00:00Z' }, 'schedule.deadline'],
    [{}, 'schedule.deadline'],
    [{ deadline: inS(60), maxDelayS: 60 }, 'schedule.deadline'],
    [{ maxDelayS: 60, interruptible: true }, 'schedule.interruptible'],
  ])('asked for as %j is refused', async (schedule, where) => {
    await expect(server().enqueue(acme, 'whole', 1, schedule)).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
      where,
      hint: expect.any(String),
    });
  });
});

describe('a job that can be interrupted', () => {
  test('is paused when dirty hours come, and goes on where it was in clean ones', async () => {
    grid = { stepMs: 1000, fromMs: Date.now(), gPerKwh: [100, 900, 100, 900, 100, 900, 100, 900] };
    const jobs = server();
    await jobs.start();
    const asked = { deadline: inS(8), expectedS: 1.5, minRunS: 1 };
    const done = await last(jobs, await jobs.enqueue(acme, 'count', 120, asked));
    expect(done).toMatchObject({ state: 'succeeded', attempts: 1, result: { at: 120 } });
    const ran = done.schedule?.ran ?? [];
    expect(ran.length).toBeGreaterThan(1);
    for (const { start } of ran) {
      const sinceMs = Date.parse(start) - grid.fromMs;
      expect(Math.floor((sinceMs + 20) / grid.stepMs) % 2, `began after ${sinceMs} ms`).toBe(0);
    }
    // The second one began where the first one ended.
    expect(Number(log[1]?.split(' from ')[1])).toBeGreaterThan(20);
    // Nothing of it stays behind.
    expect(artifacts.size).toBe(0);
  });

  test('cut off in the middle goes on from what was saved last', async () => {
    grid = { stepMs: 60_000, fromMs: Date.now(), gPerKwh: [100] };
    const first = server();
    await first.start();
    const job = await first.enqueue(acme, 'count', 40);
    for await (const { progress } of first.watch('org-acme', job.id))
      if (Number(Reflect.get(progress ?? {}, 'at')) >= 25) break;
    await first.stop();
    const next = server();
    await next.start();
    expect((await last(next, job)).result).toEqual({ at: 40, runs: 2 });
    expect(log).toEqual(['ada from 0', 'ada from 20', 'ada done']);
  });
});

describe('what is left of a job', () => {
  const run = (minutes: number, done: number | null, overheadMin = 0) => ({
    startMs: 0,
    endMs: minutes * 60_000,
    overheadMs: overheadMin * 60_000,
    done,
    footprint: null,
  });

  test('is told by the share that is done: .25 in 30 min leaves 90 min, and a fifth more', () => {
    expect(remainingMs([run(30, 0.25)], null)).toBeCloseTo(108 * 60_000);
    expect(remainingMs([run(35, 0.25, 5)], null)).toBeCloseTo(108 * 60_000);
  });

  test('else by what was expected, or by nothing', () => {
    expect(remainingMs([run(30, null)], 45 * 60_000)).toBe(15 * 60_000);
    expect(remainingMs([run(30, null)], null)).toBeNull();
  });
});

describe('what waiting saved', () => {
  const hour = 3_600_000;
  const used = (kwh: number, gPerKwh: number) => ({
    ...unmetered,
    energyJ: joules(kwh * 3.6e6),
    carbonGCo2e: gramsCo2e(kwh * gPerKwh),
  });
  const over = (startMs: number) => ({ ...measured, value: startMs < hour ? 300 : 100 });

  test('1 kWh at 100 g that was asked for at 300 g: 200 g', () => {
    const runs = [{ startMs: 2 * hour, endMs: 3 * hour, overheadMs: 0, done: 1, footprint: used(1, 100) }];
    expect(actualSavings(runs, 0, over)).toEqual({
      emittedGCo2e: 100,
      atOnceGCo2e: 300,
      savedGCo2e: 200,
      savedPercent: (200 / 300) * 100,
      unknown: null,
    });
  });

  test('what going on again cost is not in what beginning at once would have cost', () => {
    const runs = [
      { startMs: 2 * hour, endMs: 3 * hour, overheadMs: 0, done: 0.5, footprint: used(1, 100) },
      { startMs: 4 * hour, endMs: 5 * hour, overheadMs: hour / 2, done: 1, footprint: used(1, 100) },
    ];
    expect(actualSavings(runs, 0, over)).toMatchObject({ emittedGCo2e: 200, atOnceGCo2e: 450 });
  });

  test('it may be negative, and it is not known where an intensity was carried on or of another kind', () => {
    const runs = [{ startMs: 0, endMs: hour, overheadMs: 0, done: 1, footprint: used(1, 300) }];
    expect(actualSavings(runs, 2 * hour, over).savedGCo2e).toBe(-200);
    const stale = (startMs: number) => ({ ...over(startMs), stale: startMs === 0 });
    expect(actualSavings(runs, 2 * hour, stale)).toMatchObject({
      savedGCo2e: null,
      unknown: expect.stringContaining('carried on'),
    });
    const unmeteredRun = [{ startMs: 0, endMs: hour, overheadMs: 0, done: 1, footprint: null }];
    expect(actualSavings(unmeteredRun, 0, over).unknown).toContain('not metered');
  });
});
