import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import { afterEach, describe, expect, it } from 'vitest';
import { configSchema } from '../config.ts';
import { openDatabase } from '../storage/db.ts';
import { createEnergy } from './create.ts';
import { webSensor } from './meters/testing/web.ts';

const close: (() => Promise<unknown> | unknown)[] = [];
afterEach(async () => {
  for (const step of close.splice(0).reverse()) await step();
});

async function energyWith(energy: object) {
  const dataFolder = mkdtempSync(join(tmpdir(), 'metering-'));
  const db = await openDatabase(join(dataFolder, 'commonwatt.db'));
  close.push(() => db.destroy());
  let seconds = 1000;
  const metrics = new Registry();
  const opened = createEnergy({
    db,
    config: configSchema.parse({ energy: { accelerators: 'none', ...energy } }),
    dataFolder,
    log: { info() {}, warn() {}, error() {} },
    metrics,
    clock: { now: () => seconds * 1000, monotonic: () => seconds },
  });
  return {
    energy: opened,
    metrics,
    /** So many seconds later the interval is closed and written. */
    async settleAfter(passed: number) {
      seconds += passed;
      await opened.settle();
      const row = await db
        .selectFrom('ledger_intervals')
        .selectAll()
        .orderBy('end_ms', 'desc')
        .executeTakeFirst();
      return { ...row, basis: JSON.parse(row?.basis ?? '{}') };
    },
  };
}

describe('a plug as the meter of the ledger', () => {
  it('is booked as measured at the wall; unplugged, an estimate stands in and says so', async () => {
    const plug = await webSensor({ '/meter/0': { power: 90, total: 394, is_valid: true } });
    const { energy, metrics, settleAfter } = await energyWith({
      meter: 'plug',
      plug: { url: plug.url, kind: 'shelly1', everyS: 600 },
    });
    await energy.start();
    close.push(() => energy.stop());
    expect(energy.describe()[0]).toBe(`energy: measured by the plug ${plug.url}/`);
    expect(await settleAfter(2)).toMatchObject({
      energy_j: expect.closeTo(180, 9),
      quality: 'measured',
      method: 'shelly',
      basis: { covers: 'wall', interval: { low: 0.97, high: 1.03 } },
    });
    await plug.close();
    expect(await settleAfter(3600)).toMatchObject({
      quality: 'estimated',
      method: 'cpu-time',
      basis: { covers: 'wall', missing: expect.stringContaining('no answer') },
    });
    expect(await metrics.metrics()).toContain('commonwatt_meter_missing_samples_total{meter="shelly"} 1');
  });

  it('that was demanded and is not there keeps the server from starting', async () => {
    const { energy } = await energyWith({ meter: 'plug', plug: { url: 'http://127.0.0.1:1' } });
    await expect(energy.start()).rejects.toMatchObject({
      code: 'INVALID_CONFIG',
      message: expect.stringContaining('ECONNREFUSED'),
    });
  });
});
