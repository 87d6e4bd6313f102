import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openDatabase } from '../storage/db.ts';
import type { Entry, LineHead } from './attribution.ts';
import { type IntervalRow, settleInterval } from './settlement.ts';

const head: LineHead = {
  kind: 'inference',
  consumer: { organisationId: 'o2', organisation: 'globex' },
  keyId: 'k"1',
  grantId: 'g1',
  jobId: null,
  use: {
    modelId: 'm1',
    model: 'acme/digits',
    version: 1,
    owner: { organisationId: 'o1', organisation: 'acme' },
  },
};

function entry(index: number): Entry {
  return {
    id: `r${String(index).padStart(8, '0')}`,
    kind: 'inference',
    note: null,
    head,
    owner: head.use,
    atMs: 1000 + index,
    rows: 1,
    cpuS: 1 / 3 / (index + 1),
    energyJ: Math.PI / (index + 1),
    idleShareJ: 0.1,
    carbonG: 1e-9 / (index + 1),
    embodiedG: 1e-7,
    waterL: null,
  };
}

const interval: IntervalRow = {
  id: 'i1',
  start_ms: 0,
  end_ms: 1000,
  energy_j: 1,
  carbon_g: 1,
  embodied_g: 1,
  water_l: null,
  quality: 'estimated',
  method: 'cpu-time',
  method_version: '1',
  basis: '{}',
  cpu_s_supplied: 2,
  cpu_s_used: 1,
  cpu_s_other: 0,
  memory_gbs_supplied: 1,
  memory_gbs_reserved: 0,
  memory_gbs_used: 0,
};

it('writes an interval and its entries once, to fourteen digits of each figure', async () => {
  const db = await openDatabase(join(mkdtempSync(join(tmpdir(), 'ledger-')), 'db'));
  const n = Number(process.env.ROWS ?? 10_000);
  const entries = Array.from({ length: n }, (_, index) => entry(index));
  const t0 = performance.now();
  expect(await settleInterval(db, interval, entries)).toBe(true);
  if (process.env.ROWS) console.log('µs per row', ((performance.now() - t0) * 1000) / n);
  expect(await settleInterval(db, interval, entries)).toBe(false);
  const rows = await db.selectFrom('ledger_entries').selectAll().orderBy('id').execute();
  expect(rows.length).toBe(n);
  const worst = Math.max(
    ...rows.map((row, index) => Math.abs(row.energy_j / (entries[index]?.energyJ ?? 0) - 1)),
  );
  expect(worst).toBeLessThan(1e-14);
  expect(rows[7]).toMatchObject({
    id: 'r00000007',
    key_id: 'k"1',
    consumer: 'globex',
    owner: 'acme',
    model: 'acme/digits',
    version: 1,
    cpu_s: 1 / 3 / 8,
    water_l: null,
    job_id: null,
  });
  await db.destroy();
});
