import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Kysely, Migrator, sql } from 'kysely';
import { expect, it } from 'vitest';
import { Histogram } from '../energy/store/histogram.ts';
import { openDatabase, type Schema } from './db.ts';
import { migrations } from './migrations.ts';
import { EmbeddedDialect } from './sqlite.ts';

const basis = JSON.stringify({ intensity: { zone: 'FRA', value: 44.18, kind: 'average', source: 'Ember' } });

/** A database as it was before: two intervals, one in each of two hours; an explanation in both of them. */
async function oldDatabase(): Promise<string> {
  const file = join(mkdtempSync(join(tmpdir(), 'old-')), 'db');
  const db = new Kysely<Schema>({ dialect: new EmbeddedDialect(file) });
  const released = ['0001_core', '0002_avoided'];
  const steps = Object.fromEntries(Object.entries(migrations).filter(([name]) => released.includes(name)));
  const { error } = await new Migrator({
    db,
    provider: { getMigrations: async () => steps },
  }).migrateToLatest();
  expect(error).toBeUndefined();
  for (const hour of [0, 1]) {
    await sql`insert into ledger_intervals values (${`i${hour}`}, ${hour * 3_600_000 + 5}, ${hour * 3_600_000 + 1005},
      10, 2, 1, null, 'estimated', 'cpu-time', '1.1', ${basis}, 4, 1, 0, 8, 2, 1)`.execute(db);
    const entry = (id: string, kind: string, note: string | null, energyJ: number, avoidedJ = 0) =>
      sql`insert into ledger_entries values (${id}, ${`i${hour}`}, ${hour * 3_600_000 + 500}, ${kind},
        ${note ? null : 'o2'}, ${note ? null : 'globex'}, 'o1', 'acme', 'm1', 'acme/digits', 1, ${note ? null : 'k1'},
        null, null, ${note}, 1, .5, ${energyJ}, .1, .4, .2, null, ${avoidedJ}, 0)`.execute(db);
    await entry(`r${hour}a`, 'inference', null, 3);
    await entry(`r${hour}b`, 'inference', null, 1, 2);
    await entry(`e~i${hour}`, 'explanation', null, 2);
    await entry(`i${hour}:idle:platform`, 'idle', 'platform', 4);
  }
  await db.destroy();
  return file;
}

it('carries over what was booked before: every line, its head, and the sums of its hour', async () => {
  const db = await openDatabase(await oldDatabase());
  const lines = await db.selectFrom('ledger_entries').selectAll().orderBy('id').execute();
  expect(lines.map(({ id, energy_j }) => [id, energy_j])).toEqual([
    ['e~i0', 2],
    ['e~i1', 2],
    ['i0:idle:platform', 4],
    ['i1:idle:platform', 4],
    ['r0a', 3],
    ['r0b', 1],
    ['r1a', 3],
    ['r1b', 1],
  ]);
  expect(lines[5]).toMatchObject({
    kind: 'inference',
    outcome: 'cached',
    attribution_method: 'shared step',
    consumer: 'globex',
    model: 'acme/digits',
    version: 1,
    key_id: 'k1',
    member_id: null,
    allocated_j: null,
  });
  expect(lines[2]).toMatchObject({ kind: 'idle', note: 'platform', attribution_method: 'proportional' });
  const hours = await db
    .selectFrom('ledger_hours')
    .innerJoin('ledger_heads', 'ledger_heads.id', 'ledger_hours.head')
    .select([
      'hour',
      'kind',
      'outcome',
      'requests',
      'entries',
      'energy_j',
      'water_unknown',
      'allocated_unknown',
    ])
    .where('hour', '=', 1)
    .orderBy('energy_j')
    .execute();
  expect(hours).toEqual([
    expect.objectContaining({ kind: 'inference', outcome: 'cached', requests: 1, energy_j: 1 }),
    expect.objectContaining({ kind: 'explanation', requests: 1, energy_j: 2, water_unknown: 1 }),
    expect.objectContaining({ kind: 'inference', outcome: 'finished', requests: 1, energy_j: 3 }),
    expect.objectContaining({ kind: 'idle', requests: 0, energy_j: 4, allocated_unknown: 1 }),
  ]);
  const histogram = new Histogram();
  for (const row of await db.selectFrom('ledger_hours').select('histogram').execute())
    if (row.histogram) histogram.merge(new Uint8Array(row.histogram));
  expect(histogram.total).toBe(4);
  expect(Math.abs((histogram.quantile(1) ?? 0) / 3 - 1)).toBeLessThan(0.01);
  expect(Math.abs((histogram.quantile(0) ?? 0) - 1)).toBeLessThan(0.01);
  const repeats = await db.selectFrom('ledger_repeats').select(['request', 'hour']).orderBy('hour').execute();
  expect(repeats).toEqual([
    { request: 'e', hour: 0 },
    { request: 'e', hour: 1 },
  ]);
  const intervals = await db.selectFrom('ledger_interval_hours').selectAll().execute();
  expect(intervals).toMatchObject([
    {
      hour: 0,
      zone: 'FRA',
      signal: 'average',
      scope: 'life-cycle',
      intervals: 1,
      energy_j: 10,
      intensity_j: 441.8,
    },
    { hour: 1, cpu_s_supplied: 4, duration_ms: 1000 },
  ]);
  await db.destroy();
});
