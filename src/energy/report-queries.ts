/** What reports ask of the ledger: sums of a window by head (store/window.ts), put together as a report needs them. */
import { sql } from 'kysely';
import type { Db } from '../storage/db.ts';
import type { Footprint } from './energy.ts';
import { joulesPerKwh } from './grid.ts';
import { type Head, readHeads } from './store/heads.ts';
import type { IntervalSums } from './store/interval-sums.ts';
import { isCall, type Sums as StoredSums } from './store/tally.ts';
import {
  countOnce,
  readIntervalSums,
  readWindow,
  sourcesOf,
  type Window,
  type WindowSums,
} from './store/window.ts';

/** Entries an organisation consumed or whose model it owns, or everything (for the operator). */
export type Scope = { organisationId: string } | 'all';

export interface Sums {
  energyJ: number;
  idleShareJ: number;
  carbonG: number;
  embodiedG: number;
  /** Null: unknown for at least one of them. */
  waterL: number | null;
  cpuS: number;
  /** Not used: avoided by reusing answers. */
  avoidedJ: number;
  avoidedG: number;
  /** What was reserved; null: unknown for at least one of them. */
  allocated: Burden | null;
  /** What requests and jobs used of it; the rest of what was reserved is waste. */
  work: Burden;
}

export interface Burden {
  energyJ: number;
  carbonG: number;
  embodiedG: number;
}

/** The ledger of a window. */
export interface Reading {
  window: Window;
  sums: WindowSums;
  heads: ReadonlyMap<number, Head>;
}

export async function readLedger(db: Db, window: Window): Promise<Reading> {
  const sums = await readWindow(db, window);
  return { window, sums, heads: await readHeads(db, sums.sums.keys()) };
}

export function isVisible(head: Pick<Head, 'consumer_id' | 'owner_id'>, scope: Scope): boolean {
  return (
    scope === 'all' || head.consumer_id === scope.organisationId || head.owner_id === scope.organisationId
  );
}

export function isRequest(kind: string): boolean {
  return kind === 'inference' || isCall(kind);
}

/** Sums over those heads that are visible and chosen. */
export function sumsOf({ sums, heads }: Reading, chosen: (head: Head) => boolean): Sums {
  const total: Sums = {
    energyJ: 0,
    idleShareJ: 0,
    carbonG: 0,
    embodiedG: 0,
    waterL: 0,
    cpuS: 0,
    avoidedJ: 0,
    avoidedG: 0,
    allocated: { energyJ: 0, carbonG: 0, embodiedG: 0 },
    work: { energyJ: 0, carbonG: 0, embodiedG: 0 },
  };
  for (const [id, stored] of sums.sums) {
    const head = heads.get(id);
    if (head && chosen(head)) addTo(total, stored, isRequest(head.kind) || head.kind === 'training');
  }
  return total;
}

function addTo(total: Sums, stored: StoredSums, isWork: boolean): void {
  total.energyJ += stored.energy_j;
  total.idleShareJ += stored.idle_share_j;
  total.carbonG += stored.carbon_g;
  total.embodiedG += stored.embodied_g;
  total.waterL = total.waterL === null || stored.water_unknown > 0 ? null : total.waterL + stored.water_l;
  total.cpuS += stored.cpu_s;
  total.avoidedJ += stored.avoided_j;
  total.avoidedG += stored.avoided_g;
  if (stored.allocated_unknown > 0) total.allocated = null;
  if (total.allocated) {
    total.allocated.energyJ += stored.allocated_j;
    total.allocated.carbonG += stored.allocated_g;
    total.allocated.embodiedG += stored.allocated_embodied_g;
  }
  if (!isWork) return;
  total.work.energyJ += stored.energy_j;
  total.work.carbonG += stored.carbon_g;
  total.work.embodiedG += stored.embodied_g;
}

export interface Counts {
  /** An explanation or evaluation is one, in however many intervals and by however many models it was computed. */
  requests: number;
  /** Of them, those whose answers were of use. */
  finished: number;
  jobs: number;
  rows: number;
  reused: number;
}

export function countsOf({ sums, heads }: Reading, chosen: (head: Head) => boolean): Counts {
  const counts: Counts = { requests: 0, finished: 0, jobs: 0, rows: 0, reused: 0 };
  const jobs = new Set<string>();
  const isChosen = (id: number) => {
    const head = heads.get(id);
    return head !== undefined && chosen(head);
  };
  const isFinished = (id: number) => {
    const outcome = heads.get(id)?.outcome;
    return outcome === 'finished' || outcome === 'cached';
  };
  for (const [id, stored] of sums.sums) {
    const head = heads.get(id);
    if (!head || !chosen(head)) continue;
    counts.requests += stored.requests;
    counts.finished += isFinished(id) ? stored.requests : 0;
    counts.rows += stored.rows;
    counts.reused += stored.reused;
    if (head.kind === 'training' && head.job_id !== null) jobs.add(head.job_id);
  }
  counts.requests -= countOnce(sums.repeats, isChosen);
  counts.finished -= countOnce(sums.repeats, (id) => isChosen(id) && isFinished(id));
  counts.jobs = jobs.size;
  return counts;
}

export async function readIntervals(db: Db, { sums: { plan } }: Reading) {
  const rows = await readIntervalSums(db, plan);
  const total = (pick: (row: IntervalSums) => number) => rows.reduce((sum, row) => sum + pick(row), 0);
  const known = total((row) => row.intensity_known_j);
  const names = (pick: (row: IntervalSums) => string) => [...new Set(rows.map(pick))].filter(Boolean);
  return {
    rows,
    count: total((row) => row.intervals),
    energyJ: total((row) => row.energy_j),
    carbonG: total((row) => row.carbon_g),
    cpuSSupplied: total((row) => row.cpu_s_supplied),
    cpuSUsed: total((row) => row.cpu_s_used),
    cpuSOther: total((row) => row.cpu_s_other),
    memorySupplied: total((row) => row.memory_gbs_supplied),
    memoryReserved: total((row) => row.memory_gbs_reserved),
    memoryUsed: total((row) => row.memory_gbs_used),
    acceleratorSSupplied: total((row) => row.accelerator_s_supplied),
    acceleratorSReserved: total((row) => row.accelerator_s_reserved),
    acceleratorSUsed: total((row) => row.accelerator_s_used),
    /** Weighted by energy; null: of no joule it is known. */
    gPerKwh: known > 0 ? total((row) => row.intensity_j) / known : null,
    qualities: names((row) => row.quality) as Footprint['quality'][],
    methods: names((row) => row.method),
    methodVersions: names((row) => row.method_version),
    zones: names((row) => row.zone),
  };
}

/** PUE = C / Σ E · I of the window's own intervals; where I was not kept of all of them, the one of now. */
export function pueOf(
  { rows, energyJ, carbonG }: Awaited<ReturnType<typeof readIntervals>>,
  now: number,
): number {
  const known = rows.reduce((sum, row) => sum + row.intensity_known_j, 0);
  const withoutBuilding = rows.reduce((sum, row) => sum + row.intensity_j, 0) / joulesPerKwh;
  if (withoutBuilding <= 0 || Math.abs(known - energyJ) > 1e-9 * energyJ) return now;
  const pue = carbonG / withoutBuilding;
  return Math.abs(pue - now) < 1e-9 ? now : pue;
}

export interface TenantUse {
  id: string;
  /** Of that time; null: not known. */
  name: string | null;
  cpuS: number;
  /** Clock hours in which it had requests. */
  hours: number;
  modelIds: string[];
}

export async function readTenants(db: Db, { sums, heads }: Reading): Promise<TenantUse[]> {
  const tenants = new Map<
    string,
    { name: string | null; cpuS: number; hours: Set<number>; modelIds: Set<string> }
  >();
  const tenantOf = (head: Head | undefined) => {
    if (!head || head.consumer_id === null || !isRequest(head.kind)) return undefined;
    const known = tenants.get(head.consumer_id) ?? {
      name: head.consumer,
      cpuS: 0,
      hours: new Set(),
      modelIds: new Set(),
    };
    tenants.set(head.consumer_id, known);
    return known;
  };
  for (const [id, stored] of sums.sums) {
    const head = heads.get(id);
    const tenant = tenantOf(head);
    if (!tenant) continue;
    tenant.cpuS += stored.cpu_s;
    if (head?.model_id) tenant.modelIds.add(head.model_id);
  }
  const sources = sourcesOf(sums.plan);
  for (const { table, column, from, to } of sources) {
    const { rows } = await sql<{ at: number; head: number; hours: number }>`
      select ${sql.ref(column)} as at, head, ${column === 'day' ? sql.ref('hours') : sql.lit(1)} as hours
      from ${sql.table(table)} where ${sql.ref(column)} >= ${from} and ${sql.ref(column)} < ${to}`.execute(
      db,
    );
    for (const { at, head, hours } of rows) {
      const tenant = tenantOf(heads.get(head));
      if (!tenant) continue;
      if (column === 'hour') tenant.hours.add(at);
      else for (let hour = 0; hour < 24; hour++) if (hours & (1 << hour)) tenant.hours.add(at * 24 + hour);
    }
  }
  for (const [index, edge] of sums.edges.entries()) {
    const hour = Math.floor((sums.plan.edges[index]?.fromMs ?? 0) / 3_600_000);
    for (const head of edge.keys()) tenantOf(heads.get(head))?.hours.add(hour);
  }
  return [...tenants].map(([id, { name, cpuS, hours, modelIds }]) => ({
    id,
    name,
    cpuS,
    hours: hours.size,
    modelIds: [...modelIds],
  }));
}
