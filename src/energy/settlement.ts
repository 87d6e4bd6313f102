/**
 * Settled intervals in the database: one row for the interval and one for each request, job, idle and overhead.
 * An interval is there as a whole or not at all: reports read entries of intervals that exist, and the row of a
 * large one is written last, so that no transaction holds the database for long. A crash before it leaves entries
 * nobody reads; they are deleted when the segment of the interval is settled again.
 */
import { setImmediate } from 'node:timers/promises';
import { sql } from 'kysely';
import type { Db, Schema } from '../storage/db.ts';
import type { Entry, LineHead } from './attribution.ts';
import type { ModelUse } from './energy.ts';

export type IntervalRow = Schema['ledger_intervals'];

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
  const before = await db
    .selectFrom('ledger_intervals')
    .where('id', '=', interval.id)
    .select('id')
    .executeTakeFirst();
  if (before) return false;
  try {
    await insertInterval(db, interval, entries, alone);
  } catch (error) {
    if (!(error instanceof Error && /UNIQUE/i.test(error.message))) throw error;
    // A request id came twice. No joule may be lost for it: the ids of this interval are made its own.
    await insertInterval(db, interval, madeUnique(entries, interval.id), alone);
  }
  return true;
}

async function insertInterval(
  db: Db,
  interval: IntervalRow,
  entries: readonly Entry[],
  alone: boolean,
): Promise<void> {
  const parts = partsOf(entries);
  const last = parts.pop() ?? [];
  if (parts.length > 0) {
    if (alone) await sql`pragma synchronous = normal`.execute(db);
    try {
      for (const [index, part] of parts.entries()) {
        await db.transaction().execute(async (tx) => {
          if (index === 0) await deletePending(tx, interval.id);
          await insertEntries(tx, interval.id, part);
        });
        await setImmediate();
      }
    } finally {
      if (alone) await sql`pragma synchronous = full`.execute(db);
    }
  }
  await db.transaction().execute(async (tx) => {
    if (parts.length === 0) await deletePending(tx, interval.id);
    await insertEntries(tx, interval.id, last);
    await tx.insertInto('ledger_intervals').values(interval).execute();
  });
}

/** Entries of a settlement that did not come to its end. */
async function deletePending(tx: Db, intervalId: string): Promise<void> {
  await tx.deleteFrom('ledger_entries').where('interval_id', '=', intervalId).execute();
}

/** At most `rowsPerTransaction` ids in each. */
function partsOf(entries: readonly Entry[]): Entry[][] {
  const parts: Entry[][] = [];
  let part: Entry[] = [];
  let room = 0;
  for (const entry of entries) {
    for (let start = 0; start < entry.ids.length; ) {
      if (room === 0) {
        part = [];
        parts.push(part);
        room = rowsPerTransaction;
      }
      const ids = start === 0 && entry.ids.length <= room ? entry.ids : entry.ids.slice(start, start + room);
      part.push(ids === entry.ids ? entry : { ...entry, ids });
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

interface Group {
  kind: Entry['kind'];
  note: string | null;
  head: LineHead | null;
  owner: ModelUse | null;
  entries: Entry[];
}

function groupByHead(entries: readonly Entry[]): Group[] {
  const byHead = new Map<LineHead, Group>();
  const groups: Group[] = [];
  for (const entry of entries) {
    let group = entry.head ? byHead.get(entry.head) : undefined;
    if (!group) {
      group = { kind: entry.kind, note: entry.note, head: entry.head, owner: entry.owner, entries: [] };
      groups.push(group);
      if (entry.head) byHead.set(entry.head, group);
    }
    group.entries.push(entry);
  }
  return groups;
}

async function insertEntries(tx: Db, intervalId: string, entries: readonly Entry[]): Promise<void> {
  for (const { kind, note, head, owner, entries: own } of groupByHead(entries)) {
    const parts = JSON.stringify(
      own.map((entry) => [
        entry.ids,
        entry.atMs,
        entry.rows,
        entry.cpuS,
        entry.energyJ,
        entry.idleShareJ,
        entry.carbonG,
        entry.embodiedG,
        entry.waterL,
        entry.avoided?.energyJ ?? 0,
        entry.avoided?.carbonG ?? 0,
      ]),
    );
    await sql`
      insert into ledger_entries (id, interval_id, at_ms, kind, consumer_id, consumer, owner_id, owner, model_id,
        model, version, key_id, grant_id, job_id, note, rows, cpu_s, energy_j, idle_share_j, carbon_g, embodied_g,
        water_l, avoided_j, avoided_g)
      with part as materialized (
        select value -> 0 as ids, value ->> 1 as at_ms, value ->> 2 as rows, value ->> 3 as cpu_s,
          value ->> 4 as energy_j, value ->> 5 as idle_share_j, value ->> 6 as carbon_g, value ->> 7 as embodied_g,
          value ->> 8 as water_l, value ->> 9 as avoided_j, value ->> 10 as avoided_g
        from json_each(${parts}))
      select each.value, ${intervalId}, at_ms, ${kind}, ${head?.consumer.organisationId ?? null},
        ${head?.consumer.organisation ?? null}, ${owner?.owner.organisationId ?? null},
        ${owner?.owner.organisation ?? null}, ${owner?.modelId ?? null}, ${owner?.model ?? null},
        ${owner?.version ?? null}, ${head?.keyId ?? null}, ${head?.grantId ?? null}, ${head?.jobId ?? null},
        ${note}, rows, cpu_s, energy_j, idle_share_j, carbon_g, embodied_g, water_l,
        avoided_j, avoided_g
      from part, json_each(part.ids) as each`.execute(tx);
  }
}
