/**
 * Sums of any window: days and hours that lie in it come from the roll-ups, the rest of the first and last hour from
 * their lines. An interval belongs to the window in which it starts. Where lines were dropped, the window is rounded to
 * the whole hour, and says so.
 */
import { type RawBuilder, sql } from 'kysely';
import type { Db } from '../../storage/db.ts';
import { partsOfWindow } from './archive.ts';
import { readHeads } from './heads.ts';
import type { Histogram } from './histogram.ts';
import { type IntervalSums, intervalKinds, intervalSums, sumsOfInterval } from './interval-sums.ts';
import { readLines } from './lines.ts';
import {
  addLines,
  addSums,
  emptyTally,
  hourMs,
  hourOf,
  type Interval,
  isCall,
  requestOfLine,
  type Sums,
  sumNames,
  type Tally,
} from './tally.ts';

export interface Window {
  fromMs: number;
  toMs: number;
}

/** From its first hour or day to before its last one. */
interface Run {
  from: number;
  to: number;
}

export interface Plan {
  days: Run[];
  hours: Run[];
  /** Parts of hours. */
  edges: Window[];
  /** Hours that are counted whole or not at all, since their lines were dropped. */
  rounded: number[];
}

async function planWindow(db: Db, { fromMs, toMs }: Window): Promise<Plan> {
  const plan: Plan = { days: [], hours: [], edges: [], rounded: [] };
  let first = Math.ceil(fromMs / hourMs);
  let end = Math.floor(toMs / hourMs);
  const edgeOf = async (edge: Window) => {
    if (edge.toMs <= edge.fromMs) return false;
    const hour = hourOf(edge.fromMs);
    if (await holdsAll(db, hour, edge)) return true;
    if (await isDropped(db, hour)) {
      plan.rounded.push(hour);
      return edge.toMs - edge.fromMs >= hourMs / 2;
    }
    plan.edges.push(edge);
    return false;
  };
  if (first > end) {
    if (await edgeOf({ fromMs, toMs })) [first, end] = [hourOf(fromMs), hourOf(fromMs) + 1];
  } else {
    if (await edgeOf({ fromMs, toMs: first * hourMs })) first--;
    if (await edgeOf({ fromMs: end * hourMs, toMs })) end++;
  }
  return first < end ? { ...plan, ...(await planHours(db, { from: first, to: end })) } : plan;
}

/** Whether no interval of the hour starts outside of the edge. */
async function holdsAll(db: Db, hour: number, { fromMs, toMs }: Window): Promise<boolean> {
  const outside = [
    { fromMs: hour * hourMs, toMs: fromMs },
    { fromMs: toMs, toMs: (hour + 1) * hourMs },
  ].filter((window) => window.toMs > window.fromMs);
  for (const window of outside) {
    const inTable = await db
      .selectFrom('ledger_intervals')
      .where('start_ms', '>=', window.fromMs)
      .where('start_ms', '<', window.toMs)
      .select('id')
      .limit(1)
      .executeTakeFirst();
    if (inTable || (await partsOfWindow(db, window.fromMs, window.toMs)).length > 0) return false;
  }
  return !(await isDropped(db, hour));
}

async function isDropped(db: Db, hour: number): Promise<boolean> {
  return Boolean(
    await db.selectFrom('ledger_dropped').where('hour', '=', hour).select('hour').executeTakeFirst(),
  );
}

/** Days that are summed up as days, the rest as hours. */
export async function planHours(db: Db, { from, to }: Run): Promise<Pick<Plan, 'days' | 'hours'>> {
  const folded = await db
    .selectFrom('ledger_folded')
    .where('day', '>=', Math.ceil(from / 24))
    .where('day', '<', Math.floor(to / 24))
    .select('day')
    .orderBy('day')
    .execute();
  const days: Run[] = [];
  const hours: Run[] = [];
  let hour = from;
  for (const { day } of folded) {
    if (hour < day * 24) hours.push({ from: hour, to: day * 24 });
    const last = days.at(-1);
    if (last?.to === day) last.to++;
    else days.push({ from: day, to: day + 1 });
    hour = (day + 1) * 24;
  }
  if (hour < to) hours.push({ from: hour, to });
  return { days, hours };
}

export interface WindowSums {
  plan: Plan;
  /** By head. */
  sums: ReadonlyMap<number, Sums>;
  /** Of the edges alone. */
  edges: readonly ReadonlyMap<number, Tally>[];
  /** Requests that are in the sums of several heads or hours, once for each. */
  repeats: readonly { request: string; head: number }[];
}

export async function readWindow(db: Db, window: Window): Promise<WindowSums> {
  const plan = await planWindow(db, window);
  const all = new Map<number, Sums>();
  const add = (head: number, sums: Sums) => {
    const known = all.get(head);
    if (known) addSums(known, sums);
    else all.set(head, { ...sums });
  };
  for (const source of sourcesOf(plan)) {
    for (const { head, ...sums } of await sumsOf(db, source)) add(head, sums);
  }
  const repeats = await repeatsOf(db, plan);
  const edges: ReadonlyMap<number, Tally>[] = [];
  for (const edge of plan.edges) {
    const tallies = await tallyLines(db, edge);
    edges.push(tallies);
    for (const [head, tally] of tallies) {
      add(head, tally.sums);
      for (const request of tally.calls) repeats.push({ request, head });
    }
  }
  return { plan, sums: all, edges, repeats };
}

/** Adds the joules of single inferences to the histogram that each head belongs to. */
export async function mergeHistograms(
  db: Db,
  { plan, edges }: WindowSums,
  histogramOf: (head: number) => Histogram | undefined,
): Promise<void> {
  for (const source of sourcesOf(plan)) {
    for (const { head, histogram } of await histogramsOf(db, source))
      histogramOf(head)?.merge(new Uint8Array(histogram));
  }
  for (const edge of edges) {
    for (const [head, { histogram }] of edge) histogramOf(head)?.mergeAll(histogram);
  }
}

type Source = Run & { table: 'ledger_hours' | 'ledger_days'; column: 'hour' | 'day' };

export function sourcesOf({ days, hours }: Pick<Plan, 'days' | 'hours'>): Source[] {
  return [
    ...days.map((run) => ({ ...run, table: 'ledger_days', column: 'day' }) as const),
    ...hours.map((run) => ({ ...run, table: 'ledger_hours', column: 'hour' }) as const),
  ];
}

async function sumsOf(db: Db, { table, column, from, to }: Source): Promise<(Sums & { head: number })[]> {
  const sums = sql.join(sumNames.map((name) => sql`sum(${sql.ref(name)}) as ${sql.ref(name)}`));
  const { rows } = await sql<Sums & { head: number }>`select head, ${sums} from ${sql.table(table)}
    where ${sql.ref(column)} >= ${from} and ${sql.ref(column)} < ${to} group by head`.execute(db);
  return rows;
}

async function histogramsOf(db: Db, { table, column, from, to }: Source) {
  const { rows } = await sql<{ head: number; histogram: ArrayBuffer }>`
    select head, histogram from ${sql.table(table)} where ${sql.ref(column)} >= ${from}
    and ${sql.ref(column)} < ${to} and length(histogram) > 0`.execute(db);
  return rows;
}

async function repeatsOf(db: Db, { days, hours }: Plan): Promise<{ request: string; head: number }[]> {
  const repeats: { request: string; head: number }[] = [];
  for (const { from, to } of [...days.map((run) => ({ from: run.from * 24, to: run.to * 24 })), ...hours]) {
    const rows = await db
      .selectFrom('ledger_repeats')
      .where('hour', '>=', from)
      .where('hour', '<', to)
      .select(['request', 'head'])
      .execute();
    for (const row of rows) repeats.push(row);
  }
  return repeats;
}

/** Each call counts once for its head. */
async function tallyLines(
  db: Db,
  window: Window,
  keep: (line: { at_ms: number; head: number }, interval: Interval) => boolean = () => true,
): Promise<Map<number, Tally>> {
  const tallies = new Map<number, Tally>();
  const heads = new Map<number, string>();
  for await (const { interval, lines } of readLines(db, { ...window, heads: null })) {
    const unknown = new Set(lines.map(({ head }) => head).filter((head) => !heads.has(head)));
    if (unknown.size > 0) for (const [id, { kind }] of await readHeads(db, unknown)) heads.set(id, kind);
    for (const line of lines) {
      if (!keep(line, interval)) continue;
      const tally = tallies.get(line.head) ?? emptyTally();
      tallies.set(line.head, tally);
      addLines(tally.sums, line);
      const kind = heads.get(line.head) ?? '';
      if (kind === 'inference') {
        tally.sums.requests++;
        tally.histogram.add(line.energy_j);
      } else if (isCall(kind)) tally.calls.add(requestOfLine(line.id));
    }
  }
  for (const { sums, calls } of tallies.values()) sums.requests += calls.size;
  return tallies;
}

/** Requests that were counted for several of these heads or hours count once. */
export function countOnce(repeats: WindowSums['repeats'], of: (head: number) => boolean): number {
  const seen = new Set<string>();
  let again = 0;
  for (const { request, head } of repeats) {
    if (!of(head)) continue;
    if (seen.has(request)) again++;
    seen.add(request);
  }
  return again;
}

/** Sums over metered intervals, a row for each method, quality, grid and node. */
export async function readIntervalSums(db: Db, { hours, days, edges }: Plan) {
  const kinds = sql.join(intervalKinds.map((name) => sql.ref(name)));
  const sums = sql.join(intervalSums.map((name) => sql`sum(${sql.ref(name)}) as ${sql.ref(name)}`));
  const parts: RawBuilder<IntervalSums>[] = [];
  for (const { from, to } of [...days.map((run) => ({ from: run.from * 24, to: run.to * 24 })), ...hours])
    parts.push(sql`select ${kinds}, ${sums} from ledger_interval_hours where hour >= ${from} and hour < ${to}
      group by ${kinds}`);
  const rows: IntervalSums[] = [];
  for (const part of parts) rows.push(...(await part.execute(db)).rows);
  for (const edge of edges) {
    const seen = new Set<string>();
    for await (const { interval } of readLines(db, { ...edge, heads: null })) {
      if (!seen.has(interval.id)) rows.push(sumsOfInterval(interval));
      seen.add(interval.id);
    }
  }
  return rows;
}
