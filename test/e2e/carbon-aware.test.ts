/** Jobs that may wait, through the real program: a grid whose hours are eight seconds long. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Commonwatt, type Job } from '@commonwatt/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ExampleServer, runCommand, startExampleServer } from './server.ts';

const folder = mkdtempSync(join(tmpdir(), 'carbon-aware-'));
const slotMs = 8000;
const fromMs = Math.floor(Date.now() / slotMs) * slotMs;
let server: ExampleServer;
let cw: Commonwatt;

/** Dirty and clean in turn, beginning dirty. */
const isClean = (ms: number) => Math.floor((ms - fromMs) / slotMs) % 2 === 1;

beforeAll(async () => {
  const grid = join(folder, 'grid.csv');
  const lines = Array.from({ length: 100 }, (_, index) => {
    const startMs = fromMs + index * slotMs;
    return `${new Date(startMs).toISOString()},${index % 2 === 1 ? 100 : 900}`;
  });
  writeFileSync(grid, ['time,gPerKwh', ...lines].join('\n'));
  server = await startExampleServer({ env: { COMMONWATT_GRID: `file:${grid}, yearly` } });
  cw = new Commonwatt({ baseUrl: server.baseUrl, apiKey: server.example.owner.apiKey });
}, 120_000);

afterAll(async () => {
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Early in a dirty time. */
async function dirtyTime(): Promise<void> {
  while (isClean(Date.now()) || (Date.now() - fromMs) % slotMs > slotMs / 2) await sleep(100);
}

const cli = (...args: string[]) =>
  runCommand(args, { baseUrl: server.baseUrl, apiKey: server.example.owner.apiKey });

const startOf = (job: Job) => Date.parse(job.startedAt ?? '');

describe('commonwatt batch', () => {
  it('waits for a clean time, writes what the model answers one by one, and says what waiting saved', async () => {
    const out = join(folder, 'results.csv');
    await dirtyTime();
    const asked = ['--dataset', 'digits', '--split', 'test', '--max-delay', '30s', '--expected', '1s'];
    const { code, out: text, err } = await cli('batch', 'acme/digits', ...asked, '--out', out, '--json');
    expect(err).not.toContain('error');
    expect(code).toBe(0);
    const { job } = JSON.parse(text) as { job: Job };
    expect(job).toMatchObject({ kind: 'batch', state: 'succeeded', result: { rows: 330, version: 1 } });
    // A step of the clock at either end is allowed.
    expect(isClean(startOf(job) + 100)).toBe(true);
    expect(job.schedule).toMatchObject({ expectedFrom: 'asked', interruptible: true });
    const { actual } = job.schedule ?? {};
    expect(actual?.unknown).toBeNull();
    expect(actual?.emittedGCo2e).toBeGreaterThan(0);
    expect(actual?.savedPercent).toBeGreaterThan(50);
    const [head, ...lines] = readFileSync(out, 'utf8').trim().split('\n');
    expect(head).toMatch(/^row,\w+$/);
    expect(lines).toHaveLength(330);
    const rows = await Promise.all([0, 100, 329].map((row) => cw.datasets.row('digits', 'test', row)));
    const { outputs } = await cw.predict(
      'acme/digits',
      rows.map(({ features }) => Object.values(features)),
    );
    for (const [index, row] of [0, 100, 329].entries())
      expect(Number(lines[row]?.split(',')[1])).toBeCloseTo(outputs[index]?.[0] ?? Number.NaN, 6);
  }, 60_000);

  it('is booked on its job, and in the footprint of whoever asked', async () => {
    const { result } = (await cw.jobs.list()).find(({ kind }) => kind === 'batch') ?? {};
    expect(result?.impact.energyWh).toBeGreaterThan(0);
  });

  it('refuses rows that the model does not take, before there is a job', async () => {
    const before = await cw.jobs.list();
    await expect(
      cw.jobs.create({ kind: 'batch', config: { model: 'acme/digits', rows: [[1, 2, 3]] } }),
    ).rejects.toMatchObject({ code: 'INVALID_CONFIG', message: expect.stringContaining('takes 100') });
    await expect(
      cw.jobs.create({ kind: 'batch', config: { model: 'nobody/nothing', dataset: 'digits' } }),
    ).rejects.toMatchObject({ status: 404 });
    await expect(
      cw.jobs.create({ kind: 'batch', config: { model: 'acme/digits', dataset: 'digits', rows: [[1]] } }),
    ).rejects.toMatchObject({ status: 400 });
    expect(await cw.jobs.list()).toHaveLength(before.length);
  });

  it('of rows that come with it answers them', async () => {
    const row = await cw.datasets.row('digits', 'test', 0);
    const rows = [Object.values(row.features), Object.values(row.features)];
    const job = await cw.jobs.wait(
      (await cw.jobs.create({ kind: 'batch', config: { model: 'acme/digits:1', rows } })).id,
    );
    expect(job).toMatchObject({ state: 'succeeded', schedule: null, result: { rows: 2 } });
  });
});

describe('an evaluation and a training that may wait', () => {
  it('are the same as at once', async () => {
    const created = await cw.jobs.create({
      kind: 'evaluate',
      config: { model: 'acme/digits', dataset: 'digits' },
      schedule: { maxDelayS: 20, expectedS: 1 },
    });
    expect(created.schedule?.plan?.runs).toHaveLength(1);
    const done = await cw.jobs.wait(created.id);
    expect(done).toMatchObject({ state: 'succeeded', result: { version: 1, split: 'test' } });
    expect(isClean(startOf(done) + 100)).toBe(true);
    const { out } = await cli('jobs', done.id);
    expect(out).toMatch(/waiting (saved|cost) .* gCO2e/);
  }, 60_000);

  it('trained anew, a version has the configuration it had, on its length as it was seen', async () => {
    const job = await cw.jobs.create({
      kind: 'retrain',
      config: { model: 'acme/digits', epochs: 2 },
      schedule: { maxDelayS: 20 },
    });
    expect(job).toMatchObject({
      kind: 'train',
      schedule: { expectedFrom: 'earlier jobs', interruptible: true },
    });
    const done = await cw.jobs.wait(job.id);
    expect(done.state).toBe('succeeded');
    expect(done.result && 'history' in done.result && done.result.history).toHaveLength(2);
  }, 60_000);

  it('with a deadline that has passed is refused, and exits 2 or 1 on the command line', async () => {
    await expect(
      cw.jobs.create({
        kind: 'evaluate',
        config: { model: 'acme/digits', dataset: 'digits' },
        schedule: { deadline: '2020-01-01T00:00:00Z' },
      }),
    ).rejects.toMatchObject({ status: 400, message: expect.stringContaining('is past') });
    const asked = ['evaluate', 'acme/digits', '--dataset', 'digits'];
    expect((await cli(...asked, '--deadline', 'tomorrow')).code).toBe(2);
    expect((await cli(...asked, '--deadline', '2020-01-01')).code).toBe(1);
  });
});
