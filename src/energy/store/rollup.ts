/** Adds a settled interval to the sums of its hour, in the transaction that writes its row. */
import { type Insertable, sql } from 'kysely';
import type { Db, Schema } from '../../storage/db.ts';
import type { Entry } from '../attribution.ts';
import { intervalSums, sumsOfInterval } from './interval-sums.ts';
import { addLines, emptyTally, hourOf, isCall, requestOfLine, sumNames, type Tally } from './tally.ts';

type IntervalRow = Insertable<Schema['ledger_intervals']>;

/** Figures of an entry as a line has them. */
export function lineOf(entry: Entry) {
  return {
    rows: entry.rows,
    cpu_s: entry.cpuS,
    energy_j: entry.energyJ,
    idle_share_j: entry.idleShareJ,
    carbon_g: entry.carbonG,
    embodied_g: entry.embodiedG,
    water_l: entry.waterL,
    avoided_j: entry.avoided?.energyJ ?? 0,
    avoided_g: entry.avoided?.carbonG ?? 0,
    allocated_j: entry.allocated.energyJ,
    allocated_g: entry.allocated.carbonG,
    allocated_embodied_g: entry.allocated.embodiedG,
  };
}

/** By head. */
export function tallyEntries(
  entries: readonly Entry[],
  headOf: (entry: Entry) => number,
): Map<number, Tally> {
  const tallies = new Map<number, Tally>();
  for (const entry of entries) {
    const head = headOf(entry);
    let tally = tallies.get(head);
    if (!tally) {
      tally = emptyTally();
      tallies.set(head, tally);
    }
    addLines(tally.sums, lineOf(entry), entry.ids.length);
    if (entry.kind === 'inference') {
      tally.sums.requests += entry.ids.length;
      tally.histogram.add(entry.energyJ, entry.ids.length);
    } else if (isCall(entry.kind)) for (const id of entry.ids) tally.calls.add(requestOfLine(id));
  }
  return tallies;
}

export async function rollUp(
  tx: Db,
  interval: IntervalRow,
  tallies: ReadonlyMap<number, Tally>,
): Promise<void> {
  const hour = hourOf(interval.start_ms);
  await countCalls(tx, interval.id, hour, tallies);
  await addHistograms(tx, hour, tallies);
  const rows = [...tallies].map(([head, { sums, histogram }]) => [
    head,
    ...sumNames.map((name) => sums[name]),
    hexOf(histogram.pack()),
  ]);
  const names = sql.join(sumNames.map((name) => sql.ref(name)));
  const values = sql.join(sumNames.map((_, index) => sql`value ->> ${sql.lit(index + 1)}`));
  const added = sql.join(
    sumNames.map((name) => sql`${sql.ref(name)} = ${sql.ref(name)} + ${sql.ref(`excluded.${name}`)}`),
  );
  await sql`insert into ledger_hours (hour, head, ${names}, histogram)
    select ${hour}, value ->> 0, ${values}, unhex(value ->> ${sql.lit(sumNames.length + 1)})
    from json_each(${JSON.stringify(rows)}) where true
    on conflict (hour, head) do update set ${added}, histogram = excluded.histogram`.execute(tx);
  await addInterval(tx, interval, hour);
  // A day that was summed up before is summed up again.
  await tx
    .deleteFrom('ledger_folded')
    .where('day', '=', Math.floor(hour / 24))
    .execute();
}

/** What the hour has had so far goes into the histograms, which then take its place. */
async function addHistograms(tx: Db, hour: number, tallies: ReadonlyMap<number, Tally>): Promise<void> {
  const before = await tx
    .selectFrom('ledger_hours')
    .where('hour', '=', hour)
    .where('head', 'in', sql<number>`(select value from json_each(${JSON.stringify([...tallies.keys()])}))`)
    .where('histogram', 'is not', null)
    .select(['head', 'histogram'])
    .execute();
  for (const { head, histogram } of before) {
    if (histogram) tallies.get(head)?.histogram.merge(new Uint8Array(histogram));
  }
}

/**
 * A call counts once for an hour and head, in its first interval there. Those that are in several are remembered, so
 * that they count once for whatever hours and heads are put together.
 */
async function countCalls(
  tx: Db,
  intervalId: string,
  hour: number,
  tallies: ReadonlyMap<number, Tally>,
): Promise<void> {
  const requests = [...tallies.values()].flatMap(({ calls }) => [...calls]);
  if (requests.length === 0) return;
  const { rows } = await sql<{ request: string; start_ms: number; head: number }>`
    select distinct c.value as request, i.start_ms, l.head
    from json_each(${JSON.stringify([...new Set(requests)])}) c
    join ledger_lines l on l.id >= c.value || '~' and l.id < c.value || char(127)
    join ledger_intervals i on i.id = l.interval_id
    where l.interval_id <> ${intervalId}
    union select c.value, r.hour * 3600000, r.head
    from json_each(${JSON.stringify([...new Set(requests)])}) c join ledger_repeats r on r.request = c.value`.execute(
    tx,
  );
  const places = new Map<string, Map<string, { hour: number; head: number; known: boolean }>>();
  const place = (request: string, at: { hour: number; head: number }, known: boolean) => {
    const own = places.get(request) ?? new Map();
    places.set(request, own);
    const key = `${at.hour} ${at.head}`;
    if (own.has(key)) return false;
    own.set(key, { ...at, known });
    return true;
  };
  for (const { request, start_ms, head } of rows) place(request, { hour: hourOf(start_ms), head }, true);
  for (const [head, tally] of tallies) {
    for (const request of tally.calls) if (place(request, { hour, head }, false)) tally.sums.requests++;
  }
  const repeats = [...places].flatMap(([request, own]) =>
    own.size > 1 ? [...own.values()].map((at) => [request, at.hour, at.head]) : [],
  );
  if (repeats.length > 0)
    await sql`insert or ignore into ledger_repeats select value ->> 0, value ->> 1, value ->> 2
      from json_each(${JSON.stringify(repeats)})`.execute(tx);
}

async function addInterval(tx: Db, row: IntervalRow, hour: number): Promise<void> {
  const values = { hour, ...sumsOfInterval(row) };
  const added = sql.join(
    intervalSums.map((name) => sql`${sql.ref(name)} = ${sql.ref(name)} + ${sql.ref(`excluded.${name}`)}`),
  );
  await sql`insert into ledger_interval_hours (${sql.join(Object.keys(values).map((name) => sql.ref(name)))})
    values (${sql.join(Object.values(values))}) on conflict do update set ${added}`.execute(tx);
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
