/**
 * Puts old intervals with their lines into few bytes (pack.ts). They enter the archive and leave `ledger_intervals` in
 * one transaction, which is what makes their lines in the table invisible; those are deleted afterwards in small steps.
 * So a crash at any point loses no line and shows none twice. Deleted pages are used again for new lines.
 */
import { type Insertable, sql } from 'kysely';
import type { Db, Schema } from '../../storage/db.ts';
import { type Packed, pack, unpack } from './pack.ts';
import { hourMs, hourOf, type Interval, type Line, requestOfLine } from './tally.ts';

/** What is packed in one go: some ms of work, and some ms to read one line again. */
const linesPerPart = 10_000;
const intervalsPerPart = 2000;
/** As much as the database is held for while settling. */
const deletedPerStep = 1000;

export type Part = Omit<Schema['ledger_archive'], 'packed'>;

/** One small piece of work. Returns false when nothing is left that is older than `beforeMs`. */
export async function archiveStep(db: Db, beforeMs: number): Promise<boolean> {
  const garbage = await db.selectFrom('ledger_garbage').select('interval_id').limit(1).executeTakeFirst();
  if (garbage) {
    await deleteGarbage(db);
    return true;
  }
  const chosen = await chooseIntervals(db, beforeMs);
  const [first] = chosen;
  if (!first) return false;
  await archive(db, hourOf(first.start_ms), chosen);
  return true;
}

/** Of many intervals at once: each transaction waits for the disk. */
async function deleteGarbage(db: Db): Promise<void> {
  await db.transaction().execute(async (tx) => {
    const { numAffectedRows = 0n } = await sql`delete from ledger_lines where rowid in (
      select l.rowid from ledger_garbage g cross join ledger_lines l on l.interval_id = g.interval_id
      limit ${deletedPerStep})`.execute(tx);
    if (numAffectedRows < deletedPerStep) await tx.deleteFrom('ledger_garbage').execute();
  });
}

/** The oldest ones, of one hour. */
async function chooseIntervals(db: Db, beforeMs: number): Promise<Interval[]> {
  const oldest = await db
    .selectFrom('ledger_intervals')
    .where('start_ms', '<', beforeMs)
    .select('start_ms')
    .orderBy('start_ms')
    .limit(1)
    .executeTakeFirst();
  if (!oldest) return [];
  const endMs = (hourOf(oldest.start_ms) + 1) * hourMs;
  const intervals = await db
    .selectFrom('ledger_intervals')
    .where('start_ms', '>=', oldest.start_ms)
    .where('start_ms', '<', Math.min(endMs, beforeMs))
    .selectAll()
    .orderBy('start_ms')
    .orderBy('id')
    .limit(intervalsPerPart)
    .execute();
  const { rows } = await sql<{ id: string; lines: number }>`
    select c.value as id, (select count(*) from ledger_lines l where l.interval_id = c.value) as lines
    from json_each(${JSON.stringify(intervals.map(({ id }) => id))}) c order by c.key`.execute(db);
  let lines = 0;
  const enough = rows.findIndex((row) => {
    lines += row.lines;
    return lines > linesPerPart;
  });
  return enough < 0 ? intervals : intervals.slice(0, Math.max(1, enough));
}

async function archive(db: Db, hour: number, intervals: readonly Interval[]): Promise<void> {
  const ids = JSON.stringify(intervals.map(({ id }) => id));
  const { rows: lines } = await sql<Line>`
    select l.* from json_each(${ids}) c join ledger_lines l on l.interval_id = c.value order by c.key, l.rowid`.execute(
    db,
  );
  const packed = pack({ intervals: [...intervals], lines });
  const row = { hour, ...boundsOf({ intervals: [...intervals], lines }), packed };
  await db.transaction().execute(async (tx) => {
    const { part } = await tx
      .selectFrom('ledger_archive')
      .where('hour', '=', hour)
      .select(sql<number>`coalesce(max(part), -1) + 1`.as('part'))
      .executeTakeFirstOrThrow();
    await tx
      .insertInto('ledger_archive')
      .values({ ...row, part } satisfies Insertable<Schema['ledger_archive']>)
      .execute();
    await sql`insert into ledger_garbage select value from json_each(${ids})`.execute(tx);
    await sql`delete from ledger_intervals where id in (select value from json_each(${ids}))`.execute(tx);
  });
}

function boundsOf({ intervals, lines }: Packed): Omit<Part, 'hour' | 'part'> {
  const [first, last] = boundsOfTexts(
    lines.map(({ id }) => requestOfLine(id)).filter((id) => !id.includes(':')),
  );
  const [firstInterval, lastInterval] = boundsOfTexts(intervals.map(({ id }) => id));
  return {
    from_ms: intervals[0]?.start_ms ?? 0,
    to_ms: intervals.at(-1)?.start_ms ?? 0,
    first_id: first,
    last_id: last,
    first_interval: firstInterval,
    last_interval: lastInterval,
    lines: lines.length,
  };
}

function boundsOfTexts(texts: readonly string[]): [first: string, last: string] {
  let [first = '', last = ''] = [texts[0], texts[0]];
  for (const text of texts) {
    if (text < first) first = text;
    if (text > last) last = text;
  }
  return [first, last];
}

/** Throws when it was dropped in the meantime. */
export async function readPart(db: Db, { hour, part }: Pick<Part, 'hour' | 'part'>): Promise<Packed> {
  const { packed } = await db
    .selectFrom('ledger_archive')
    .where('hour', '=', hour)
    .where('part', '=', part)
    .select('packed')
    .executeTakeFirstOrThrow();
  return unpack(new Uint8Array(packed));
}

const partColumns = [
  'hour',
  'part',
  'from_ms',
  'to_ms',
  'first_id',
  'last_id',
  'first_interval',
  'last_interval',
  'lines',
] as const;

/** Parts that may hold intervals which start in the window. */
export function partsOfWindow(db: Db, fromMs: number, toMs: number): Promise<Part[]> {
  return db
    .selectFrom('ledger_archive')
    .where('hour', '>=', hourOf(fromMs))
    .where('hour', '<=', hourOf(toMs - 1))
    .where('to_ms', '>=', fromMs)
    .where('from_ms', '<', toMs)
    .select(partColumns)
    .orderBy('hour')
    .orderBy('part')
    .execute();
}

export async function isArchived(
  db: Db,
  { id, start_ms }: Pick<Interval, 'id' | 'start_ms'>,
): Promise<boolean> {
  const parts = await db
    .selectFrom('ledger_archive')
    .where('hour', '=', hourOf(start_ms))
    .where('first_interval', '<=', id)
    .where('last_interval', '>=', id)
    .select(['hour', 'part'])
    .execute();
  for (const part of parts) {
    const { intervals } = await readPart(db, part);
    if (intervals.some((interval) => interval.id === id)) return true;
  }
  return false;
}

/**
 * Lines with this id, with their intervals; of an explanation or evaluation all its lines, by the id of the request.
 * Ids of requests rise with time, so few parts can hold them; those of a request in several hours are remembered.
 */
export async function findArchived(db: Db, id: string): Promise<{ line: Line; interval: Interval }[]> {
  const interval = intervalIn(id);
  const all = db.selectFrom('ledger_archive').select(['hour', 'part']).orderBy('hour').orderBy('part');
  const parts = await (interval === undefined
    ? all.where((eb) =>
        eb.or([
          eb.and([eb('first_id', '<=', id), eb('last_id', '>=', id)]),
          eb('hour', 'in', eb.selectFrom('ledger_repeats').where('request', '=', id).select('hour')),
        ]),
      )
    : all.where('first_interval', '<=', interval).where('last_interval', '>=', interval)
  ).execute();
  const found: { line: Line; interval: Interval }[] = [];
  for (const part of parts) {
    const { intervals, lines } = await readPart(db, part);
    for (const line of lines) {
      if (line.id !== id && requestOfLine(line.id) !== id) continue;
      const own = intervals.find((one) => one.id === line.interval_id);
      if (own) found.push({ line, interval: own });
    }
    // An inference has one line.
    if (found.some(({ line }) => line.id === id)) break;
  }
  return found;
}

/** `job~interval`, `request~interval.2`, `interval:idle:platform`; a request's own id names none. */
function intervalIn(id: string): string | undefined {
  const tilde = id.lastIndexOf('~');
  if (tilde >= 0) return id.slice(tilde + 1).split('.', 1)[0];
  const colon = id.indexOf(':');
  return colon >= 0 ? id.slice(0, colon) : undefined;
}

/** Drops lines for good, an hour's at a time; their sums stay. Returns false when nothing is left to drop. */
export async function dropStep(db: Db, beforeMs: number): Promise<boolean> {
  const oldest = await db
    .selectFrom('ledger_archive')
    .where('hour', '<', hourOf(beforeMs))
    .select('hour')
    .orderBy('hour')
    .limit(1)
    .executeTakeFirst();
  if (!oldest) return false;
  await db.transaction().execute(async (tx) => {
    await tx.deleteFrom('ledger_archive').where('hour', '=', oldest.hour).execute();
    await sql`insert or ignore into ledger_dropped values (${oldest.hour})`.execute(tx);
  });
  return true;
}
