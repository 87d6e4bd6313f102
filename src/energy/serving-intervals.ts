/** The last intervals of a window one by one: how much CPU time serving took, and for how many requests of whom. */
import { sql } from 'kysely';
import type { Db } from '../storage/db.ts';
import type { ServingInterval } from './own-instances.ts';
import { isRequest } from './report-queries.ts';
import type { Window } from './store/window.ts';

/** Enough for a model of costs, few enough to be read while somebody waits. */
const intervalsAtMost = 240;
const linesAtMost = 50_000;

/** The gateway and the runners, apart from requests; what else it does (imports, pages) is not serving. */
const servingNotes = ['gateway', 'runners'];

interface Row {
  kind: string;
  note: string | null;
  consumer_id: string | null;
  lines: number;
  cpu_s: number;
}

/** Those whose lines have not been packed yet. */
export async function readServingIntervals(db: Db, { fromMs, toMs }: Window): Promise<ServingInterval[]> {
  const intervals = await db
    .selectFrom('ledger_intervals')
    .where('start_ms', '>=', fromMs)
    .where('start_ms', '<', toMs)
    .select(['id', 'start_ms', 'end_ms'])
    .orderBy('start_ms', 'desc')
    .limit(intervalsAtMost)
    .execute();
  const found: ServingInterval[] = [];
  let lines = 0;
  for (const { id, start_ms: startMs, end_ms: endMs } of intervals) {
    if (lines > linesAtMost) break;
    const { rows } = await sql<Row>`
      select h.kind, h.note, h.consumer_id, count(*) as lines, sum(l.cpu_s) as cpu_s
      from ledger_lines l join ledger_heads h on h.id = l.head where l.interval_id = ${id} group by 1, 2, 3`.execute(
      db,
    );
    lines += rows.reduce((sum, row) => sum + row.lines, 0);
    if (rows.length > 0 && endMs > startMs) found.push(intervalOf((endMs - startMs) / 1000, rows));
  }
  return found;
}

function intervalOf(durationS: number, rows: readonly Row[]): ServingInterval {
  const tenants = new Map<string, { requests: number; cpuS: number }>();
  let servingS = 0;
  for (const { kind, note, consumer_id: id, lines, cpu_s: cpuS } of rows) {
    const serves = isRequest(kind) || (note !== null && servingNotes.includes(note));
    if (serves) servingS += cpuS;
    if (!isRequest(kind) || id === null) continue;
    const tenant = tenants.get(id) ?? { requests: 0, cpuS: 0 };
    tenants.set(id, { requests: tenant.requests + lines, cpuS: tenant.cpuS + cpuS });
  }
  return { durationS, servingS, tenants };
}
