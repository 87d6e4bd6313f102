/** Sums up the hours of a day that is over, so that a month is thirty rows a head. */
import { sql } from 'kysely';
import type { Db } from '../../storage/db.ts';
import { Histogram } from './histogram.ts';
import { addSums, emptySums, hourMs, type Sums, sumNames } from './tally.ts';

const dayMs = 24 * hourMs;
/** What was computed late in the day is settled by then; what comes later still makes the day be summed up again. */
const settledMs = hourMs;
const rowsPerTransaction = 200;

interface DayRow {
  sums: Sums;
  hours: number;
  histogram: Histogram | undefined;
}

/** One day. Returns false when every day that is over has been summed up. */
export async function foldStep(db: Db, nowMs: number): Promise<boolean> {
  const today = Math.floor((nowMs - settledMs) / dayMs);
  const { rows } = await sql<{ day: number }>`
    with recursive day(day) as (
      select min(hour) / 24 from ledger_hours
      union all select (select min(hour) from ledger_hours where hour >= (day.day + 1) * 24) / 24 from day where day.day is not null)
    select day from day where day < ${today} and day not in (select day from ledger_folded) limit 1`.execute(
    db,
  );
  const day = rows[0]?.day;
  if (day === undefined) return false;
  await fold(db, day);
  return true;
}

async function fold(db: Db, day: number): Promise<void> {
  const hours = await db
    .selectFrom('ledger_hours')
    .where('hour', '>=', day * 24)
    .where('hour', '<', (day + 1) * 24)
    .selectAll()
    .execute();
  const byHead = new Map<number, DayRow>();
  let entries = 0;
  for (const { hour, head, histogram, ...sums } of hours) {
    const row = byHead.get(head) ?? { sums: emptySums(), hours: 0, histogram: undefined };
    byHead.set(head, row);
    addSums(row.sums, sums);
    row.hours |= 1 << (hour - day * 24);
    if (histogram) {
      row.histogram ??= new Histogram();
      row.histogram.merge(new Uint8Array(histogram));
    }
    entries += sums.entries;
  }
  const rows = [...byHead].map(([head, own]) => [
    head,
    own.hours,
    own.histogram ? Buffer.from(own.histogram.pack()).toString('hex') : null,
    ...sumNames.map((name) => own.sums[name]),
  ]);
  // Nobody reads the day before it is marked, so it need not be written in one go.
  await db.deleteFrom('ledger_days').where('day', '=', day).execute();
  for (let at = 0; at < rows.length; at += rowsPerTransaction)
    await insertRows(db, day, rows.slice(at, at + rowsPerTransaction));
  await sql`insert or ignore into ledger_folded select ${day} where ${entries} = (
    select sum(entries) from ledger_hours where hour >= ${day * 24} and hour < ${(day + 1) * 24})`.execute(
    db,
  );
}

async function insertRows(db: Db, day: number, rows: readonly (number | string | null)[][]): Promise<void> {
  const values = sql.join(sumNames.map((_, index) => sql`value ->> ${sql.lit(index + 3)}`));
  await sql`insert into ledger_days (day, head, hours, histogram, ${sql.join(sumNames.map((name) => sql.ref(name)))})
    select ${day}, value ->> 0, value ->> 1, unhex(value ->> 2), ${values}
    from json_each(${JSON.stringify(rows)})`.execute(db);
}
