/** From the grid to the ledger: each interval is booked at the intensity of its own time. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { configSchema } from '../../config.ts';
import { type Db, openDatabase } from '../../storage/db.ts';
import { createEnergy, type Energy } from '../create.ts';
import { Host } from '../host.ts';

const start = Date.parse('2026-11-20T12:59:59.000Z');
let folder: string;
let db: Db;
let energy: Energy | undefined;
let seconds: number;
const log = { info() {}, warn() {}, error() {} };
const clock = { now: () => start + Math.round(seconds * 1000), monotonic: () => seconds };

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'booking-'));
  db = await openDatabase(join(folder, 'commonwatt.db'));
  seconds = 0;
  busy(0);
});
afterEach(async () => {
  await energy?.stop();
  energy = undefined;
  await db.destroy();
  rmSync(folder, { recursive: true });
});

/** Two CPUs of a host that draws 10 W idle and 50 W at full load, in hundredths of a second at work. */
function busy(ticks: number): void {
  mkdirSync(join(folder, 'proc'), { recursive: true });
  writeFileSync(join(folder, 'proc/stat'), `cpu  ${ticks} 0 0 99 0 0 0 0 0 0\ncpu0 0\ncpu1 0\n`);
  writeFileSync(join(folder, 'proc/meminfo'), 'MemTotal:  1000000 kB\n');
}

async function open(settings: object): Promise<Energy> {
  const config = configSchema.parse({
    energy: { meter: 'cpu-time', idleW: 10, maxW: 50, pue: 1.5, zone: 'DEU', ...settings },
  });
  const host = new Host({ procRoot: join(folder, 'proc') });
  energy = createEnergy({ db, config, dataFolder: folder, log, metrics: new Registry(), host, clock });
  await energy.start();
  return energy;
}

it('an interval across the hour has the mean of both hours, the next one only the second', async () => {
  const path = join(folder, 'grid.csv');
  writeFileSync(path, 'time,gPerKwh\n2026-11-20T12:00Z,100\n2026-11-20T13:00Z,300\n2026-11-20T14:00Z,300');
  const opened = await open({ grid: { sources: [{ type: 'file', path, zone: 'DE', scope: 'direct' }] } });
  for (const ticks of [400, 800]) {
    seconds += 4;
    busy(ticks);
    await opened.settle();
  }
  const rows = await db.selectFrom('ledger_intervals').selectAll().orderBy('start_ms').execute();
  expect(rows).toHaveLength(2);
  // Half of both CPUs: 30 W for 4 s. One second before the hour, three after it.
  for (const [index, gPerKwh] of [250, 300].entries()) {
    const row = rows[index];
    expect(row?.energy_j).toBeCloseTo(120, 9);
    expect(row?.carbon_g).toBeCloseTo((120 / 3_600_000) * 1.5 * gPerKwh, 12);
    expect(row).toMatchObject({
      zone: 'DE',
      signal: 'average',
      scope: 'direct',
      intensity_g_per_kwh: gPerKwh,
    });
  }
  const report = await opened.report({
    from: new Date(start),
    to: new Date(start + 60_000),
    groupBy: ['kind'],
    scope: 'all',
  });
  // 240 J at 275 g/kWh on the whole.
  expect(report.intensityGPerKwh).toMatchObject({
    value: expect.closeTo(275, 6),
    source: 'time series grid.csv',
  });
  expect(report.notes.join()).toMatch(/mean over the energy of this window \(now average, direct\)/);
  expect(opened.describe().join('\n')).toMatch(/grid: 300 gCO2e\/kWh in DE \(average, direct\)/);
});

it('without a source it is the yearly average, and said so', async () => {
  const opened = await open({});
  seconds += 1;
  await opened.settle();
  const [row] = await db.selectFrom('ledger_intervals').selectAll().execute();
  expect(row).toMatchObject({
    zone: 'DEU',
    signal: 'average',
    scope: 'life-cycle',
    intensity_g_per_kwh: 342.06,
  });
  expect(JSON.parse(row?.basis ?? '{}').intensity).toMatchObject({ estimated: true, stale: false });
});

it('a known machine brings its embodied carbon and its life', async () => {
  const opened = await open({ hardware: '8-gpu-server' });
  seconds += 3600;
  await opened.settle();
  const [row] = await db.selectFrom('ledger_intervals').selectAll().execute();
  // 7,012 kg over 3 years.
  expect(row?.embodied_g).toBeCloseTo(266.82, 2);
});
