/**
 * Settled intervals in the database: one row for the interval and one for each entry, in one transaction, at most
 * once. An interval that is already there was settled before a crash and is left as it is.
 */
import { setImmediate } from 'node:timers/promises';
import { sql } from 'kysely';
import type { Db, Schema } from '../storage/db.ts';
import type { Entry, LineHead } from './attribution.ts';
import type { ModelUse } from './energy.ts';

export type IntervalRow = Schema['ledger_intervals'];

/** About 3 ms each: requests are served between two statements. */
const rowsPerStatement = 500;

/** Returns false when the interval had been settled before. */
export async function settleInterval(
  db: Db,
  interval: IntervalRow,
  entries: readonly Entry[],
): Promise<boolean> {
  try {
    return await insertInterval(db, interval, entries);
  } catch (error) {
    if (!(error instanceof Error && /UNIQUE/i.test(error.message))) throw error;
    // A request id came twice. No joule may be lost for it: the ids of this interval are made its own.
    return insertInterval(
      db,
      interval,
      entries.map((entry) => ({ ...entry, id: `${entry.id}~${interval.id}` })),
    );
  }
}

function insertInterval(db: Db, interval: IntervalRow, entries: readonly Entry[]): Promise<boolean> {
  return db.transaction().execute(async (tx) => {
    const inserted = await tx
      .insertInto('ledger_intervals')
      .values(interval)
      .onConflict((conflict) => conflict.doNothing())
      .executeTakeFirst();
    if (Number(inserted.numInsertedOrUpdatedRows ?? 0) === 0) return false;
    for (const group of groupByHead(entries)) await insertGroup(tx, interval.id, group);
    return true;
  });
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

async function insertGroup(
  tx: Db,
  intervalId: string,
  { kind, note, head, owner, entries }: Group,
): Promise<void> {
  for (let start = 0; start < entries.length; start += rowsPerStatement) {
    const rows = JSON.stringify(
      entries
        .slice(start, start + rowsPerStatement)
        .map((entry) => [
          entry.id,
          entry.atMs,
          entry.rows,
          entry.cpuS,
          entry.energyJ,
          entry.idleShareJ,
          entry.carbonG,
          entry.embodiedG,
          entry.waterL,
        ]),
    );
    await sql`
      insert into ledger_entries (id, interval_id, at_ms, kind, consumer_id, consumer, owner_id, owner, model_id,
        model, version, key_id, grant_id, job_id, note, rows, cpu_s, energy_j, idle_share_j, carbon_g, embodied_g,
        water_l)
      select value ->> 0, ${intervalId}, value ->> 1, ${kind}, ${head?.consumer.organisationId ?? null},
        ${head?.consumer.organisation ?? null}, ${owner?.owner.organisationId ?? null},
        ${owner?.owner.organisation ?? null}, ${owner?.modelId ?? null}, ${owner?.model ?? null},
        ${owner?.version ?? null}, ${head?.keyId ?? null}, ${head?.grantId ?? null}, ${head?.jobId ?? null},
        ${note}, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, value ->> 8
      from json_each(${rows})`.execute(tx);
    if (start + rowsPerStatement < entries.length) await setImmediate();
  }
}
