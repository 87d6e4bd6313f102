/**
 * What the ledger says of jobs that came to nothing, before the real program: all their lines, those of intervals long
 * settled too, and goodput without them.
 */
import { rmSync } from 'node:fs';
import { Commonwatt, type Job } from '@commonwatt/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openDatabase } from '../../src/storage/db.ts';
import { type ExampleServer, startExampleServer } from './server.ts';

let server: ExampleServer;
let owner: Commonwatt;
const clientOf = ({ baseUrl, example }: ExampleServer) =>
  new Commonwatt({ baseUrl, apiKey: example.owner.apiKey });

beforeAll(async () => {
  server = await startExampleServer();
  owner = clientOf(server);
}, 120_000);
afterAll(() => server.stop({ keep: false }));

const layers = [{ type: 'dense' as const, units: 1, activation: 'sigmoid' as const }];
const training = (epochs: number) => ({
  kind: 'train' as const,
  config: { dataset: 'digits', epochs, layers },
});
const batch = { kind: 'batch' as const, config: { model: 'acme/digits', dataset: 'digits' } };

/** As often as each was booked. */
async function outcomesOf(job: Job): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for await (const { outcome } of owner.ledger.lines({ job: job.id }))
    counts[outcome] = (counts[outcome] ?? 0) + 1;
  return counts;
}

/** A key of its own, under a hard budget. */
async function limited(unit: 'rows' | 'energyWh', amount: number, stopsJobs: boolean): Promise<Commonwatt> {
  const { id, apiKey } = await owner.keys.create({ name: `at most ${amount} ${unit}` });
  const subject = { kind: 'key' as const, name: id };
  await owner.budgets.set({ subject, unit, amount, period: 'month', mode: 'hard', stopsJobs });
  return new Commonwatt({ baseUrl: server.baseUrl, apiKey });
}

/** Begun, with lines in intervals that are settled already. */
async function underWay(asked: Job): Promise<void> {
  await expect
    .poll(async () => (await outcomesOf(asked)).finished ?? 0, { timeout: 30_000 })
    .toBeGreaterThan(1);
}

describe('lines of a job', () => {
  it('that came to its end are finished', async () => {
    const job = await owner.jobs.wait((await owner.jobs.create(training(2))).id);
    expect(job.state).toBe('succeeded');
    expect(Object.keys(await outcomesOf(job))).toEqual(['finished']);
  }, 60_000);

  it('that was cancelled are aborted, those of settled intervals too', async () => {
    const job = await owner.jobs.create(training(10_000));
    await underWay(job);
    await owner.jobs.cancel(job.id);
    expect((await owner.jobs.wait(job.id)).state).toBe('cancelled');
    const outcomes = await outcomesOf(job);
    expect(Object.keys(outcomes)).toEqual(['aborted']);
    expect(outcomes.aborted).toBeGreaterThan(1);
  }, 60_000);

  it('that failed are failed, and said to be again if the server ended before it could say so', async () => {
    const cw = await limited('energyWh', 1e-9, true);
    const job = await cw.jobs.create(training(10_000));
    await expect
      .poll(
        async () => {
          await owner.impact();
          return (await cw.jobs.get(job.id)).state;
        },
        { timeout: 30_000 },
      )
      .toBe('failed');
    expect(Object.keys(await outcomesOf(job))).toEqual(['failed']);

    await server.stop({ keep: true });
    const db = await openDatabase(`${server.dataFolder}/commonwatt.db`);
    await db.updateTable('ledger_heads').set({ outcome: 'finished' }).where('job_id', '=', job.id).execute();
    await db.destroy();
    const { dataFolder } = server;
    server = await startExampleServer({ dataFolder });
    owner = clientOf(server);
    await expect.poll(async () => Object.keys(await outcomesOf(job))).toEqual(['failed']);
  }, 90_000);

  it('of many rows that failed in its middle are failed: nobody has the rows that were computed', async () => {
    const cw = await limited('rows', 500, false);
    const job = await cw.jobs.wait((await cw.jobs.create(batch)).id);
    expect(job).toMatchObject({ state: 'failed', error: { code: 'LIMIT_EXCEEDED' } });
    expect(Object.keys(await outcomesOf(job))).toEqual(['failed']);
  }, 60_000);
});

describe('goodput', () => {
  it('is the CPU time of lines that were of use', async () => {
    const { from, to, rur, supply } = await owner.impact();
    const { dataFolder } = server;
    await server.stop({ keep: true });
    const db = await openDatabase(`${dataFolder}/commonwatt.db`);
    const lines = await db
      .selectFrom('ledger_entries')
      .where('at_ms', '>=', Date.parse(from))
      .where('at_ms', '<', Date.parse(to))
      .select(['kind', 'outcome', 'cpu_s', 'job_id'])
      .execute();
    await db.destroy();
    rmSync(dataFolder, { recursive: true });
    const works = lines.filter(({ kind }) =>
      ['inference', 'explanation', 'evaluation', 'training'].includes(kind),
    );
    const sum = (of: typeof lines) => of.reduce((all, { cpu_s }) => all + cpu_s, 0);
    const useful = sum(works.filter(({ outcome }) => outcome === 'finished' || outcome === 'cached'));
    expect(sum(works) - useful).toBeGreaterThan(0.1);
    expect(rur.goodput.usedOverSupplied).toBeCloseTo(useful / (supply.cpuSeconds ?? Number.NaN), 9);
    expect(rur.goodput.partOfUsed).toBeCloseTo(useful / sum(works), 6);
  }, 60_000);
});
