/** What meters, clocks and runners tell that cannot be true: labelled, bounded or refused, and the totals hold. */
import { mkdtempSync, readdirSync, writeSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { configSchema } from '../config.ts';
import { type Db, openDatabase } from '../storage/db.ts';
import { readBasis } from './basis.ts';
import type { ModelUse, WorkContext } from './energy.ts';
import { Host } from './host.ts';
import { Ledger } from './ledger.ts';
import type { LedgerOptions } from './ledger-options.ts';
import { CpuTimeMeter } from './meters/cpu-time.ts';
import { type Meter, type MeterReading, within } from './meters/meter.ts';
import { residualRatio } from './residual.ts';
import { SettlingWindows } from './settling.ts';
import { readEarlierWindows } from './settling-store.ts';
import { joules } from './units.ts';
import type { Settlement } from './unsettled.ts';

const acme = { organisationId: 'o1', organisation: 'acme' };
const digits: ModelUse = { modelId: 'm1', model: 'acme/digits', version: 1, owner: acme };
const undo: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

/** A meter that tells whatever it is told to tell, on this machine. */
async function house(options: Partial<LedgerOptions> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'ledger-faults-'));
  const db = await openDatabase(join(folder, 'commonwatt.db'));
  const host = new Host();
  const time = { wallMs: 1_000_000, monotonicS: 1000 };
  const told: { next: MeterReading } = { next: { missing: 'just started' } };
  const watts = { idleW: 10, maxW: 50, assumed: false };
  const clock = { now: () => time.wallMs, monotonic: () => time.monotonicS };
  const fallback = new CpuTimeMeter({ watts, cpu: () => host.cpu(), clock: clock.monotonic });
  const meter: Meter = {
    name: 'told',
    quality: 'measured',
    methodVersion: '1',
    description: 'told by the test',
    covers: 'machine',
    interval: within(0.05),
    uncertainty: 0.05,
    read: () => told.next,
  };
  const settlements: Settlement[] = [];
  const errors: string[] = [];
  const config = configSchema.parse({ energy: { zone: 'DEU', pue: 1.2, wueOnSite: 1 } });
  const ledger = new Ledger({
    db,
    host,
    chosen: { meter, fallback, watts, reason: null },
    idleIsConfigured: true,
    basis: await readBasis(config.energy, host),
    dataFolder: folder,
    log: { info() {}, warn() {}, error: (_, message) => errors.push(message) },
    clock,
    manual: true,
    onSettled: (settlement) => settlements.push(settlement),
    ...options,
  });
  await ledger.start();
  undo.push(async () => {
    await ledger.stop();
    await db.destroy();
  });
  return {
    ledger,
    db,
    settlements,
    errors,
    folder,
    /** Time passes, and nobody looks. */
    pause(seconds: number) {
      time.monotonicS += seconds;
      time.wallMs += seconds * 1000;
    },
    /** A second passes, and the ledger looks whether it is time to close the interval. */
    async tick(seconds = 1) {
      time.monotonicS += seconds;
      time.wallMs += seconds * 1000;
      told.next = sample(30 * seconds);
      ledger.tick();
      await sleep(30);
    },
    /** Time passes by both clocks, the wall clock is set besides, and the meter tells this. */
    async pass(seconds: number, reading: MeterReading, { setS = 0 } = {}) {
      time.monotonicS += seconds;
      time.wallMs += Math.round((seconds + setS) * 1000);
      told.next = reading;
      await ledger.settle();
    },
  };
}

let count = 0;
const context = (): WorkContext => ({
  kind: 'inference',
  requestId: `r${String(count++).padStart(6, '0')}`,
  consumer: acme,
  keyId: 'k1',
  grantId: null,
  jobId: null,
  ...({ memberId: null } as object),
});
const batch = (computeNs: number, size = 1) => ({
  use: digits,
  runnerPid: 999_999,
  computeNs,
  items: Array.from({ length: size }, () => ({ context: context(), rows: 1 })),
});
const sample = (energyJ: number, acceleratorJ?: number): MeterReading => ({
  energyJ: joules(energyJ),
  ...(acceleratorJ === undefined ? {} : { acceleratorJ: joules(acceleratorJ), acceleratorIdleW: 1 }),
});

async function intervals(db: Db) {
  const rows = await db.selectFrom('ledger_intervals').selectAll().orderBy('id').execute();
  return rows.map((row) => ({ ...row, basis: JSON.parse(row.basis) }));
}

/** From the database, as anybody could. */
async function worstResidual(db: Db) {
  let worst = 0;
  for (const { id, energy_j, carbon_g, embodied_g, water_l } of await intervals(db)) {
    const lines = await db.selectFrom('ledger_entries').where('interval_id', '=', id).selectAll().execute();
    const entries = lines.map((line) => ({
      ids: [line.id],
      energyJ: line.energy_j,
      carbonG: line.carbon_g,
      embodiedG: line.embodied_g,
      waterL: line.water_l,
      allocated: {
        energyJ: line.allocated_j ?? 0,
        carbonG: line.allocated_g ?? 0,
        embodiedG: line.allocated_embodied_g ?? 0,
      },
    }));
    worst = Math.max(
      worst,
      residualRatio(entries as never, { energy_j, carbon_g, embodied_g, water_l: water_l ?? null }),
    );
  }
  return worst;
}

describe('a ledger that is told what cannot be true', () => {
  it.each([
    ['no number', sample(Number.NaN), /NaN/],
    ['a negative energy', sample(-3), /backwards/],
    ['a jump that no host draws', sample(1e15), /more than any host/],
    ['nothing', { missing: 'unplugged' }, /unplugged/],
  ])('takes the estimate for a meter that tells %s, and says so', async (_, reading, reason) => {
    const home = await house();
    home.ledger.recordBatch(batch(1e6));
    await home.pass(1, reading);
    const [row] = await intervals(home.db);
    expect(row).toMatchObject({ method: 'cpu-time', quality: 'estimated' });
    expect(row?.basis.missing).toMatch(reason);
    expect(row?.energy_j).toBeGreaterThanOrEqual(10);
    expect(row?.energy_j).toBeLessThanOrEqual(50);
  });

  it('keeps the length of an interval when the wall clock is set, back or forth, and says by how much', async () => {
    const home = await house();
    await home.pass(2, sample(30), { setS: -7200 });
    await home.pass(3, sample(45), { setS: 3600 });
    await home.pass(1, sample(15));
    const rows = await intervals(home.db);
    expect(rows.map(({ start_ms, end_ms }) => end_ms - start_ms)).toEqual([2000, 3000, 1000]);
    expect(rows.map(({ basis }) => basis.bounded?.[0] ?? null)).toEqual([
      expect.stringMatching(/set by -7200 s/),
      expect.stringMatching(/set by 3600 s/),
      null,
    ]);
    expect(rows.reduce((sum, { energy_j }) => sum + energy_j, 0)).toBe(90);
  });

  it('bounds accelerators that tell more than the host, and keeps their part beside the whole', async () => {
    const home = await house();
    home.ledger.recordBatch(batch(1e6));
    await home.pass(1, sample(30, 12));
    home.ledger.recordBatch(batch(1e6));
    await home.pass(1, sample(30, 500));
    const rows = await intervals(home.db);
    expect(rows.map(({ accelerator_j }) => accelerator_j)).toEqual([12, 30]);
    expect(rows[1]?.basis.bounded).toEqual([expect.stringMatching(/more than the whole host/)]);
  });

  it('prices and books a runner that tells an impossible time without an impossible figure', async () => {
    const home = await house();
    for (const computeNs of [Number.NaN, -1, Number.POSITIVE_INFINITY, 1e300]) {
      const [footprint] = home.ledger.recordBatch(batch(computeNs));
      expect(footprint?.energyJ).toBeGreaterThanOrEqual(0);
      expect(footprint?.energyJ).toBeLessThan(86_400 * 50);
    }
    await home.pass(1, sample(30));
    expect(await worstResidual(home.db)).toBeLessThanOrEqual(1e-9);
  });

  it('adds up whatever meters, clocks and runners tell', async () => {
    const home = await house();
    const odd = fc.constantFrom(
      Number.NaN,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      -1,
      0,
      1e-300,
      1e300,
    );
    const energy = fc.oneof({ weight: 2, arbitrary: fc.double({ min: 0, max: 500, noNaN: true }) }, odd);
    const step = fc.record({
      seconds: fc.oneof(fc.double({ min: 1e-3, max: 30, noNaN: true }), fc.constant(0)),
      setS: fc.constantFrom(0, 0, 0, -3600, 3600, 86_400, -0.5),
      energyJ: energy,
      acceleratorJ: fc.option(energy, { nil: undefined }),
      computeNs: fc.oneof(fc.double({ min: 0, max: 1e9, noNaN: true }), odd),
      size: fc.integer({ min: 0, max: 4 }),
      reserved: fc.oneof(fc.integer({ min: 0, max: 1e12 }), odd),
      missing: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 5 }), async (steps) => {
        for (const { seconds, setS, energyJ, acceleratorJ, computeNs, size, reserved, missing } of steps) {
          home.ledger.setReservations([{ use: digits, runnerPid: 999_999, memoryBytes: reserved }]);
          if (size > 0) home.ledger.recordBatch(batch(computeNs, size));
          await home.pass(seconds, missing ? { missing: 'unplugged' } : sample(energyJ, acceleratorJ), {
            setS,
          });
        }
      }),
      { numRuns: 40, endOnFailure: true },
    );
    await home.pass(1, sample(20));
    expect(home.errors).toEqual([]);
    expect(readdirSync(join(home.folder, 'spool'))).toEqual([]);
    expect(await worstResidual(home.db)).toBeLessThanOrEqual(1e-9);
    expect(Math.max(...home.settlements.map((each) => each.residualRatio))).toBeLessThanOrEqual(1e-9);
    const figures = await intervals(home.db);
    expect(figures.length).toBeGreaterThan(20);
    for (const { energy_j, carbon_g, start_ms, end_ms } of figures) {
      expect(Number.isFinite(energy_j) && energy_j >= 0 && Number.isFinite(carbon_g)).toBe(true);
      expect(end_ms).toBeGreaterThanOrEqual(start_ms);
    }
  });
});

describe('an interval', () => {
  it('says where it was and what the grid was like in its own time', async () => {
    const grid = {
      zone: 'DEU',
      over: (startMs: number, endMs: number) => ({
        zone: 'DEU',
        value: (startMs + endMs) / 20_000,
        source: 'a test',
        kind: 'marginal' as const,
        scope: 'direct' as const,
        estimated: false,
        stale: false,
        atMs: startMs,
        instead: null,
      }),
    };
    const home = await house({ grid, node: 'rack-7' });
    await home.pass(2, sample(36));
    await home.pass(2, sample(36));
    const [first, second] = await intervals(home.db);
    expect(first).toMatchObject({ node: 'rack-7', zone: 'DEU', signal: 'marginal', scope: 'direct' });
    expect([first, second].map((row) => row?.intensity_g_per_kwh)).toEqual([100.1, 100.3]);
    expect(second?.carbon_g).toBeCloseTo((36 / 3.6e6) * 1.2 * 100.3, 12);
    const here = await house();
    await here.pass(1, sample(1));
    expect((await intervals(here.db))[0]?.node).toBe(hostname());
  });

  it('keeps what children of the house compute for no single request under its own name', async () => {
    const home = await house();
    let cpuS = 5;
    home.ledger.meterHelper({ note: 'imports', cpuS: () => cpuS });
    cpuS = 5.25;
    await home.pass(1, sample(30));
    await home.pass(1, sample(30));
    const lines = await home.db
      .selectFrom('ledger_entries')
      .where('note', '=', 'imports')
      .selectAll()
      .execute();
    expect(lines.map((line) => [line.kind, line.cpu_s])).toEqual([['overhead', expect.closeTo(0.25, 9)]]);
  });
});

describe('a computation that takes long', () => {
  it('is in one interval with its line: the interval is not closed before, nor kept open for ever', async () => {
    const synced: number[] = [];
    const disk = {
      write: (fd: number, text: string) => writeSync(fd, text),
      sync: async (fd: number) => void synced.push(fd),
    };
    const home = await house({ disk });
    let underWayMs = 900;
    home.ledger.watchRunners(() => new Map([[999_999, { loadingMs: 0, answeredMs: 0, underWayMs }]]));
    home.ledger.recordBatch(batch(1e6));
    await home.tick();
    await home.tick();
    expect(await intervals(home.db)).toEqual([]);
    // What is acknowledged meanwhile is synced all the same.
    expect(synced).toHaveLength(2);
    // When it has come to its end, the interval is closed at once.
    home.pause(0.5);
    underWayMs = 0;
    home.ledger.recordBatch(batch(2e9));
    await sleep(50);
    const [only] = await intervals(home.db);
    expect((only?.end_ms ?? 0) - (only?.start_ms ?? 0)).toBe(2500);
    underWayMs = 60_000;
    home.ledger.recordBatch(batch(1e6));
    await home.tick(9);
    expect(await intervals(home.db)).toHaveLength(1);
    await home.tick();
    expect(await intervals(home.db)).toHaveLength(2);
  });
});

describe('windows of models', () => {
  it('are read back from the ledger after a start, newest first', async () => {
    const home = await house();
    for (const size of [1, 2, 4]) {
      home.ledger.recordBatch(batch(1e6, size));
      // The gateway, this process, does something for them.
      const start = process.cpuUsage();
      while (process.cpuUsage(start).user < 12_000);
      await home.pass(1, sample(30));
    }
    const lines = await home.db.selectFrom('ledger_entries').where('rows', '>', 0).selectAll().execute();
    const windows = new SettlingWindows();
    await readEarlierWindows(home.db, windows, 2e6);
    expect(windows.of('m1').windows).toBe(3);
    const fresh = new SettlingWindows();
    for (const { models } of home.settlements)
      for (const [modelId, window] of Object.entries(models)) fresh.add(modelId, window);
    expect(windows.of('m1').coefficientOfVariation).toBeCloseTo(
      fresh.of('m1').coefficientOfVariation ?? Number.NaN,
      6,
    );
    expect(lines).toHaveLength(7);
    const before = new SettlingWindows();
    await readEarlierWindows(home.db, before, 1_001_500);
    expect(before.of('m1').windows).toBe(2);
  });
});
