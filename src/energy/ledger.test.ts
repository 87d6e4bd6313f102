import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { configSchema } from '../config.ts';
import { type Db, openDatabase } from '../storage/db.ts';
import { readBasis } from './basis.ts';
import type { ModelUse, WorkContext } from './energy.ts';
import { Host } from './host.ts';
import { Ledger } from './ledger.ts';
import { CpuTimeMeter } from './meters/cpu-time.ts';
import type { SpoolDisk } from './spool.ts';

const acme = { organisationId: 'o1', organisation: 'acme' };
const globex = { organisationId: 'o2', organisation: 'globex' };
const digits: ModelUse = { modelId: 'm1', model: 'acme/digits', version: 1, owner: acme };
const runnerPid = 4242;
const jobPid = 4343;

/** Requests of a grant, as a limit begins to count them. */
async function requestsOf(ledger: Ledger, grantId: string, sinceMs: number): Promise<number> {
  const { unsettled, settled } = ledger.readUsage({ subject: { grantId }, sinceMs, byModel: false });
  const inferences = unsettled.reduce((sum, { requests }) => sum + requests, 0);
  const calls = new Set(unsettled.flatMap(({ call }) => call ?? []));
  const [rest] = (await settled) ?? [];
  if (!rest) throw new Error('an interval closed meanwhile');
  return rest.requests + inferences + calls.size;
}

/** A host whose clock and counters the test turns by hand: 4 CPUs, 1 GB, 10 to 50 W. */
async function house(folder = mkdtempSync(join(tmpdir(), 'ledger-')), startS = 1000, file?: string) {
  const proc = join(folder, 'proc');
  const errors: string[] = [];
  const ticks = { host: 0, runner: 0, job: 0 };
  let seconds = startS;
  const write = () => {
    mkdirSync(join(proc, String(runnerPid)), { recursive: true });
    mkdirSync(join(proc, String(jobPid)), { recursive: true });
    writeFileSync(
      join(proc, 'stat'),
      `cpu  ${ticks.host} 0 0 99 0 0 0 0 0 0\ncpu0 0\ncpu1 0\ncpu2 0\ncpu3 0\n`,
    );
    writeFileSync(join(proc, 'meminfo'), 'MemTotal:  1000000 kB\n');
    for (const [pid, used] of [
      [runnerPid, ticks.runner],
      [jobPid, ticks.job],
    ] as const) {
      const fields = ['S', ...Array(10).fill('0'), String(used), '0', ...Array(6).fill('0'), '77'];
      writeFileSync(join(proc, String(pid), 'stat'), `${pid} (a (b) c) ${fields.join(' ')} 0\n`);
      writeFileSync(join(proc, String(pid), 'status'), 'Name: x\nVmRSS:  100000 kB\n');
    }
  };
  write();
  const host = new Host({ procRoot: proc });
  const config = configSchema.parse({ energy: { zone: 'DEU', idleW: 10, maxW: 50, pue: 1.2, wueOnSite: 1 } });
  const basis = await readBasis(config.energy, host);
  const db = await openDatabase(file ?? join(folder, 'commonwatt.db'));
  const clock = { now: () => Math.round(seconds * 1000), monotonic: () => seconds };
  const open = async (disk?: SpoolDisk, loopUse = () => 0) => {
    const watts = { idleW: 10, maxW: 50, assumed: false };
    const meter = new CpuTimeMeter({ watts, cpu: () => host.cpu(), clock: clock.monotonic });
    const ledger = new Ledger({
      db,
      host,
      chosen: { meter, fallback: meter, watts, reason: null },
      idleIsConfigured: true,
      basis,
      dataFolder: folder,
      log: { info() {}, warn() {}, error: (_: object, message: string) => errors.push(message) },
      clock,
      manual: true,
      loopUse,
      ...(disk ? { disk } : {}),
    });
    await ledger.start();
    return ledger;
  };
  return {
    folder,
    db,
    open,
    clock,
    errors,
    /** Time passes, CPUs work (in hundredths of a second). */
    pass(duration: number, { runner = 0, job = 0, other = 0 } = {}) {
      seconds += duration;
      ticks.runner += runner;
      ticks.job += job;
      ticks.host += runner + job + other;
      write();
    },
  };
}

let sequence = 0;
function context(overrides: Partial<WorkContext> = {}): WorkContext {
  return {
    kind: 'inference',
    requestId: `req${String(sequence++).padStart(8, '0')}`,
    consumer: globex,
    keyId: 'k1',
    grantId: 'g1',
    jobId: null,
    ...overrides,
  };
}

const batch = (contexts: WorkContext[], computeNs = 1e6) => ({
  use: digits,
  runnerPid,
  computeNs,
  items: contexts.map((each) => ({ context: each, rows: 1 })),
});

async function checkConservation(db: Db) {
  const intervals = await db.selectFrom('ledger_intervals').selectAll().execute();
  for (const interval of intervals) {
    const { energy, carbon, embodied, water } = await db
      .selectFrom('ledger_entries')
      .where('interval_id', '=', interval.id)
      .select(({ fn }) => [
        fn.sum<number>('energy_j').as('energy'),
        fn.sum<number>('carbon_g').as('carbon'),
        fn.sum<number>('embodied_g').as('embodied'),
        fn.sum<number>('water_l').as('water'),
      ])
      .executeTakeFirstOrThrow();
    for (const [sum, total] of [
      [energy, interval.energy_j],
      [carbon, interval.carbon_g],
      [embodied, interval.embodied_g],
      [water, interval.water_l ?? 0],
    ] as const) {
      expect(Math.abs(sum - total)).toBeLessThanOrEqual(1e-9 * total);
    }
  }
  return intervals;
}

/** The grid's, from what was booked: carbon / (energy · PUE). */
const gPerKwh = (row?: { carbon_g: number; energy_j: number }) =>
  row ? row.carbon_g / ((row.energy_j / 3.6e6) * 1.2) : Number.NaN;

/** This process is the gateway: it computes for this long, more than its housekeeping. */
function burn(milliseconds = 12) {
  const start = process.cpuUsage();
  while (process.cpuUsage(start).user < milliseconds * 1000);
}

const requests = (db: Db) =>
  db.selectFrom('ledger_entries').where('kind', '=', 'inference').selectAll().orderBy('id').execute();

describe('the ledger', () => {
  it('books what reuse avoids beside what was used, and the meter still adds up', async () => {
    const { db, open, pass, folder } = await house();
    const ledger = await open();
    ledger.setReservations([{ use: digits, runnerPid, memoryBytes: 100_000_000 }]);
    const computed = context();
    const [used] = ledger.recordBatch(batch([computed], 2e6));
    const reusers = [context(), context(), context({ consumer: acme, grantId: null })];
    const items = reusers.map((each, index) => ({
      context: each,
      rows: index === 1 ? 3 : 1,
      computeNs: 2e6,
    }));
    const footprints = ledger.recordAvoided({ use: digits, items });
    expect(ledger.recordAvoided({ use: digits, items: [] })).toEqual([]);
    for (const footprint of footprints) {
      // Its own part of the gateway, nothing computed.
      expect(footprint.dynamicJ).toBeGreaterThan(0);
      expect(footprint.dynamicJ).toBeLessThan(used?.dynamicJ ?? 0);
      expect(footprint.settled).toBe(false);
    }
    expect(await requestsOf(ledger, 'g1', 0)).toBe(3);
    burn();
    pass(1, { runner: 10, other: 20 });
    await ledger.settle();
    await checkConservation(db);
    const rows = new Map((await requests(db)).map((row) => [row.id, row]));
    const avoided = reusers.map(({ requestId }) => rows.get(requestId));
    // 2 ms of one CPU at (50 − 10) / 4 W, as it was priced when the answers left.
    for (const row of avoided) {
      expect(row?.avoided_j).toBeCloseTo(0.02, 9);
      expect(row?.avoided_g).toBeCloseTo(((row?.avoided_j ?? 0) / 3.6e6) * 1.2 * gPerKwh(row), 12);
      expect(row?.energy_j).toBeGreaterThan(0);
    }
    expect(avoided.map((row) => row?.rows)).toEqual([1, 3, 1]);
    expect(rows.get(computed.requestId)?.avoided_j).toBe(0);
    expect(await requestsOf(ledger, 'g1', 0)).toBe(3);
    expect(readdirSync(join(folder, 'spool'))).toEqual([]);
  });

  it('recovers what reuse avoided after a kill, too', async () => {
    const before = await house();
    const killed = await before.open();
    killed.recordBatch(batch([context()]));
    before.pass(0.2);
    const each = context();
    killed.recordAvoided({ use: digits, items: [{ context: each, rows: 1, computeNs: 1e6 }] });
    const after = await house(before.folder, 1100);
    await after.open();
    await checkConservation(after.db);
    const row = (await requests(after.db)).find(({ id }) => id === each.requestId);
    expect(row?.avoided_j).toBeCloseTo(0.01, 9);
    expect(row?.avoided_g).toBeGreaterThan(0);
  });

  it('prices an answer at once and settles it under the same id', async () => {
    const { db, open, pass } = await house();
    const ledger = await open();
    ledger.setReservations([{ use: digits, runnerPid, memoryBytes: 100_000_000 }]);
    const mine = context();
    const [footprint] = ledger.recordBatch(batch([mine, context()]));
    expect(footprint).toMatchObject({ settled: false, quality: 'estimated', method: 'cpu-time' });
    expect(footprint?.energyJ).toBeGreaterThan(0);
    pass(1, { runner: 50, other: 50 });
    await ledger.settle();
    const settled = await requests(db);
    expect(settled.map(({ id }) => id)).toContain(mine.requestId);
    // 1 busy CPU·s of 4 in 1 s: 20 J, of which 10 J idle; half of the busy time was the runner's: 2.5 J each.
    expect(settled[0]?.energy_j).toBeGreaterThanOrEqual(2.5 * 0.9);
    const [interval] = await checkConservation(db);
    expect(interval).toMatchObject({ energy_j: 20, quality: 'estimated', method: 'cpu-time' });
  });

  it('keeps every figure through a kill: a torn last line was never acknowledged, all others are booked once', async () => {
    const home = await house();
    const killed = await home.open();
    killed.setReservations([{ use: digits, runnerPid, memoryBytes: 100_000_000 }]);
    const acknowledged = Array.from({ length: 5 }, () => context());
    for (const each of acknowledged) {
      home.pass(0.1);
      killed.recordBatch(batch([each]));
    }
    const [segment = ''] = readdirSync(join(home.folder, 'spool'));
    appendFileSync(join(home.folder, 'spool', segment), '["torn",12');
    home.pass(60);
    await home.open();
    expect((await requests(home.db)).map(({ id }) => id)).toEqual(
      acknowledged.map(({ requestId }) => requestId),
    );
    const [interval] = await checkConservation(home.db);
    expect(interval?.method).toBe('recovered after a crash');
    // The assumptions stand where those of any other interval do.
    expect(JSON.parse(interval?.basis ?? '')).toMatchObject({
      pue: { value: expect.any(Number), assumed: expect.any(Boolean) },
      intensity: { value: interval?.intensity_g_per_kwh },
      cpuCount: expect.any(Number),
    });
    const lost = await home.db
      .selectFrom('ledger_entries')
      .where('kind', '=', 'unattributed')
      .selectAll()
      .execute();
    expect(lost.length).toBe(1);
    // Idle power of at most the half second that was metered, not of the minute the server was away.
    expect(lost[0]?.energy_j).toBeLessThanOrEqual(5.0001);
    expect(readdirSync(join(home.folder, 'spool'))).toEqual([]);
  });

  it('books a segment once that was settled before the kill but not deleted yet', async () => {
    const home = await house();
    const first = await home.open();
    first.recordBatch(batch([context()]));
    const spool = join(home.folder, 'spool');
    const [segment = ''] = readdirSync(spool);
    const text = readFileSync(join(spool, segment));
    home.pass(1, { runner: 1 });
    await first.settle();
    const before = await home.db.selectFrom('ledger_entries').selectAll().execute();
    writeFileSync(join(spool, segment), text);
    await home.open();
    expect(await home.db.selectFrom('ledger_entries').selectAll().execute()).toEqual(before);
  });

  it('says in a report what could not be booked yet, and has it when it could', async () => {
    const home = await house();
    let failing = true;
    const { writeSync } = await import('node:fs');
    const ledger = await home.open({
      write: writeSync,
      sync: async () => {
        if (failing) throw new Error('EIO: i/o error');
      },
    });
    const at = (ms: number) => new Date(home.clock.now() + ms);
    const window = { from: at(-60_000), to: at(60_000) };
    const reported = async () => {
      const { consumption, notes } = await ledger.report(reportHost, {
        ...window,
        groupBy: [],
        scope: 'all',
      });
      return {
        requests: consumption.requests,
        late: notes.filter((note) => note.includes('not in these figures')),
      };
    };
    const config = configSchema.parse({ energy: { zone: 'DEU', idleW: 10, maxW: 50 } });
    const reportHost: Parameters<Ledger['report']>[0] = {
      basis: await readBasis(config.energy, { cpuCount: 4, memoryBytes: 1e9 }),
      idleW: 10,
      maxW: 50,
      cpuCount: 4,
      memoryBytes: 1e9,
      uncertainty: 0.4,
      quality: 'estimated',
      method: 'cpu-time',
      methodVersion: '1',
      memoryOfModels: {},
    };
    ledger.recordBatch(batch([context(), context()]));
    home.pass(1, { runner: 1 });
    expect(await reported()).toEqual({
      requests: 0,
      late: [expect.stringMatching(/^2 entries are not in these figures yet, and will be: /)],
    });
    failing = false;
    home.pass(1);
    // The spool is written anew before anything is trusted again.
    ledger.tick();
    expect(await reported()).toEqual({ requests: 2, late: [] });
  });

  it('acknowledges nothing that a full disk did not take, and goes on when there is room', async () => {
    const home = await house();
    let full = false;
    const { writeSync } = await import('node:fs');
    const ledger = await home.open({
      write: (fd, text) => {
        if (full) throw new Error('ENOSPC: no space left on device');
        return writeSync(fd, text);
      },
      sync: async () => {},
    });
    ledger.recordBatch(batch([context()]));
    full = true;
    expect(() => ledger.recordBatch(batch([context()]))).toThrow(/cannot be written/);
    full = false;
    expect(() => ledger.recordBatch(batch([context()]))).toThrow(/cannot be written/);
    ledger.tick();
    ledger.recordBatch(batch([context()]));
    home.pass(1);
    await ledger.settle();
    expect((await requests(home.db)).length).toBe(2);
    await checkConservation(home.db);
  });

  it('stops acknowledging after a failed sync until the spool was written anew and verified', async () => {
    const home = await house();
    let broken = true;
    const { writeSync } = await import('node:fs');
    const ledger = await home.open({
      write: (fd, text) => writeSync(fd, text),
      sync: async () => {
        if (broken) throw new Error('EIO: i/o error');
      },
    });
    ledger.recordBatch(batch([context()]));
    home.pass(1);
    await ledger.settle();
    expect(() => ledger.recordBatch(batch([context()]))).toThrow(/EIO/);
    broken = false;
    expect(await requests(home.db)).toEqual([]);
    ledger.tick();
    expect(() => ledger.recordBatch(batch([context()]))).not.toThrow();
    home.pass(1);
    await ledger.settle();
    expect((await requests(home.db)).length).toBe(2);
    expect(readdirSync(join(home.folder, 'spool'))).toEqual([]);
  });

  it('counts nothing of a segment that was being written anew when the server was killed', async () => {
    const home = await house();
    const killed = await home.open();
    killed.recordBatch(batch([context()]));
    const spool = join(home.folder, 'spool');
    const [segment = ''] = readdirSync(spool);
    writeFileSync(join(spool, `${segment}.new`), readFileSync(join(spool, segment)));
    await home.open();
    expect((await requests(home.db)).length).toBe(1);
    expect(readdirSync(spool)).toEqual([]);
  });

  it('lets closed intervals wait while requests keep it busy, counts them, and settles them after a minute', async () => {
    const home = await house();
    const ledger = await home.open(undefined, () => 0.9);
    for (let second = 0; second < 59; second++) {
      ledger.recordBatch(batch([context()]));
      home.pass(1, { runner: 1 });
      ledger.tick();
    }
    expect(await requests(home.db)).toEqual([]);
    expect(await requestsOf(ledger, 'g1', 0)).toBe(59);
    home.pass(2);
    ledger.tick();
    await ledger.settle();
    expect((await requests(home.db)).length).toBe(59);
    expect(await requestsOf(ledger, 'g1', 0)).toBe(59);
    await checkConservation(home.db);
  });

  it('books every waiting interval once after a kill, and counts an explanation across two of them once', async () => {
    const home = await house();
    const killed = await home.open(undefined, () => 0.9);
    const explained = context({ kind: 'explanation' });
    for (let second = 0; second < 3; second++) {
      killed.recordBatch(batch([context(), explained, explained]));
      home.pass(1, { runner: 1 });
      killed.tick();
    }
    expect(await requestsOf(killed, 'g1', 0)).toBe(4);
    const restarted = await home.open();
    expect((await requests(home.db)).length).toBe(3);
    expect(await requestsOf(restarted, 'g1', 0)).toBe(4);
    const intervals = await checkConservation(home.db);
    // Each segment ends with what the meter said of its interval (10 W idle + .1 J), so nothing is priced by guess.
    expect(intervals.map(({ method, energy_j }) => [method, energy_j])).toEqual(
      Array(3).fill(['cpu-time', expect.closeTo(10.1, 9)]),
    );
  });

  it('settles many requests in a worker, over a connection of its own, to the same figures', async () => {
    const home = await house();
    const ledger = await home.open();
    ledger.setReservations([{ use: digits, runnerPid, memoryBytes: 100_000_000 }]);
    const mine: string[] = [];
    for (let index = 0; index < 100; index++) {
      const contexts = Array.from({ length: 1 + (index % 50) }, () => context());
      ledger.recordBatch(batch(contexts));
      mine.push(...contexts.map(({ requestId }) => requestId));
    }
    home.pass(1, { runner: 90, other: 50 });
    // Others write meanwhile.
    const settling = ledger.settle();
    for (let index = 0; index < 20; index++) {
      await home.db
        .insertInto('settings')
        .values({ name: `s${index}`, value: '' })
        .execute();
    }
    await settling;
    const booked = await requests(home.db);
    expect(booked.map(({ id }) => id)).toEqual(mine);
    // Every batch has the same computing time, and the runner .9 CPU·s in all.
    const cpuS = booked.reduce((sum, { cpu_s }) => sum + cpu_s, 0);
    expect(cpuS).toBeGreaterThan(0.9 - 1e-9);
    // Had the worker failed, the work would have been done here, and said so.
    expect(home.errors).toEqual([]);
    const [interval] = await checkConservation(home.db);
    expect(interval?.method).toBe('cpu-time');
    expect(await requestsOf(ledger, 'g1', 0)).toBe(mine.length);
    await ledger.stop();
  });

  it('books what a runner does for nobody, such as loading a model, as overhead', async () => {
    const home = await house();
    const ledger = await home.open();
    ledger.setReservations([], [runnerPid]);
    home.pass(1, { runner: 50 });
    await ledger.settle();
    const overhead = await home.db
      .selectFrom('ledger_entries')
      .select(['kind', 'cpu_s', 'consumer_id'])
      .where('note', '=', 'runners')
      .execute();
    expect(overhead).toEqual([{ kind: 'overhead', cpu_s: expect.closeTo(0.5, 9), consumer_id: null }]);
    await checkConservation(home.db);
    await ledger.stop();
  });

  it('settles here when its thread cannot be used', async () => {
    const home = await house(undefined, undefined, ':memory:');
    const ledger = await home.open();
    ledger.recordBatch(batch(Array.from({ length: 300 }, () => context())));
    home.pass(1, { runner: 10 });
    await ledger.settle();
    expect((await requests(home.db)).length).toBe(300);
    expect(home.errors).toEqual(['the thread of the ledger has ended; going on without it']);
    await checkConservation(home.db);
  });

  it('gives a job the CPU time of its process, interval by interval, and its total at the end', async () => {
    const home = await house();
    const ledger = await home.open();
    const meter = ledger.meterJob({
      context: context({ kind: 'training', jobId: 'job1', requestId: 'job1' }),
      pid: jobPid,
      use: null,
    });
    home.pass(1, { job: 100 });
    expect(meter.soFar().dynamicJ).toBeCloseTo(10, 6);
    await ledger.settle();
    home.pass(1, { job: 50 });
    const total = await meter.finish(2);
    // 2 CPU·s told by the process itself, at 10 J each or a little less where the host's counter lags.
    expect(total.settled).toBe(true);
    expect(total.dynamicJ).toBeGreaterThan(14);
    const booked = await home.db
      .selectFrom('ledger_entries')
      .where('job_id', '=', 'job1')
      .select(({ fn }) => [fn.sum<number>('energy_j').as('energy'), fn.sum<number>('cpu_s').as('cpu')])
      .executeTakeFirstOrThrow();
    expect(booked.energy).toBeCloseTo(total.energyJ, 9);
    expect(booked.cpu).toBeCloseTo(2, 9);
    await checkConservation(home.db);
  });

  it('counts the requests of a grant, settled or not, an explanation with many model calls as one', async () => {
    const home = await house();
    const ledger = await home.open();
    const explained = context({ kind: 'explanation' });
    ledger.recordBatch(batch([context(), context({ grantId: null })]));
    // Its calls are numbered.
    ledger.recordBatch(batch([explained, { ...explained, requestId: `${explained.requestId}.1` }]));
    expect(await requestsOf(ledger, 'g1', 0)).toBe(2);
    home.pass(1);
    await ledger.settle();
    ledger.recordBatch(batch([context()]));
    expect(await requestsOf(ledger, 'g1', 0)).toBe(3);
    expect(await requestsOf(ledger, 'g1', home.clock.now() + 1)).toBe(0);
    expect(await requestsOf(ledger, 'g2', 0)).toBe(0);
  });

  it('conserves every joule over random schedules of requests, jobs, quiet and other processes', async () => {
    const home = await house();
    const ledger = await home.open();
    const step = fc.record({
      requests: fc.integer({ min: 0, max: 5 }),
      computeNs: fc.integer({ min: 0, max: 1e9 }),
      seconds: fc.double({ min: 0.01, max: 30, noNaN: true }),
      runner: fc.integer({ min: 0, max: 200 }),
      other: fc.integer({ min: 0, max: 200 }),
      job: fc.integer({ min: 0, max: 200 }),
      reserved: fc.integer({ min: 0, max: 2_000_000_000 }),
      reused: fc.integer({ min: 0, max: 3 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 6 }), async (steps) => {
        const job = ledger.meterJob({ context: context({ kind: 'training' }), pid: jobPid, use: null });
        for (const { requests: count, computeNs, seconds, reserved, reused, ...used } of steps) {
          ledger.setReservations([{ use: digits, runnerPid, memoryBytes: reserved }]);
          if (count > 0)
            ledger.recordBatch(
              batch(
                Array.from({ length: count }, () => context()),
                computeNs,
              ),
            );
          const items = Array.from({ length: reused }, () => ({ context: context(), rows: 2, computeNs }));
          ledger.recordAvoided({ use: digits, items });
          home.pass(seconds, used);
          await ledger.settle();
        }
        await job.finish();
      }),
      { numRuns: 15, endOnFailure: true },
    );
    await ledger.stop();
    const intervals = await checkConservation(home.db);
    expect(intervals.length).toBeGreaterThan(10);
  });
});
