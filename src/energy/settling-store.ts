/** The windows of models from before this start, read back from the ledger: newest first, and not more than is quick. */
import { sql } from 'kysely';
import type { Db } from '../storage/db.ts';
import type { SettlingWindows } from './settling.ts';

const mostIntervals = 300;
const mostLines = 100_000;

/** Intervals that begin before `beforeMs`. One small question each: nobody waits for a long one. */
export async function readEarlierWindows(db: Db, windows: SettlingWindows, beforeMs: number): Promise<void> {
  const intervals = await db
    .selectFrom('ledger_intervals')
    .where('start_ms', '<', beforeMs)
    .where('cpu_s_used', '>', 0)
    .orderBy('start_ms', 'desc')
    .limit(mostIntervals)
    .select('id')
    .execute();
  let lines = 0;
  for (const { id } of intervals) {
    const models = await db
      .selectFrom('ledger_entries')
      .where('interval_id', '=', id)
      .where('rows', '>', 0)
      .where('model_id', 'is not', null)
      .groupBy('model_id')
      .select(['model_id', sql<number>`sum(energy_j)`.as('energyJ'), sql<number>`count(*)`.as('requests')])
      .execute();
    for (const { model_id, energyJ, requests } of models) {
      lines += Number(requests);
      if (model_id !== null)
        windows.addEarlier(model_id, { energyJ: Number(energyJ), requests: Number(requests) });
    }
    if (lines > mostLines) return;
  }
}
