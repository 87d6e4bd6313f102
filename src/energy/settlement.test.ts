import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import { expect, it } from 'vitest';
import { type Db, openDatabase } from '../storage/db.ts';
import type { Entry, LineHead } from './attribution.ts';
import { bookInterval, type IntervalRow } from './settlement.ts';

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

const requestId = (index: number) => `r${String(index).padStart(8, '0')}`;

/** `count` requests of one batch, each with the same figures. */
function entry(first: number, count: number): Entry {
  return {
    ids: Array.from({ length: count }, (_, index) => requestId(first + index)),
    kind: 'inference',
    note: null,
    head,
    owner: head.use,
    atMs: 1000 + first,
    rows: 1,
    cpuS: 1 / 3 / (first + 1),
    energyJ: Math.PI / (first + 1),
    idleShareJ: 0.1,
    carbonG: 1e-9 / (first + 1),
    embodiedG: 1e-7,
    waterL: null,
    attributionMethod: 'shared step',
    outcome: 'finished',
    allocated: { energyJ: 0.2, carbonG: 2e-9, embodiedG: 2e-7 },
    runnerPid: 7,
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

const database = () => openDatabase(join(mkdtempSync(join(tmpdir(), 'ledger-')), 'db'));
const count = async (db: Db) => {
  const counted = db.selectFrom('ledger_lines').select(({ fn }) => fn.countAll<number>().as('count'));
  return Number((await counted.executeTakeFirstOrThrow()).count);
};

it('writes an interval and its entries once, to fourteen digits of each figure', async () => {
  const db = await database();
  // 5,000 requests in batches of 30 are more than one transaction takes.
  const entries = Array.from({ length: 167 }, (_, index) => entry(index * 30, 30));
  expect(await bookInterval(db, interval, entries)).toBe(true);
  expect(await bookInterval(db, interval, entries)).toBe(false);
  const rows = await db.selectFrom('ledger_entries').selectAll().orderBy('id').execute();
  expect(rows.map(({ id }) => id)).toEqual(Array.from({ length: 5010 }, (_, index) => requestId(index)));
  const worst = Math.max(
    ...rows.map((row, index) => Math.abs(row.energy_j / (entries[Math.floor(index / 30)]?.energyJ ?? 0) - 1)),
  );
  expect(worst).toBeLessThan(1e-14);
  expect(rows[37]).toMatchObject({
    id: 'r00000037',
    interval_id: 'i1',
    key_id: 'k"1',
    consumer: 'globex',
    owner: 'acme',
    model: 'acme/digits',
    version: 1,
    at_ms: 1030,
    cpu_s: 1 / 3 / 31,
    water_l: null,
    job_id: null,
  });
  await db.destroy();
});

it('begins again where a crash left entries whose interval was never written', async () => {
  const db = await database();
  const entries = [entry(0, 2500)];
  // The row of the interval is written last: a database that refuses it stands for the crash before it.
  await sql`create trigger crash before insert on ledger_intervals begin select raise(abort, 'crashed'); end`.execute(
    db,
  );
  await expect(bookInterval(db, interval, entries)).rejects.toThrow(/crashed/);
  expect(await count(db)).toBe(2000);
  await sql`drop trigger crash`.execute(db);
  expect(await bookInterval(db, interval, entries)).toBe(true);
  expect(await count(db)).toBe(2500);
  await db.destroy();
});

it('loses nothing when an id comes twice, in the same interval or in another', async () => {
  const db = await database();
  await bookInterval(db, { ...interval, id: 'i0' }, [entry(0, 3)]);
  expect(await bookInterval(db, interval, [entry(0, 3), entry(0, 1), entry(3, 1)])).toBe(true);
  const ids = await db.selectFrom('ledger_entries').where('interval_id', '=', 'i1').select('id').execute();
  expect(new Set(ids.map(({ id }) => id.split('~')[0])).size).toBe(4);
  expect(ids.length).toBe(5);
  await db.destroy();
});
