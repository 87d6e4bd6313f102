/**
 * Settled intervals in the database: one row for the interval, one line for each request, job, idle and overhead, and
 * the sums of its hour. An interval is there as a whole or not at all: readers see lines of intervals that exist, and
 * the row of a large one is written last, with the sums, so that no transaction holds the database for long. A crash
 * before it leaves lines nobody reads; they are deleted when the segment of the interval is settled again.
 */
import { setImmediate } from 'node:timers/promises';
import { type Insertable, sql } from 'kysely';
import type { Db, Schema } from '../storage/db.ts';
import type { Entry, LineHead } from './attribution.ts';
import type { ModelUse } from './energy.ts';
import { isArchived } from './store/archive.ts';
import { headIds, headKey } from './store/heads.ts';
import { lineOf, rollUp, tallyEntries } from './store/rollup.ts';
import { summed } from './store/tally.ts';

export type IntervalRow = Insertable<Schema['ledger_intervals']>;

/** 2 to 4 ms of work: whoever else writes waits no longer, and requests are served in between. */
const rowsPerTransaction = 1000;

/**
 * Returns false when the interval had been settled before. `alone`: nobody else writes over this connection, so what
 * goes before the row of the interval need not be synced on its own.
 */
export async function bookInterval(
  db: Db,
  interval: IntervalRow,
  entries: readonly Entry[],
  { alone = false } = {},
): Promise<boolean> {
  if (await isSettled(db, interval)) return false;
  const keys = keysOf(entries, interval.node ?? null);
  const ids = await headIds(db, [...new Set(keys.values())]);
  const headOf = (entry: Entry) => ids.get(keys.get(entry) ?? '') ?? 0;
  const write = async (own: readonly Entry[]) => {
    const booking: Booking = { interval, lines: own.map((entry) => ({ entry, head: headOf(entry) })) };
    await insertInterval(db, booking, alone);
  };
  try {
    await write(entries);
  } catch (error) {
    if (!(error instanceof Error && /UNIQUE/i.test(error.message))) throw error;
    // A request id came twice. No joule may be lost for it: the ids of this interval are made its own.
    const unique = madeUnique(entries, interval.id);
    for (const [index, entry] of unique.entries()) keys.set(entry, keys.get(entries[index] ?? entry) ?? '');
    await write(unique);
  }
  return true;
}

async function isSettled(db: Db, interval: IntervalRow): Promise<boolean> {
  const found = await db
    .selectFrom('ledger_intervals')
    .where('id', '=', interval.id)
    .select('id')
    .unionAll(
      db.selectFrom('ledger_garbage').where('interval_id', '=', interval.id).select('interval_id as id'),
    )
    .executeTakeFirst();
  return found !== undefined || isArchived(db, interval);
}

/** Lines that are alike share the text of their key. */
function keysOf(entries: readonly Entry[], node: string | null): Map<Entry, string> {
  const known = new Map<LineHead | ModelUse | null, Map<string, string>>();
  const keyOf = (entry: Entry): string => {
    const { head, owner, kind, note, outcome, attributionMethod, runnerPid } = entry;
    const own = known.get(head ?? owner) ?? new Map<string, string>();
    known.set(head ?? owner, own);
    const rest = `${kind}|${note}|${outcome}|${attributionMethod}|${runnerPid}`;
    const key = own.get(rest) ?? headKey(entry, node);
    own.set(rest, key);
    return key;
  };
  return new Map(entries.map((entry) => [entry, keyOf(entry)]));
}

const figures = ['rows', ...summed] as const;

interface Located {
  entry: Entry;
  head: number;
}

interface Booking {
  interval: IntervalRow;
  lines: readonly Located[];
}

async function insertInterval(db: Db, { interval, lines }: Booking, alone: boolean): Promise<void> {
  const headOf = new Map(lines.map(({ entry, head }) => [entry, head]));
  const entries = lines.map(({ entry }) => entry);
  // Before the database is held.
  const tallies = tallyEntries(entries, (entry) => headOf.get(entry) ?? 0);
  const parts = partsOf(lines);
  const last = parts.pop() ?? [];
  if (parts.length > 0) {
    if (alone) await sql`pragma synchronous = normal`.execute(db);
    try {
      for (const [index, part] of parts.entries()) {
        await db.transaction().execute(async (tx) => {
          if (index === 0) await deletePending(tx, interval.id);
          await insertLines(tx, interval.id, part);
        });
        await setImmediate();
      }
    } finally {
      if (alone) await sql`pragma synchronous = full`.execute(db);
    }
  }
  await db.transaction().execute(async (tx) => {
    if (parts.length === 0) await deletePending(tx, interval.id);
    await insertLines(tx, interval.id, last);
    await rollUp(tx, interval, tallies);
    await tx.insertInto('ledger_intervals').values(interval).execute();
  });
}

/** Lines of a settlement that did not come to its end. */
async function deletePending(tx: Db, intervalId: string): Promise<void> {
  await tx.deleteFrom('ledger_lines').where('interval_id', '=', intervalId).execute();
}

/** At most `rowsPerTransaction` ids in each. */
function partsOf(lines: readonly Located[]): Located[][] {
  const parts: Located[][] = [];
  let part: Located[] = [];
  let room = 0;
  for (const { entry, head } of lines) {
    for (let start = 0; start < entry.ids.length; ) {
      if (room === 0) {
        part = [];
        parts.push(part);
        room = rowsPerTransaction;
      }
      const ids = start === 0 && entry.ids.length <= room ? entry.ids : entry.ids.slice(start, start + room);
      part.push({ entry: ids === entry.ids ? entry : { ...entry, ids }, head });
      start += ids.length;
      room -= ids.length;
    }
  }
  return parts;
}

function madeUnique(entries: readonly Entry[], intervalId: string): Entry[] {
  const seen = new Map<string, number>();
  return entries.map((entry) => ({
    ...entry,
    ids: entry.ids.map((id) => {
      const count = (seen.get(id) ?? 0) + 1;
      seen.set(id, count);
      return count === 1 ? `${id}~${intervalId}` : `${id}~${intervalId}.${count}`;
    }),
  }));
}

async function insertLines(tx: Db, intervalId: string, lines: readonly Located[]): Promise<void> {
  const parts = lines.map(({ entry, head }) => {
    const line = lineOf(entry);
    return [entry.ids, head, entry.atMs, ...figures.map((name) => line[name])];
  });
  const picked = sql.join(
    figures.map((name, index) => sql`value ->> ${sql.lit(index + 3)} as ${sql.ref(name)}`),
  );
  const names = sql.join(figures.map((name) => sql.ref(name)));
  await sql`
    insert into ledger_lines (id, interval_id, head, at_ms, ${names})
    with part as materialized (
      select value -> 0 as ids, value ->> 1 as head, value ->> 2 as at_ms, ${picked}
      from json_each(${JSON.stringify(parts)}))
    select each.value, ${intervalId}, head, at_ms, ${names} from part, json_each(part.ids) as each`.execute(
    tx,
  );
}
