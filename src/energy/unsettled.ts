/**
 * An interval whose time is over and whose lines are in its segment only, and how it becomes settled: read the
 * segment, give the joules to their owners, write them. Plain data in and out, so that it can be done in a worker.
 */
import { existsSync } from 'node:fs';
import type { Db } from '../storage/db.ts';
import { type Amounts, type Attribution, attribute, type Entry, type IntervalFacts } from './attribution.ts';
import { intervalRow, type RowBasis } from './interval-row.ts';
import { computedBy, parseLines, type SegmentLines } from './lines.ts';
import { type RecoveryBasis, recoveredInterval } from './recovery.ts';
import { residualRatio } from './residual.ts';
import { bookInterval, type IntervalRow } from './settlement.ts';
import type { Window } from './settling.ts';
import { readSegment } from './spool.ts';
import { type Use, usesOf } from './usage-counts.ts';

export interface MeteredInterval {
  kind: 'metered';
  id: string;
  /** The segment; null when there was no request. */
  file: string | null;
  /** What must be in it. */
  items: number;
  /** CPU time of a runner that cannot be read is null. */
  facts: Omit<IntervalFacts, 'id' | 'lines' | 'runners'> & {
    runners: readonly { pid: number; cpuS: number | null; unbookedNs?: number }[];
  };
  method: string;
  quality: 'measured' | 'estimated';
  /** Why the sensor's sample is missing and an estimate stands in for it; null when it is not. */
  missing: string | null;
  /** What was bounded because it cannot be true; absent: nothing. */
  notes?: readonly string[];
  memoryUsedBytes: number;
  rowBasis: RowBasis;
}

/** What a server that was killed left behind. */
interface LeftoverInterval {
  kind: 'leftover';
  id: string;
  file: string;
  basis: RecoveryBasis;
}

export type Unsettled = MeteredInterval | LeftoverInterval;

/** The interval as its segment's last line tells it, or undefined when the server ended before it was metered. */
export function asMetered(interval: unknown, id: string, file: string): MeteredInterval | undefined {
  return isMetered(interval) && interval.id === id ? { ...interval, file } : undefined;
}

/** Written by this program, whole or not at all: its kind is enough to know it by. */
function isMetered(value: unknown): value is MeteredInterval {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'metered';
}

/** What prices the next interval's provisional figures. */
export interface Learnt {
  joulesPerCpuS: number | null;
  acceleratorJPerS: number | null;
  hostBusyS: number;
  cpuCount: number;
  idleW: number;
  computeS: number;
  /** Of the runners that computed it. */
  runnerS: number;
  gatewayCpuSPerRequest: number;
  requests: number;
  /** Those of them that were computed while the gateway had other work. */
  amongOtherWork: number;
}

/** What is told of a settled interval. */
export interface Settlement {
  /** Null for a leftover without any whole line. */
  row: IntervalRow | null;
  /** False when the interval had been settled before a crash. */
  fresh: boolean;
  requests: number;
  energyByKind: Partial<Record<Entry['kind'], { energyJ: number; requests: number }>>;
  energyJ: number;
  carbonG: number;
  avoidedJ: number;
  /** What runners computed for the lines, s. */
  computedS: number;
  /** What the entries lack of the interval's totals, the worst of all figures and both bases, relative (residual.ts). */
  residualRatio: number;
  /** What each model's requests were given: how many, and joules; by model id. */
  models: Record<string, Window>;
  /** Who used what, for who counts it. */
  uses: Use[];
  /** In the order of the interval's jobs. */
  jobs: Amounts[];
  learnt: Learnt | null;
  /** Lines that were acknowledged and cannot be read. */
  lost: number;
}

/** Throws whatever the database throws; the interval is then unsettled as before. */
export async function settleInterval(
  db: Db,
  unsettled: Unsettled,
  options: { alone?: boolean } = {},
): Promise<Settlement> {
  const segment = read(unsettled);
  return unsettled.kind === 'metered'
    ? settleMetered(db, unsettled, segment, options)
    : settleLeftover(db, unsettled, segment, options);
}

async function settleMetered(
  db: Db,
  interval: MeteredInterval,
  { lines, items }: Read,
  options: { alone?: boolean },
): Promise<Settlement> {
  const facts: IntervalFacts = {
    ...interval.facts,
    id: interval.id,
    lines,
    runners: interval.facts.runners.map((runner) => ({
      ...runner,
      cpuS: runner.cpuS ?? computedBy(runner.pid, lines),
    })),
  };
  const attribution = attribute(facts);
  const row = intervalRow({ ...interval, facts }, attribution, interval.rowBasis);
  const fresh = await bookInterval(db, row, attribution.entries, options);
  return {
    ...summary(attribution.entries),
    computedS: computedS(lines),
    residualRatio: residualRatio(attribution.entries, row),
    row,
    fresh,
    jobs: attribution.entries.slice(lines.length, lines.length + facts.jobs.length).map(amountsOf),
    learnt: learntFrom(facts, attribution),
    lost: Math.max(0, interval.items - items),
  };
}

async function settleLeftover(
  db: Db,
  { id, basis }: LeftoverInterval,
  { startMs, lines, lost }: Read,
  options: { alone?: boolean },
): Promise<Settlement> {
  const booked = lines.length > 0 ? recoveredInterval(id, startMs, lines, basis) : null;
  const fresh = booked ? await bookInterval(db, booked.interval, booked.entries, options) : false;
  return {
    ...summary(booked?.entries ?? []),
    computedS: computedS(lines),
    residualRatio: booked ? residualRatio(booked.entries, booked.interval) : 0,
    row: booked?.interval ?? null,
    fresh,
    jobs: [],
    learnt: null,
    lost,
  };
}

interface Read extends Omit<SegmentLines, 'broken'> {
  lost: number;
}

/** A segment whose deletion a power cut undid or a person hastened has no lines. */
function read({ id, file }: Unsettled): Read {
  if (file === null || !existsSync(file)) return { startMs: null, lines: [], items: 0, lost: 0 };
  const { values, broken } = readSegment(file);
  const segment = parseLines(id, values);
  return { ...segment, lost: broken + segment.broken };
}

function summary(entries: readonly Entry[]) {
  const energyByKind: Settlement['energyByKind'] = {};
  const models: Settlement['models'] = {};
  let energyJ = 0;
  let carbonG = 0;
  let avoidedJ = 0;
  let requests = 0;
  for (const entry of entries) {
    const count = entry.ids.length;
    energyJ += count * entry.energyJ;
    carbonG += count * entry.carbonG;
    avoidedJ += count * (entry.avoided?.energyJ ?? 0);
    const computed = entry.rows > 0 ? count : 0;
    requests += computed;
    if (entry.owner && computed > 0) {
      models[entry.owner.modelId] ??= { energyJ: 0, requests: 0 };
      const own = models[entry.owner.modelId];
      if (own) {
        own.energyJ += count * entry.energyJ;
        own.requests += computed;
      }
    }
    const sum = energyByKind[entry.kind];
    if (!sum) energyByKind[entry.kind] = { energyJ: count * entry.energyJ, requests: computed };
    else {
      sum.energyJ += count * entry.energyJ;
      sum.requests += computed;
    }
  }
  return { energyByKind, energyJ, carbonG, avoidedJ, requests, models, uses: usesOf(entries) };
}

function computedS(lines: IntervalFacts['lines']): number {
  return lines.reduce((sum, { ids, computeNs }) => sum + ids.length * computeNs, 0) / 1e9;
}

function amountsOf({ cpuS, energyJ, idleShareJ, carbonG, embodiedG, waterL }: Entry): Amounts {
  return { cpuS, energyJ, idleShareJ, carbonG, embodiedG, waterL };
}

function learntFrom(facts: IntervalFacts, attribution: Attribution): Learnt {
  let computeNs = 0;
  let requests = 0;
  for (const line of facts.lines) {
    computeNs += line.ids.length * line.computeNs;
    requests += line.ids.length;
  }
  return {
    joulesPerCpuS: attribution.joulesPerCpuS,
    acceleratorJPerS: attribution.acceleratorJPerS,
    hostBusyS: facts.hostBusyS,
    cpuCount: facts.cpuCount,
    idleW: facts.idleW,
    computeS: computeNs / 1e9,
    runnerS: attribution.computingCpuS,
    gatewayCpuSPerRequest: attribution.gatewayCpuSPerRequest,
    requests,
    amongOtherWork: facts.otherWork?.requests ?? 0,
  };
}
