/** The groups of a report: one for each model, tenant, day, … or for each combination of several. */
import { CommonwattError } from '../errors.ts';
import type { Db } from '../storage/db.ts';
import {
  type Burden,
  countsOf,
  isRequest,
  isVisible,
  type Reading,
  readLedger,
  type Scope,
  type Sums,
  sumsOf,
} from './report-queries.ts';
import type { Head } from './store/heads.ts';
import { Histogram } from './store/histogram.ts';
import { hourMs, type Sums as StoredSums } from './store/tally.ts';
import { mergeHistograms, type Window } from './store/window.ts';

const headGroups = [
  'model',
  'tenant',
  'kind',
  'version',
  'key',
  'member',
  'runner',
  'node',
  'owner',
  'job',
  'outcome',
] as const;
const timeGroups = ['hour', 'day', 'month'] as const;
export const groupNames = [...headGroups, ...timeGroups] as const;
export type GroupBy = (typeof groupNames)[number];

/** Times to group by: more of them would be a page nobody reads. */
const mostTimes = 1000;
const unitMs = { hour: hourMs, day: 24 * hourMs, month: 28 * 24 * hourMs };

/** Throws INVALID_REQUEST for two units of time, and for too many times. */
export function checkGroups(groupBy: readonly GroupBy[], { fromMs, toMs }: Window): void {
  const units = timeGroups.filter((name) => groupBy.includes(name));
  const refuse = (message: string, hint: string) => {
    throw new CommonwattError('INVALID_REQUEST', message, { where: 'group_by', hint });
  };
  if (units.length > 1) refuse(`"${units.join(',')}" are all of time`, 'group by one of hour, day and month');
  const [unit] = units;
  if (unit && (toMs - fromMs) / unitMs[unit] > mostTimes)
    refuse(`the window has more than ${mostTimes} times "${unit}"`, 'take a shorter window or longer units');
}

export interface ReportGroup {
  /** What it is grouped by, in order. */
  key: string;
  by: Partial<Record<GroupBy, string>>;
  requests: number;
  /** Of them, those whose answers were of use. */
  finished: number;
  rows: number;
  energyWh: number;
  idleShareWh: number;
  carbonGCo2e: number;
  waterL: number | null;
  embodiedGCo2e: number;
  cpuSeconds: number;
  /** What was reserved, and what of it requests and jobs did not use; null: not known of everything. */
  allocated: WireBurden | null;
  waste: WireBurden | null;
  /** Of single inferences, to 1 %; null: there was none, or not all were counted when they were booked. */
  whPerRequest: Percentiles | null;
  /** Is the energy per request of its model to be trusted yet? Null: not one model's, or no request lately. */
  settled: boolean | null;
}

export interface WireBurden {
  energyWh: number;
  carbonGCo2e: number;
  embodiedGCo2e: number;
}

export interface Percentiles {
  p50: number;
  p90: number;
  p99: number;
}

export function wireBurden({ energyJ, carbonG, embodiedG }: Burden): WireBurden {
  return { energyWh: energyJ / 3600, carbonGCo2e: carbonG, embodiedGCo2e: embodiedG };
}

/** What was reserved beyond what requests and jobs used; null: not known. */
export function wasteOf({ allocated, work }: Sums): Burden | null {
  return (
    allocated && {
      energyJ: allocated.energyJ - work.energyJ,
      carbonG: allocated.carbonG - work.carbonG,
      embodiedG: allocated.embodiedG - work.embodiedG,
    }
  );
}

export interface GroupQuery {
  scope: Scope;
  groupBy: readonly GroupBy[];
  settled(modelId: string): boolean | null;
}

/**
 * Those that used most come first. Joules of the caller's single inferences are added to `all`: they are read once
 * for everything.
 */
export async function readGroups(
  db: Db,
  reading: Reading,
  query: GroupQuery,
  all: Histogram,
): Promise<ReportGroup[]> {
  const unit = timeGroups.find((name) => query.groupBy.includes(name));
  if (!unit) return groupsOf(db, reading, query, {}, all);
  const groups: ReportGroup[] = [];
  for (const { label, window } of await cut(db, reading.window, unit)) {
    const part = await readLedger(db, window);
    groups.push(...(await groupsOf(db, part, query, { [unit]: label }, all)));
  }
  return groups.sort((a, b) => b.energyWh - a.energyWh);
}

async function groupsOf(
  db: Db,
  reading: Reading,
  { scope, groupBy, settled }: GroupQuery,
  time: Partial<Record<GroupBy, string>>,
  all: Histogram,
): Promise<ReportGroup[]> {
  const groups = new Map<string, Group>();
  const groupOf = new Map<number, Histogram>();
  for (const [id, sums] of reading.sums.sums) {
    const head = reading.heads.get(id);
    if (!head || !isVisible(head, scope)) continue;
    const by = Object.fromEntries(groupBy.map((name) => [name, time[name] ?? nameOf(name, head, scope)]));
    const key = JSON.stringify(by);
    const group = groups.get(key) ?? { by, sums: new Map(), heads: new Map(), histogram: new Histogram() };
    groups.set(key, group);
    group.sums.set(id, sums);
    group.heads.set(id, head);
    if (head.kind === 'inference') groupOf.set(id, group.histogram);
  }
  await mergeHistograms(db, reading.sums, (head) => groupOf.get(head));
  for (const { histogram } of groups.values()) all.mergeAll(histogram);
  return [...groups.values()]
    .map((group) => groupRow(reading, group, settled))
    .sort((a, b) => b.energyWh - a.energyWh);
}

interface Group {
  by: ReportGroup['by'];
  sums: Map<number, StoredSums>;
  heads: Map<number, Head>;
  histogram: Histogram;
}

function groupRow(
  { window, sums: all }: Reading,
  { by, heads, histogram, ...group }: Group,
  settled: GroupQuery['settled'],
): ReportGroup {
  const own: Reading = { window, heads, sums: { ...all, sums: group.sums } };
  const sums = sumsOf(own, () => true);
  const { requests, finished, rows } = countsOf(own, () => true);
  const waste = wasteOf(sums);
  const inferences = countsOf(own, ({ kind }) => kind === 'inference').requests;
  // What a model idled or was trained with belongs to its group, and says nothing of its requests.
  const asked = [...heads.values()].filter(({ kind }) => isRequest(kind));
  const models = new Set(asked.map(({ model_id }) => model_id));
  const [model] = models;
  return {
    key: Object.values(by).join(' · '),
    by,
    requests,
    finished,
    rows,
    energyWh: sums.energyJ / 3600,
    idleShareWh: sums.idleShareJ / 3600,
    carbonGCo2e: sums.carbonG,
    waterL: sums.waterL,
    embodiedGCo2e: sums.embodiedG,
    cpuSeconds: sums.cpuS,
    allocated: sums.allocated && wireBurden(sums.allocated),
    waste: waste && wireBurden(waste),
    whPerRequest: histogram.total === inferences ? percentilesOf(histogram) : null,
    settled: models.size === 1 && model ? settled(model) : null,
  };
}

export function percentilesOf(histogram: Histogram): Percentiles | null {
  const [p50, p90, p99] = [0.5, 0.9, 0.99].map((q) => histogram.quantile(q));
  if (p50 === null || p90 === null || p99 === null) return null;
  if (p50 === undefined || p90 === undefined || p99 === undefined) return null;
  return { p50: p50 / 3600, p90: p90 / 3600, p99: p99 / 3600 };
}

/** An owner sees which organisations used its model, never by which of their keys, people or jobs. */
function nameOf(by: GroupBy, head: Head, scope: Scope): string {
  const other = head.note === null ? head.kind : `${head.kind}: ${head.note}`;
  const foreign = scope !== 'all' && head.consumer_id !== scope.organisationId;
  const own = (id: string | null) => (foreign ? (head.consumer ?? other) : (id ?? other));
  switch (by) {
    case 'kind':
      return head.kind;
    case 'model':
      return head.model ?? other;
    case 'version':
      return head.model === null ? other : `${head.model}:${head.version}`;
    case 'tenant':
      return head.consumer ?? other;
    case 'owner':
      return head.owner ?? other;
    case 'key':
      return own(head.key_id);
    case 'member':
      return own(head.member_id);
    case 'job':
      return own(head.job_id);
    case 'runner':
      return head.runner_pid === null ? other : String(head.runner_pid);
    case 'node':
      return head.node ?? 'unknown';
    case 'outcome':
      return head.outcome;
    default:
      return other;
  }
}

/** The parts of a window that there is anything of, by the hours, days or months of UTC. */
export async function cut(db: Db, window: Window, unit: (typeof timeGroups)[number]) {
  const { first, last } = await db
    .selectFrom('ledger_hours')
    .select(({ fn }) => [fn.min('hour').as('first'), fn.max('hour').as('last')])
    .executeTakeFirstOrThrow();
  const parts: { label: string; window: Window }[] = [];
  if (first === null || last === null) return parts;
  const toMs = Math.min(window.toMs, (last + 1) * hourMs);
  for (let fromMs = Math.max(window.fromMs, first * hourMs); fromMs < toMs; ) {
    const { label, endMs } = timeOf(unit, fromMs);
    parts.push({ label, window: { fromMs, toMs: Math.min(endMs, toMs) } });
    fromMs = endMs;
  }
  return parts;
}

function timeOf(unit: (typeof timeGroups)[number], ms: number): { label: string; endMs: number } {
  const text = new Date(ms).toISOString();
  if (unit === 'hour')
    return { label: `${text.slice(0, 13)}:00Z`, endMs: (Math.floor(ms / hourMs) + 1) * hourMs };
  if (unit === 'day')
    return { label: text.slice(0, 10), endMs: (Math.floor(ms / hourMs / 24) + 1) * 24 * hourMs };
  const date = new Date(ms);
  return { label: text.slice(0, 7), endMs: Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1) };
}
