/**
 * How lines look in a segment: JSON arrays and one object for each new head, so that a request is about 25 bytes.
 * `{"start":ms}` comes first; `{"head":n,…}` defines head n; one array is a batch: `[at, pid, computeNs, cpuPs,
 * dynamicPJ, idlePJ, gatewayCpuPs, gatewayPJ, [head, rows, id, …], …]` with the provisional figures of one row, and
 * of one request's part of the gateway, in pico units. Requests of one head with as many rows have equal figures.
 * `[head, rows, outcome, id, …]`: 1, their callers had left when they were computed; 2, they failed after it.
 * `{"reused":[at, idlePJ, gatewayCpuPs, gatewayPJ, [head, rows, avoidedPJ, id, …], …]}` are requests that another's
 * answer was used for, with what each of them avoided.
 */
import { z } from 'zod';
import type { LineHead, WorkLine } from './attribution.ts';
import type { ModelUse, WorkContext } from './energy.ts';
import type { BatchPrice } from './pricing.ts';

const party = z.object({ organisationId: z.string(), organisation: z.string() });
const headSchema = z.object({
  head: z.number(),
  kind: z.enum(['inference', 'explanation', 'evaluation', 'training']),
  consumer: party,
  keyId: z.string().nullable(),
  memberId: z.string().nullable().default(null),
  grantId: z.string().nullable(),
  jobId: z.string().nullable(),
  use: z.object({ modelId: z.string(), model: z.string(), version: z.number(), owner: party }).nullable(),
});
const figure = z.number();
const outcomes = { 1: 'aborted', 2: 'failed' } as const;
const group = z.union([
  z.tuple([figure, figure]).rest(z.string()),
  z.tuple([figure, figure, z.union([z.literal(1), z.literal(2)])]).rest(z.string()),
]);
const batchSchema = z.tuple([figure, figure, figure, figure, figure, figure, figure, figure]).rest(group);
const reusedSchema = z.object({
  reused: z.tuple([figure, figure, figure, figure]).rest(z.tuple([figure, figure, figure]).rest(z.string())),
});
const startSchema = z.object({ start: z.number() });

/** A line with what each of its requests was priced at when its answer left. */
export interface PricedLine extends WorkLine {
  cpuS: number;
  dynamicJ: number;
  idleShareJ: number;
}

interface KnownHead {
  head: LineHead;
  index: number;
  /** The segment that defines it. */
  writtenIn: string;
}

const maxHeads = 10_000;

/** Finds the head that many lines share, and writes it once into each segment. */
export class HeadBook {
  readonly #known = new Map<string, KnownHead>();
  #last: KnownHead | undefined;
  #next = 0;

  of({ kind, consumer, keyId, memberId = null, grantId, jobId }: WorkContext, use: ModelUse): KnownHead {
    const last = this.#last?.head;
    // Neighbours in a batch mostly have one key: then no text is made to look it up.
    if (
      this.#last &&
      last?.use === use &&
      last.keyId === keyId &&
      last.memberId === memberId &&
      last.grantId === grantId &&
      last.kind === kind &&
      last.jobId === jobId &&
      last.consumer.organisationId === consumer.organisationId
    ) {
      return this.#last;
    }
    this.#last = this.#find(
      `${kind}|${use.modelId}:${use.version}|${consumer.organisationId}|${keyId}|${memberId}|${grantId}|${jobId}`,
      () => ({
        kind,
        consumer: { organisationId: consumer.organisationId, organisation: consumer.organisation },
        keyId,
        memberId,
        grantId,
        jobId,
        use,
      }),
    );
    return this.#last;
  }

  /** Its definition, or nothing when the segment has it already. */
  define(known: KnownHead, segment: string): string {
    if (known.writtenIn === segment) return '';
    known.writtenIn = segment;
    return `${JSON.stringify({ head: known.index, ...known.head })}\n`;
  }

  /** After a write failed: what it was to define is not in the file. */
  clear(): void {
    this.#known.clear();
    this.#last = undefined;
  }

  #find(key: string, make: () => LineHead): KnownHead {
    const known = this.#known.get(key);
    if (known) return known;
    if (this.#known.size >= maxHeads) this.#known.clear();
    const made = { head: make(), index: this.#next++, writtenIn: '' };
    this.#known.set(key, made);
    return made;
  }
}

export function startText(startMs: number): string {
  return `{"start":${startMs}}\n`;
}

/**
 * The request that a model call belongs to: an explanation or evaluation numbers its calls `request.n`. All of them
 * are one request, with one entry in each interval.
 */
export function requestOf({ kind, requestId }: WorkContext): string {
  if (kind === 'inference') return requestId;
  const dot = requestId.indexOf('.');
  return dot < 0 ? requestId : requestId.slice(0, dot);
}

/** The first part of a batch's line; the groups of its requests follow, then `]\n`. */
export function batchText(runnerPid: number, computeNs: number, price: BatchPrice, atMs: number): string {
  return `[${atMs},${runnerPid},${Math.round(computeNs)},${pico(price.cpuSPerRow)},${pico(price.dynamicJPerRow)},${pico(price.idleJPerRow)},${pico(price.gatewayCpuS)},${pico(price.gatewayJ)}`;
}

/** The first part of a group of a batch; ids follow, then `]`. */
export function groupText(head: number, rows: number, outcome: 'aborted' | 'failed' | undefined): string {
  if (outcome === undefined) return `,[${head},${rows}`;
  return `,[${head},${rows},${outcome === 'aborted' ? 1 : 2}`;
}

/** The first part of the line of what was answered by reuse; the groups of its requests follow, then `]}\n`. */
export function reusedText(price: BatchPrice, atMs: number): string {
  return `{"reused":[${atMs},${pico(price.idleJPerRow)},${pico(price.gatewayCpuS)},${pico(price.gatewayJ)}`;
}

export interface SegmentLines {
  startMs: number | null;
  lines: PricedLine[];
  /** Callers of all batches; the calls of an explanation count one by one. */
  items: number;
  /** Values that are neither a head nor a batch, and requests of a head that is not defined. */
  broken: number;
}

/** What the segment of an interval holds. */
export function parseLines(intervalId: string, values: readonly unknown[]): SegmentLines {
  const heads = new Map<number, LineHead>();
  const lines: PricedLine[] = [];
  let startMs: number | null = null;
  let items = 0;
  let broken = 0;
  for (const value of values) {
    const batch = batchSchema.safeParse(value);
    if (batch.success) {
      const read = readBatch(intervalId, batch.data, heads);
      broken += read.broken;
      items += read.items;
      for (const line of read.lines) lines.push(line);
      continue;
    }
    const head = headSchema.safeParse(value);
    if (head.success) {
      const { head: index, ...rest } = head.data;
      heads.set(index, rest);
      continue;
    }
    const reused = reusedSchema.safeParse(value);
    if (reused.success) {
      const read = readReused(reused.data.reused, heads);
      broken += read.broken;
      items += read.items;
      for (const line of read.lines) lines.push(line);
      continue;
    }
    const start = startSchema.safeParse(value);
    if (start.success) startMs = start.data.start;
    else broken++;
  }
  return { startMs, lines: mergeRepeats(mergeCalls(lines)), items, broken };
}

function readBatch(
  intervalId: string,
  batch: z.infer<typeof batchSchema>,
  heads: ReadonlyMap<number, LineHead>,
) {
  const [atMs, runnerPid, computeNs, cpuPs, dynamicPJ, idlePJ, gatewayPs, gatewayPJ, ...groups] = batch;
  const lines: PricedLine[] = [];
  let batchRows = 0;
  let items = 0;
  let broken = 0;
  let batchItems = 0;
  const read = groups.map(readGroup);
  for (const { rows, ids } of read) {
    batchRows += rows * ids.length;
    batchItems += ids.length;
  }
  const alike = new Map<string, string[]>();
  for (const { index, rows, outcome, ids: requestIds } of read) {
    const head = heads.get(index);
    if (!head) {
      broken += requestIds.length;
      continue;
    }
    items += requestIds.length;
    // What makes many model calls may go on in the next interval, where it has another entry.
    const own = head.kind === 'inference' ? requestIds : requestIds.map((id) => `${id}~${intervalId}`);
    const same = alike.get(`${index} ${rows} ${outcome}`);
    if (same) {
      for (const id of own) same.push(id);
      continue;
    }
    const ids = [...own];
    alike.set(`${index} ${rows} ${outcome}`, ids);
    lines.push({
      ids,
      atMs,
      rows,
      runnerPid,
      computeNs: batchRows > 0 ? (computeNs * rows) / batchRows : 0,
      head,
      cpuS: (cpuPs * rows + gatewayPs) / 1e12,
      dynamicJ: (dynamicPJ * rows + gatewayPJ) / 1e12,
      idleShareJ: (idlePJ * rows) / 1e12,
      ...(batchItems > 1 ? { shared: true } : {}),
      ...(outcome ? { outcome } : {}),
    });
  }
  return { lines, items, broken };
}

function readGroup([index, rows, code, ...ids]: z.infer<typeof group>) {
  if (typeof code === 'number') return { index, rows, outcome: outcomes[code], ids };
  return { index, rows, outcome: undefined, ids: code === undefined ? ids : [code, ...ids] };
}

/** Only inferences are answered by reuse, so each id is a request. */
function readReused(
  [atMs, idlePJ, gatewayPs, gatewayPJ, ...groups]: z.infer<typeof reusedSchema>['reused'],
  heads: ReadonlyMap<number, LineHead>,
) {
  const lines: PricedLine[] = [];
  let items = 0;
  let broken = 0;
  for (const [index, rows, avoidedPJ, ...ids] of groups) {
    const head = heads.get(index);
    if (!head) {
      broken += ids.length;
      continue;
    }
    items += ids.length;
    lines.push({
      ids,
      atMs,
      rows,
      runnerPid: 0,
      computeNs: 0,
      head,
      outcome: 'cached',
      cpuS: gatewayPs / 1e12,
      dynamicJ: gatewayPJ / 1e12,
      idleShareJ: (idlePJ * rows) / 1e12,
      avoidedJ: avoidedPJ / 1e12,
    });
  }
  return { lines, items, broken };
}

/** A computation that came to nothing and was made again has the id of its request and a number. */
export function isRepeat(id: string): boolean {
  return id.includes('~');
}

/** Computations that came to nothing are a part of the line of their request, if it has one here. */
function mergeRepeats(lines: PricedLine[]): PricedLine[] {
  const isOfRepeats = ({ outcome, head, ids }: PricedLine) =>
    outcome === 'failed' && head.kind === 'inference' && ids.some(isRepeat);
  if (!lines.some(isOfRepeats)) return lines;
  const repeats = new Map<string, PricedLine[]>();
  const merged: PricedLine[] = [];
  for (const line of lines) {
    if (!isOfRepeats(line)) {
      merged.push(line);
      continue;
    }
    for (const id of line.ids) {
      const request = id.slice(0, id.indexOf('~'));
      repeats.set(request, [...(repeats.get(request) ?? []), { ...line, ids: [id] }]);
    }
  }
  // Their figures are not those of the others of their batch any more.
  for (const line of merged.splice(0)) {
    const others = line.ids.filter((id) => !repeats.has(id));
    if (others.length > 0) merged.push(others.length === line.ids.length ? line : { ...line, ids: others });
    for (const id of line.ids) {
      const own = repeats.get(id);
      if (!own) continue;
      // A runner's CPU time is split by what it computed itself: what another one computed stays apart.
      const isSame = ({ runnerPid }: PricedLine) => runnerPid === line.runnerPid;
      repeats.set(
        id,
        own.filter((repeat) => !isSame(repeat)),
      );
      merged.push(own.filter(isSame).reduce(addRepeat, { ...line, ids: [id] }));
    }
  }
  return [...merged, ...[...repeats.values()].flat()];
}

function addRepeat(line: PricedLine, repeat: PricedLine): PricedLine {
  return {
    ...line,
    computeNs: line.computeNs + repeat.computeNs,
    cpuS: line.cpuS + repeat.cpuS,
    dynamicJ: line.dynamicJ + repeat.dynamicJ,
    idleShareJ: line.idleShareJ + repeat.idleShareJ,
    ...(repeat.shared ? { shared: true } : {}),
  };
}

/** The many model calls of an explanation or evaluation become one line. */
function mergeCalls(lines: PricedLine[]): PricedLine[] {
  const merged: PricedLine[] = [];
  const byId = new Map<string, PricedLine>();
  for (const line of lines) {
    if (line.head.kind === 'inference') {
      merged.push(line);
      continue;
    }
    for (const id of line.ids) {
      const same = byId.get(id);
      if (!same) {
        const own = { ...line, ids: [id] };
        byId.set(id, own);
        merged.push(own);
        continue;
      }
      same.atMs = line.atMs;
      same.rows += line.rows;
      same.computeNs += line.computeNs;
      same.cpuS += line.cpuS;
      same.dynamicJ += line.dynamicJ;
      same.idleShareJ += line.idleShareJ;
      if (line.shared) same.shared = true;
      // One call that came to nothing does not undo the others.
      if (line.outcome === undefined) delete same.outcome;
    }
  }
  return merged;
}

/** Where a runner's CPU time cannot be read, the time it computed stands for it, CPU·s. */
export function computedBy(runnerPid: number, lines: readonly PricedLine[]): number {
  let nanoseconds = 0;
  for (const line of lines) {
    if (line.runnerPid === runnerPid) nanoseconds += line.ids.length * line.computeNs;
  }
  return nanoseconds / 1e9;
}

export function pico(value: number): number {
  return Math.round(value * 1e12);
}
