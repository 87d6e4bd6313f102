/** Impact reports: what was used, what was there, how well it was used, and what sharing it saves. From the ledger. */
import { CommonwattError } from '../errors.ts';
import type { Db } from '../storage/db.ts';
import type { Basis } from './basis.ts';
import { embodiedMemoryGrams, embodiedShare } from './embodied.ts';
import type { Footprint } from './energy.ts';
import type { ImpactFunctionSettings } from './impact-function.ts';
import type { InstanceMemory } from './instance-memory.ts';
import type { WatchedModel } from './latency.ts';
import type { PowerCurve } from './meters/meter.ts';
import { type OperatingReport, operatingReport } from './operating-report.ts';
import type { Rebound } from './rebound.ts';
import {
  checkGroups,
  type GroupBy,
  type Percentiles,
  percentilesOf,
  type ReportGroup,
  readGroups,
  type WireBurden,
  wasteOf,
  wireBurden,
} from './report-groups.ts';
import {
  countsOf,
  isRequest,
  isVisible,
  pueOf,
  type Reading,
  readIntervals,
  readLedger,
  readTenants,
  type Scope,
  sumsOf,
} from './report-queries.ts';
import { readServingIntervals } from './serving-intervals.ts';
import { type SharingReport, sharingReport } from './sharing-report.ts';
import type { Head } from './store/heads.ts';
import { Histogram } from './store/histogram.ts';
import { inSnapshot } from './store/snapshot.ts';
import { hourMs } from './store/tally.ts';
import { type UseReport, useReport } from './use-report.ts';

export interface ReportQuery {
  from: Date;
  to: Date;
  groupBy: readonly GroupBy[];
  scope: Scope;
}

/** `ImpactReport` of docs/api.md. A figure that is null has its reason in `unknown`. */
export interface ImpactReport {
  from: string;
  to: string;
  quality: Footprint['quality'];
  method: string;
  methodVersion: string;
  zone: string;
  intensityGPerKwh: { value: number; source: string; kind: 'average' | 'marginal' };
  pue: { value: number; assumed: boolean };
  consumption: {
    energyWh: number;
    carbonGCo2e: number;
    waterL: number | null;
    embodiedGCo2e: number;
    requests: number;
    /** Of them, those whose answers were of use. */
    finished: number;
    jobs: number;
    /** What was reserved, and what of it requests and jobs did not use; null: not known of everything. */
    allocated: WireBurden | null;
    waste: WireBurden | null;
    /** Of single inferences, to 1 %. */
    whPerRequest: Percentiles | null;
  };
  /** What answering from earlier or joined computations spared; in no other figure. Always estimated. */
  avoided: { requests: number; energyWh: number; carbonGCo2e: number; quality: 'estimated' };
  supply: { cpuSeconds: number; memoryGbSeconds: number; energyWh: number };
  split: {
    requestsWh: number;
    jobsWh: number;
    idleWh: number;
    overheadWh: number;
    unattributedWh: number;
    meterWh: number;
    residualRatio: number;
  };
  rur: UseReport;
  impact: {
    totalGCo2e: number;
    perRequestGCo2e: number | null;
    perRequestWh: number | null;
  } & Omit<OperatingReport, 'unknown'>;
  sharing: SharingReport;
  groups: ReportGroup[];
  unknown: Record<string, string>;
  notes: string[];
}

/** What the host is like now, for windows without any interval and for figures the ledger does not hold. */
export interface ReportHost {
  basis: Basis;
  idleW: number;
  maxW: number;
  cpuCount: number;
  memoryBytes: number;
  /** Relative, of the watts. */
  uncertainty: number;
  quality: Footprint['quality'];
  method: string;
  methodVersion: string;
  /** Bytes that replicas of a model hold, by its id. */
  memoryOfModels: Readonly<Record<string, number>>;
  /** Is the energy per request to be trusted yet? By model id. */
  settling?: Readonly<Record<string, { settled: boolean }>>;
  /** The operator's own f, and the curve that was measured of this host. */
  impactFunction?: ImpactFunctionSettings;
  calibrated?: PowerCurve | null;
  latencies?: readonly WatchedModel[];
  /** What an instance of this service holds; null or absent: it cannot be read here. */
  instance?: InstanceMemory | null;
  rebound?: Rebound;
}

/** W per GB of memory, Cloud Carbon Footprint (.000392 kWh per GB·h); only weighs memory against CPUs. */
const memoryWattsPerGb = 0.392;
const qualities = ['measured', 'estimated', 'assumed'] as const;

/** Throws INVALID_REQUEST for a window that ends before it begins, and for groups that cannot be. */
export function checkWindow({ from, to, groupBy }: Pick<ReportQuery, 'from' | 'to' | 'groupBy'>): void {
  if (to.getTime() > from.getTime()) {
    checkGroups(groupBy, { fromMs: from.getTime(), toMs: to.getTime() });
    return;
  }
  throw new CommonwattError('INVALID_REQUEST', 'the window of the report ends before it begins', {
    where: 'from, to',
    hint: 'give `from` and `to` as ISO 8601 times with from before to',
  });
}

/** The figures of a window that `checkWindow` lets pass. */
export function impactReport(db: Db, host: ReportHost, query: ReportQuery): Promise<ImpactReport> {
  return inSnapshot(db, (snapshot) => reportOf(snapshot, host, query));
}

async function reportOf(db: Db, given: ReportHost, query: ReportQuery): Promise<ImpactReport> {
  const reading = await readLedger(db, { fromMs: query.from.getTime(), toMs: query.to.getTime() });
  const intervals = await readIntervals(db, reading);
  const host = ofWindow(given, intervals);
  const histogram = new Histogram();
  const groupQuery = {
    scope: query.scope,
    groupBy: query.groupBy,
    settled: (modelId: string) => host.settling?.[modelId]?.settled ?? null,
  };
  const groups = await readGroups(db, reading, groupQuery, histogram);
  const tenants = await readTenants(db, reading);
  const { basis } = host;

  const isOwn = (head: Head) => isVisible(head, query.scope);
  const total = sumsOf(reading, () => true);
  const served = sumsOf(reading, ({ kind, note }) => kind !== 'training' && note !== 'other processes');
  const own = sumsOf(reading, isOwn);
  const requestsOnly = sumsOf(reading, (head) => isOwn(head) && isRequest(head.kind));
  const platform = countsOf(reading, () => true);
  const scoped = countsOf(reading, isOwn);
  const waste = wasteOf(own);
  const inferences = countsOf(reading, (head) => isOwn(head) && head.kind === 'inference').requests;
  // Null when there was no inference, or not all were counted when they were booked.
  const percentiles = histogram.total === inferences ? percentilesOf(histogram) : null;
  const windowH = intervals.cpuSSupplied / host.cpuCount / 3600;
  const embodiedGPerH = embodiedShare(basis.embodied.grams, basis.embodied.lifeYears, 3600);
  const busyS = intervals.cpuSUsed + intervals.cpuSOther;
  const joulesPerCpuS =
    busyS > 0 ? (total.energyJ - total.idleShareJ) / busyS : (host.maxW - host.idleW) / host.cpuCount;
  const effectiveMaxW = host.idleW + joulesPerCpuS * host.cpuCount;

  const weights = resourceWeights(host);
  const used = useReport(reading, intervals, weights, query.scope);
  const u = used.cpu.usedOverSupplied ?? 0;
  const requests = platform.requests;
  const perHourAtFull = u > 0 && windowH > 0 ? requests / windowH / u : 0;
  const perRequestOf = query.scope === 'all' ? served : requestsOnly;
  const operating = operatingReport({
    server: {
      idleW: host.idleW,
      maxW: effectiveMaxW,
      pue: basis.pue.value,
      intensity: basis.intensity.value,
      embodiedGPerH,
    },
    settings: host.impactFunction ?? null,
    calibrated: host.calibrated ?? null,
    latencies: host.latencies ?? [],
    utilisation: u,
    otherUse: intervals.cpuSSupplied > 0 ? intervals.cpuSOther / intervals.cpuSSupplied : 0,
    perHourAtFull,
  });
  const { unknown: unknownOfCurve, ...onCurve } = operating;
  const each = (value: number) => (scoped.requests > 0 ? value / scoped.requests : null);

  const unknown: Record<string, string> = {
    ...basis.water.unknown,
    ...unknownOfCurve,
  };
  if (intervals.acceleratorSSupplied === 0)
    unknown['rur.accelerator'] = 'no meter told how long accelerators were busy';
  if (scoped.requests === 0) {
    unknown.perRequestGCo2e = 'there was no request in this window';
    unknown.perRequestWh = 'there was no request in this window';
  }
  if (intervals.count === 0) unknown.rur = 'nothing was metered in this window';
  if (percentiles === null)
    unknown.whPerRequest =
      scoped.requests === 0
        ? 'there was no request in this window'
        : 'not all inferences of this window were counted by size';
  if (own.allocated === null)
    unknown.allocated = unknown.waste = 'part of this window was booked before what is reserved was kept';

  return {
    from: query.from.toISOString(),
    to: query.to.toISOString(),
    quality: qualities[Math.max(-1, ...intervals.qualities.map((q) => qualities.indexOf(q)))] ?? host.quality,
    method: intervals.methods.join(' + ') || host.method,
    methodVersion: intervals.methodVersions.join(' + ') || host.methodVersion,
    zone: intervals.zones.join(' + ') || basis.intensity.zone,
    intensityGPerKwh: {
      value: basis.intensity.value,
      source: basis.intensity.source,
      kind: basis.intensity.kind,
    },
    pue: basis.pue,
    consumption: {
      energyWh: own.energyJ / 3600,
      carbonGCo2e: own.carbonG,
      waterL: own.waterL,
      embodiedGCo2e: own.embodiedG,
      requests: scoped.requests,
      finished: scoped.finished,
      jobs: scoped.jobs,
      allocated: own.allocated && wireBurden(own.allocated),
      waste: waste && wireBurden(waste),
      whPerRequest: percentiles,
    },
    avoided: {
      requests: scoped.reused,
      energyWh: own.avoidedJ / 3600,
      carbonGCo2e: own.avoidedG,
      quality: 'estimated',
    },
    supply: {
      cpuSeconds: intervals.cpuSSupplied,
      memoryGbSeconds: intervals.memorySupplied,
      energyWh: intervals.energyJ / 3600,
    },
    split: splitOf(reading, intervals.energyJ),
    rur: used,
    impact: {
      totalGCo2e: own.carbonG + own.embodiedG,
      perRequestGCo2e: each(perRequestOf.carbonG + perRequestOf.embodiedG),
      perRequestWh: each(perRequestOf.energyJ / 3600),
      ...onCurve,
    },
    sharing: sharingReport({
      host,
      windowH,
      effectiveMaxW,
      embodiedGPerH,
      tenants,
      shared: {
        idleWh: served.idleShareJ / 3600,
        dynamicWh: (served.energyJ - served.idleShareJ) / 3600,
        embodiedG: served.embodiedG,
      },
      servingCpuS: served.cpuS,
      intervals: await readServingIntervals(db, reading.window),
    }),
    groups,
    unknown,
    notes: [...notesOf(host, query.scope), ...pueNotes(given, host), ...roundingNotes(reading)],
  };
}

function splitOf(reading: Reading, meterJ: number) {
  const wh = (where: (kind: string) => boolean) => sumsOf(reading, ({ kind }) => where(kind)).energyJ / 3600;
  const entriesJ = sumsOf(reading, () => true).energyJ;
  return {
    requestsWh: wh(isRequest),
    jobsWh: wh((kind) => kind === 'training'),
    idleWh: wh((kind) => kind === 'idle'),
    overheadWh: wh((kind) => kind === 'overhead'),
    unattributedWh: wh((kind) => kind === 'unattributed'),
    meterWh: meterJ / 3600,
    residualRatio: meterJ > 0 ? Math.abs(entriesJ - meterJ) / meterJ : 0,
  };
}

function gridNote({ atMs, kind, scope }: Basis['intensity']): string {
  return atMs === null
    ? 'a yearly average'
    : `the mean over the energy of this window (now ${kind}, ${scope})`;
}

/** What the electricity and the building of the window were, instead of what they are now. */
function ofWindow(host: ReportHost, intervals: Awaited<ReturnType<typeof readIntervals>>): ReportHost {
  if (intervals.gPerKwh === null) return host;
  const { basis } = host;
  const pue = { ...basis.pue, value: pueOf(intervals, basis.pue.value) };
  return { ...host, basis: { ...basis, pue, intensity: { ...basis.intensity, value: intervals.gPerKwh } } };
}

function pueNotes(now: ReportHost, ofThen: ReportHost): string[] {
  const [value, then] = [now.basis.pue.value, ofThen.basis.pue.value];
  return value === then
    ? []
    : [`the PUE was another in this window: its mean, weighted by carbon, instead of ${value} as now`];
}

function roundingNotes({ sums }: Reading): string[] {
  return sums.plan.rounded.map((hour) => {
    const start = new Date(hour * hourMs).toISOString();
    return `the lines of the hour from ${start} were dropped: it is counted whole or not at all`;
  });
}

/** ω in proportion to the impact of each resource at full load, PUE·I·Pmax + M, in g/h; they sum to 1. */
export function resourceWeights({ basis, maxW, memoryBytes }: ReportHost): { cpu: number; memory: number } {
  const gPerWh = (basis.pue.value * basis.intensity.value) / 1000;
  const gb = memoryBytes / 1e9;
  const memoryG = Math.min(embodiedMemoryGrams(gb), basis.embodied.grams / 2);
  const perHour = (grams: number) => embodiedShare(grams, basis.embodied.lifeYears, 3600);
  const memory = gPerWh * memoryWattsPerGb * gb + perHour(memoryG);
  const cpu = gPerWh * maxW + perHour(basis.embodied.grams - memoryG);
  return { cpu: cpu / (cpu + memory), memory: memory / (cpu + memory) };
}

function notesOf({ basis, quality, uncertainty }: ReportHost, scope: Scope): string[] {
  return [
    ...(scope === 'all'
      ? []
      : [
          'consumption, impact and groups are your organisation’s; supply, split, RUR and sharing are the platform’s',
        ]),
    ...(quality === 'measured' ? [] : [`energy is estimated, ±${Math.round(uncertainty * 100)} %`]),
    ...(basis.pue.assumed ? ['the PUE is not known; 1 is used, so the building is not included'] : []),
    ...(basis.water.assumed ? [`the water of the grid is assumed: ${basis.water.source}`] : []),
    ...(basis.embodied.assumed
      ? ['embodied carbon is estimated from the number of CPUs and the memory']
      : []),
    `the grid intensity is ${gridNote(basis.intensity)}, location-based; no certificates or offsets are counted`,
    'CPUs are not reserved for single deployments: all of them stand ready for all',
  ];
}
