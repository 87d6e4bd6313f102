/** What one key, person, organisation, grant or model has used since a time: what limits start from. */
import { sql } from 'kysely';
import type { Db } from '../../storage/db.ts';
import { partsOfWindow, readPart } from './archive.ts';
import { inSnapshot } from './snapshot.ts';
import { emptySums, hourMs, isCall, type Line, requestOfLine, type Sums } from './tally.ts';
import { countOnce, planHours, sourcesOf, type WindowSums } from './window.ts';

/** All that are given must hold. */
export interface Subject {
  keyId?: string;
  memberId?: string;
  /** The consumer. */
  organisationId?: string;
  grantId?: string;
  modelId?: string;
}

export interface Usage {
  requests: number;
  rows: number;
  energyJ: number;
  carbonG: number;
}

/** No interval lasts longer. */
const longestMs = hourMs;

/**
 * Of what is settled, by the time of each line; `except`: intervals that the caller counts itself, be they settled
 * meanwhile or not.
 */
export function usageSince(
  db: Db,
  subject: Subject,
  sinceMs: number,
  except: readonly string[] = [],
): Promise<Usage> {
  return inSnapshot(db, async (read) => {
    const kinds = await headsOf(read, subject);
    const sums = emptySums();
    if (kinds.size > 0) {
      const scope: Scope = { heads: JSON.stringify([...kinds.keys()]), kinds, sinceMs };
      const wholeFrom = Math.ceil(sinceMs / hourMs);
      const calls = await addWholeHours(read, scope, wholeFrom, sums);
      calls.push(...(await addEdge(read, scope, wholeFrom * hourMs, sums)));
      calls.push(...(await addArchived(read, scope, wholeFrom * hourMs, sums)));
      sums.requests -= countOnce(calls, () => true);
      await subtract(read, scope, except, sums);
    }
    return { requests: sums.requests, rows: sums.rows, energyJ: sums.energy_j, carbonG: sums.carbon_g };
  });
}

interface Scope {
  /** JSON. */
  heads: string;
  kinds: ReadonlyMap<number, string>;
  sinceMs: number;
}

type Call = WindowSums['repeats'][number];

async function headsOf(db: Db, subject: Subject): Promise<Map<number, string>> {
  const { keyId, memberId, organisationId, grantId, modelId } = subject;
  const wanted = Object.entries({
    key_id: keyId,
    member_id: memberId,
    consumer_id: organisationId,
    grant_id: grantId,
    model_id: modelId,
  }).filter(([, value]) => value !== undefined);
  let query = db
    .selectFrom('ledger_heads')
    .where('kind', 'in', ['inference', 'explanation', 'evaluation', 'training']);
  for (const [column, value] of wanted) query = query.where(sql.ref(column), '=', value);
  const rows = await query.select(['id', 'kind']).execute();
  return new Map(rows.map(({ id, kind }) => [id, kind]));
}

async function addWholeHours(db: Db, { heads }: Scope, from: number, sums: Sums): Promise<Call[]> {
  const last = await db
    .selectFrom('ledger_hours')
    .select('hour')
    .orderBy('hour', 'desc')
    .limit(1)
    .executeTakeFirst();
  const calls: Call[] = [];
  if (last === undefined || last.hour < from) return calls;
  const names = sql.join(
    (['requests', 'rows', 'energy_j', 'carbon_g'] as const).map(
      (name) => sql`coalesce(sum(${sql.ref(name)}), 0) as ${sql.ref(name)}`,
    ),
  );
  for (const { table, column, ...run } of sourcesOf(await planHours(db, { from, to: last.hour + 1 }))) {
    // One look-up for each day and head: a subject has few of them.
    const { rows } = await sql<Pick<Sums, 'requests' | 'rows' | 'energy_j' | 'carbon_g'>>`
      with recursive at(n) as (select ${run.from} union all select n + 1 from at where n + 1 < ${run.to})
      select ${names} from at cross join json_each(${heads}) h
      cross join ${sql.table(table)} s on s.${sql.ref(column)} = at.n and s.head = h.value`.execute(db);
    addUsage(sums, rows[0]);
  }
  const repeats = await sql<Call>`select request, head from ledger_repeats where hour >= ${from}
    and head in (select value from json_each(${heads}))`.execute(db);
  return [...calls, ...repeats.rows];
}

/** Lines since then of intervals that started before the first whole hour. */
async function addEdge(db: Db, scope: Scope, untilMs: number, sums: Sums): Promise<Call[]> {
  const { heads, sinceMs } = scope;
  const { rows } = await sql<LineSums>`
    select l.head, count(*) as entries, sum(l.rows) as rows, sum(l.energy_j) as energy_j, sum(l.carbon_g) as carbon_g
    from ledger_intervals i cross join ledger_lines l on l.interval_id = i.id
    where i.start_ms >= ${sinceMs - longestMs} and i.start_ms < ${untilMs} and i.end_ms >= ${sinceMs}
      and l.at_ms >= ${sinceMs} and l.head in (select value from json_each(${heads})) group by l.head`.execute(
    db,
  );
  const calls: Call[] = [];
  for (const row of rows) {
    addUsage(sums, { ...row, requests: scope.kinds.get(row.head) === 'inference' ? row.entries : 0 });
    if (!isCall(scope.kinds.get(row.head) ?? '')) continue;
    const found = await sql<Call>`
      select distinct substr(l.id, 1, instr(l.id || '~', '~') - 1) as request, l.head
      from ledger_intervals i cross join ledger_lines l on l.interval_id = i.id
      where i.start_ms >= ${sinceMs - longestMs} and i.start_ms < ${untilMs} and i.end_ms >= ${sinceMs}
        and l.at_ms >= ${sinceMs} and l.head = ${row.head}`.execute(db);
    sums.requests += found.rows.length;
    calls.push(...found.rows);
  }
  return calls;
}

async function addArchived(db: Db, { kinds, sinceMs }: Scope, untilMs: number, sums: Sums): Promise<Call[]> {
  const calls = new Map<string, Call>();
  for (const part of await partsOfWindow(db, sinceMs - longestMs, untilMs)) {
    const { intervals, lines } = await readPart(db, part);
    const ours = new Set(intervals.filter(({ start_ms }) => start_ms < untilMs).map(({ id }) => id));
    for (const line of lines) {
      const kind = kinds.get(line.head);
      if (kind === undefined || line.at_ms < sinceMs || !ours.has(line.interval_id)) continue;
      addUsage(sums, { ...line, requests: kind === 'inference' ? 1 : 0 });
      if (isCall(kind)) {
        const request = requestOfLine(line.id);
        calls.set(`${request} ${line.head}`, { request, head: line.head });
      }
    }
  }
  sums.requests += calls.size;
  return [...calls.values()];
}

/** What the caller counts itself. */
async function subtract(db: Db, { heads, kinds, sinceMs }: Scope, except: readonly string[], sums: Sums) {
  const { rows } = await sql<LineSums>`
    select l.head, count(*) as entries, sum(l.rows) as rows, sum(l.energy_j) as energy_j, sum(l.carbon_g) as carbon_g
    from json_each(${JSON.stringify(except)}) e join ledger_intervals i on i.id = e.value
    cross join ledger_lines l on l.interval_id = i.id
    where l.at_ms >= ${sinceMs} and l.head in (select value from json_each(${heads})) group by l.head`.execute(
    db,
  );
  for (const row of rows) {
    addUsage(sums, { ...row, requests: kinds.get(row.head) === 'inference' ? row.entries : 0 }, -1);
    if (!isCall(kinds.get(row.head) ?? '')) continue;
    // A call that has a line elsewhere stays counted here: the caller leaves out what it is told of.
    const only = await sql<{ count: number }>`
      with taken as (select distinct substr(l.id, 1, instr(l.id || '~', '~') - 1) as request
        from ledger_lines l where l.head = ${row.head} and l.at_ms >= ${sinceMs}
        and l.interval_id in (select value from json_each(${JSON.stringify(except)})))
      select count(*) as count from taken where not exists (
        select 1 from ledger_lines o join ledger_intervals i on i.id = o.interval_id
        where o.id >= request || '~' and o.id < request || char(127) and o.at_ms >= ${sinceMs}
        and o.interval_id not in (select value from json_each(${JSON.stringify(except)})))`.execute(db);
    sums.requests -= only.rows[0]?.count ?? 0;
  }
}

/** Which of these calls have a settled line since then, in another interval than these. */
export async function settledCalls(
  db: Db,
  subject: Subject,
  sinceMs: number,
  requests: readonly string[],
  except: readonly string[],
): Promise<number> {
  if (requests.length === 0) return 0;
  const heads = JSON.stringify([...(await headsOf(db, subject)).keys()]);
  const { rows } = await sql<{ count: number }>`
    select count(*) as count from json_each(${JSON.stringify(requests)}) c where exists (
      select 1 from ledger_lines l join ledger_intervals i on i.id = l.interval_id
      where l.id >= c.value || '~' and l.id < c.value || char(127) and l.at_ms >= ${sinceMs}
      and l.head in (select value from json_each(${heads}))
      and l.interval_id not in (select value from json_each(${JSON.stringify(except)})))`.execute(db);
  return rows[0]?.count ?? 0;
}

type LineSums = Pick<Line, 'head' | 'rows' | 'energy_j' | 'carbon_g'> & { entries: number };

function addUsage(
  to: Sums,
  more: Pick<Sums, 'requests' | 'rows' | 'energy_j' | 'carbon_g'> | undefined,
  sign = 1,
): void {
  if (!more) return;
  to.requests += sign * more.requests;
  to.rows += sign * more.rows;
  to.energy_j += sign * more.energy_j;
  to.carbon_g += sign * more.carbon_g;
}
