/**
 * Reads ledger lines in the order of their intervals, from the table and from the archive alike, a few thousand at a
 * time. A reader may pause for as long as it likes: it goes on after the last line it has seen, wherever those that
 * follow are by then.
 */
import { sql } from 'kysely';
import type { Db } from '../../storage/db.ts';
import { findArchived, type Part, partsOfWindow, readPart } from './archive.ts';
import { type Head, readHeads } from './heads.ts';
import { inSnapshot } from './snapshot.ts';
import { hourMs, hourOf, type Interval, type Line, summed } from './tally.ts';

const linesPerRead = 5000;

/** Behind the last line that was read: so many of that interval. */
export interface Position {
  startMs: number;
  intervalId: string;
  lines: number;
}

export interface LineBatch {
  interval: Interval;
  lines: Line[];
  /** Before the first of `lines`. */
  from: Position;
}

export interface LineWindow {
  fromMs: number;
  toMs: number;
  /** Only hours with lines of these heads are read; batches hold others, too. Null: all. */
  heads: ReadonlySet<number> | null;
}

export async function* readLines(db: Db, window: LineWindow, after?: Position): AsyncGenerator<LineBatch> {
  let at: Position = after ?? { startMs: window.fromMs, intervalId: '', lines: 0 };
  let hour = await nextHour(db, window, hourOf(at.startMs));
  while (hour !== undefined) {
    let moved = false;
    for await (const batch of readHour(db, hour, at, window)) {
      if (batch === 'moved') {
        moved = true;
        break;
      }
      if (batch.lines.length > 0) yield batch;
      at = { ...batch.from, lines: batch.from.lines + batch.lines.length };
    }
    if (moved) continue;
    hour = await nextHour(db, window, hour + 1);
    if (hour !== undefined && hourOf(at.startMs) < hour)
      at = { startMs: hour * hourMs, intervalId: '', lines: 0 };
  }
}

async function nextHour(db: Db, { toMs, heads }: LineWindow, from: number): Promise<number | undefined> {
  let query = db
    .selectFrom('ledger_hours')
    .where('hour', '>=', from)
    .where('hour', '<=', hourOf(toMs - 1))
    .select('hour')
    .orderBy('hour')
    .limit(1);
  if (heads)
    query = query.where(
      'head',
      'in',
      sql<number>`(select value from json_each(${JSON.stringify([...heads])}))`,
    );
  return (await query.executeTakeFirst())?.hour;
}

/** Metered intervals that start in the window, in order: as many as asked for, and the start of the next one. */
export async function readIntervalRows(
  db: Db,
  window: Pick<LineWindow, 'fromMs' | 'toMs'>,
  limit: number,
): Promise<{ intervals: Interval[]; nextMs: number | null }> {
  const found: Interval[] = [];
  const all = { ...window, heads: null };
  for (let hour = await nextHour(db, all, hourOf(window.fromMs)); hour !== undefined; ) {
    const fromMs = Math.max(hour * hourMs, window.fromMs);
    const toMs = Math.min((hour + 1) * hourMs, window.toMs);
    const own = await db
      .selectFrom('ledger_intervals')
      .where('start_ms', '>=', fromMs)
      .where('start_ms', '<', toMs)
      .selectAll()
      .execute();
    for (const part of await partsOfWindow(db, fromMs, toMs))
      own.push(...(await readPart(db, part)).intervals);
    found.push(...own.filter(({ start_ms }) => start_ms >= fromMs && start_ms < toMs).sort(inOrder));
    if (found.length > limit) break;
    hour = await nextHour(db, all, hour + 1);
  }
  const next = found[limit];
  if (!next) return { intervals: found, nextMs: null };
  // Those that start in one millisecond are told together, so that their start is enough to go on from.
  const before = found.slice(0, limit).filter(({ start_ms }) => start_ms < next.start_ms);
  return before.length > 0
    ? { intervals: before, nextMs: next.start_ms }
    : { intervals: found.filter(({ start_ms }) => start_ms === next.start_ms), nextMs: next.start_ms + 1 };
}

type Order = Pick<Interval, 'start_ms' | 'id'>;

function inOrder(a: Order, b: Order): number {
  if (a.start_ms !== b.start_ms) return a.start_ms - b.start_ms;
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}

/** `moved`: what was to be read next has gone to the archive meanwhile. */
async function* readHour(
  db: Db,
  hour: number,
  at: Position,
  window: LineWindow,
): AsyncGenerator<LineBatch | 'moved'> {
  const fromMs = Math.max(at.startMs, hour * hourMs, window.fromMs);
  const toMs = Math.min((hour + 1) * hourMs, window.toMs);
  if (fromMs >= toMs) return;
  const isAhead = (interval: Interval) =>
    interval.start_ms >= fromMs &&
    interval.start_ms < toMs &&
    inOrder(interval, { start_ms: at.startMs, id: at.intervalId }) >= 0;
  const intervals = await db
    .selectFrom('ledger_intervals')
    .where('start_ms', '>=', fromMs)
    .where('start_ms', '<', toMs)
    .selectAll()
    .orderBy('start_ms')
    .orderBy('id')
    .execute();
  const inTable = intervals.filter(isAhead);
  const parts: Part[] = (await partsOfWindow(db, fromMs, toMs)).sort((a, b) => a.from_ms - b.from_ms);
  let opened: { interval: Interval; lines: Line[] }[] = [];
  const skipOf = (interval: Interval) =>
    interval.id === at.intervalId && interval.start_ms === at.startMs ? at.lines : 0;
  while (opened.length > 0 || inTable.length > 0 || parts.length > 0) {
    const [packed] = opened;
    const [row] = inTable;
    const next = packed && (!row || inOrder(packed.interval, row) < 0) ? packed.interval : row;
    const [part] = parts;
    if (part && (!next || part.from_ms <= next.start_ms)) {
      parts.shift();
      const more = (await openPart(db, part)).filter(({ interval }) => isAhead(interval));
      opened = [...opened, ...more].sort((a, b) => inOrder(a.interval, b.interval));
    } else if (packed && next === packed.interval) {
      opened.shift();
      const skip = skipOf(packed.interval);
      yield {
        interval: packed.interval,
        lines: packed.lines.slice(skip),
        from: { startMs: packed.interval.start_ms, intervalId: packed.interval.id, lines: skip },
      };
    } else if (row) {
      inTable.shift();
      yield* readInterval(db, row, skipOf(row));
    }
  }
}

async function openPart(db: Db, part: Part): Promise<{ interval: Interval; lines: Line[] }[]> {
  const { intervals, lines } = await readPart(db, part);
  const own = new Map(intervals.map((interval) => [interval.id, { interval, lines: [] as Line[] }]));
  for (const line of lines) own.get(line.interval_id)?.lines.push(line);
  return [...own.values()];
}

async function* readInterval(db: Db, interval: Interval, skip: number): AsyncGenerator<LineBatch | 'moved'> {
  for (let done = skip; ; ) {
    const lines = await db
      .selectFrom('ledger_lines')
      .where('interval_id', '=', interval.id)
      .selectAll()
      .orderBy(sql`rowid`)
      .limit(linesPerRead)
      .offset(done)
      .execute();
    const there = await db
      .selectFrom('ledger_intervals')
      .where('id', '=', interval.id)
      .select('id')
      .executeTakeFirst();
    if (!there) {
      yield 'moved';
      return;
    }
    yield {
      interval,
      lines,
      from: { startMs: interval.start_ms, intervalId: interval.id, lines: done },
    };
    done += lines.length;
    if (lines.length < linesPerRead) return;
  }
}

export interface FoundLine {
  line: Line;
  interval: Interval;
  head: Head;
}

/**
 * The line with this id, wherever it is. Of an explanation or evaluation, by the id of its request, its lines in all of
 * its intervals in one: their sum, with the last interval.
 */
export function findLine(db: Db, id: string): Promise<FoundLine | undefined> {
  return inSnapshot(db, (snapshot) => lineIn(snapshot, id));
}

async function lineIn(db: Db, id: string): Promise<FoundLine | undefined> {
  const found = await findInTable(db, id);
  if (!found.some(({ line }) => line.id === id)) found.unshift(...(await findArchived(db, id)));
  const last = found.at(-1);
  if (!last) return undefined;
  const head = (await readHeads(db, [last.line.head])).get(last.line.head);
  if (!head) return undefined;
  const exact = found.find(({ line }) => line.id === id);
  return exact ? { ...exact, head } : { line: sumOf(id, found), interval: last.interval, head };
}

function sumOf(id: string, found: readonly { line: Line }[]): Line {
  const [first, ...more] = found.map(({ line }) => line);
  const sum: Line = { ...(first as Line), id };
  for (const line of more) {
    for (const name of ['rows', ...summed] as const) {
      const [one, other] = [sum[name], line[name]];
      Object.assign(sum, { [name]: one === null || other === null ? null : one + other });
    }
    sum.at_ms = line.at_ms;
    sum.interval_id = line.interval_id;
  }
  return sum;
}

async function findInTable(db: Db, id: string): Promise<Omit<FoundLine, 'head'>[]> {
  const lines = await db
    .selectFrom('ledger_lines')
    .where((eb) => eb.or([eb('id', '=', id), eb.and([eb('id', '>=', `${id}~`), eb('id', '<', `${id}\x7f`)])]))
    .selectAll()
    .orderBy('id')
    .execute();
  const intervals = await db
    .selectFrom('ledger_intervals')
    .where('id', 'in', [...new Set(lines.map(({ interval_id }) => interval_id))])
    .selectAll()
    .execute();
  return lines
    .filter((line) => line.id === id || !id.includes('~'))
    .flatMap((line) => {
      const interval = intervals.find((one) => one.id === line.interval_id);
      return interval ? [{ line, interval }] : [];
    });
}
