/**
 * Gives every joule of an interval to somebody: requests, jobs, idle or overhead. Pure.
 *
 * E_idle = min(E, P0·Δt), E_dyn = E − E_idle.
 * E_k = E_dyn · w_k / Σw + E_idle · r_k / R: w_k is CPU time, r_k / R the part of the host's memory it reserves.
 * What nobody reserved is the idle entry `platform`. Carbon, water and embodied hardware follow the same shares.
 * Source: docs/accounting.md. Promise: Σ entries = the meter, to 1e-9 of it.
 */
import type { ModelUse, Party, WorkContext } from './energy.ts';
import { joulesPerKwh } from './grid.ts';

/** What lines of one caller on one model have in common; made once, shared by many lines. */
export interface LineHead {
  kind: WorkContext['kind'];
  consumer: Party;
  keyId: string | null;
  grantId: string | null;
  jobId: string | null;
  /** Null for training: there is no model version yet. */
  use: ModelUse | null;
}

/** Callers' parts of what a runner computed in one go: those that are alike in all but their ids are one line. */
export interface WorkLine {
  ids: readonly string[];
  atMs: number;
  /** Of each id, as all that follows. */
  rows: number;
  runnerPid: number;
  /** Its part of the computation's wall time, ns: the weight by which the runner's CPU time is split. */
  computeNs: number;
  head: LineHead;
  /** What reusing another's answer avoided (estimated, J): beside what was used, never subtracted from it. */
  avoidedJ?: number;
}

export interface JobUse {
  id: string;
  head: LineHead;
  cpuS: number;
  memoryBytes: number;
}

export interface IntervalFacts {
  id: string;
  startMs: number;
  endMs: number;
  /** By a clock that never steps. */
  durationS: number;
  energyJ: number;
  idleW: number;
  cpuCount: number;
  memoryBytes: number;
  hostBusyS: number;
  gatewayCpuS: number;
  /** CPU time the gateway uses without any request; what it uses beyond is caused by requests. */
  housekeepingS: number;
  runners: readonly { pid: number; cpuS: number }[];
  lines: readonly WorkLine[];
  jobs: readonly JobUse[];
  reservations: readonly { use: ModelUse; memoryBytes: number }[];
  rates: Rates;
}

/** What turns joules into grams and litres in this interval. */
export interface Rates {
  pue: number;
  gPerKwh: number;
  /** Null: unknown. */
  litresPerKwh: number | null;
  /** The part of the host's embodied carbon that this interval carries, g. */
  embodiedG: number;
}

export interface Amounts {
  cpuS: number;
  energyJ: number;
  /** The part of `energyJ` carried for being ready. */
  idleShareJ: number;
  carbonG: number;
  embodiedG: number;
  waterL: number | null;
}

/** What one owner was given; a line's ids were each given these amounts. */
export interface Entry extends Amounts {
  ids: readonly string[];
  kind: WorkContext['kind'] | 'idle' | 'overhead' | 'unattributed';
  /** What kind of idle or overhead. */
  note: string | null;
  head: LineHead | null;
  owner: ModelUse | null;
  atMs: number;
  rows: number;
  /** Not used, but avoided by reuse; undefined: none. */
  avoided?: { energyJ: number; carbonG: number };
}

export interface Attribution {
  entries: Entry[];
  total: Amounts;
  /** CPU seconds of requests and jobs; everything else that was busy. */
  usefulCpuS: number;
  otherCpuS: number;
  /** Joules of dynamic energy for a CPU second: the price of the next interval's provisional figures. */
  joulesPerCpuS: number | null;
}

/** How long before its first request a deployment's idle power counts as that request's, s. */
export const readinessS = 1;

export function attribute(facts: IntervalFacts): Attribution {
  const idleJ = Math.min(facts.energyJ, facts.idleW * facts.durationS);
  const dynamicJ = facts.energyJ - idleJ;
  const work = splitCpu(facts);
  const own = work.total;
  // Host counters are sampled and may lag behind those of the processes.
  const busyS = Math.max(facts.hostBusyS, own);
  const joulesPerCpuS = busyS > 0 ? dynamicJ / busyS : 0;
  const embodiedPerCpuS = facts.rates.embodiedG / Math.max(facts.cpuCount * facts.durationS, busyS);
  const perJoule = {
    carbonG: (facts.rates.pue * facts.rates.gPerKwh) / joulesPerKwh,
    waterL: facts.rates.litresPerKwh === null ? null : facts.rates.litresPerKwh / joulesPerKwh,
  };
  const amounts = (cpuS: number, idleShareJ: number): Amounts => {
    const energyJ = cpuS * joulesPerCpuS + idleShareJ;
    return {
      cpuS,
      energyJ,
      idleShareJ,
      carbonG: energyJ * perJoule.carbonG,
      embodiedG: cpuS * embodiedPerCpuS,
      waterL: perJoule.waterL === null ? null : energyJ * perJoule.waterL,
    };
  };

  const reserved = reservedShares(facts);
  const entries: Entry[] = [];
  const idleOfLines = splitIdle(facts, reserved.models, idleJ);
  for (const [index, line] of facts.lines.entries()) {
    entries.push({
      ids: line.ids,
      kind: line.head.kind,
      note: null,
      head: line.head,
      owner: line.head.use,
      atMs: line.atMs,
      rows: line.rows,
      ...avoidedOf(line, perJoule.carbonG),
      ...amounts(work.lines[index] ?? 0, idleOfLines.lines[index] ?? 0),
    });
  }
  for (const [index, job] of facts.jobs.entries()) {
    entries.push({
      ids: [job.id],
      kind: job.head.kind,
      note: null,
      head: job.head,
      owner: job.head.use,
      atMs: facts.endMs,
      rows: 0,
      ...amounts(job.cpuS, idleJ * (reserved.jobs[index] ?? 0)),
    });
  }
  const usefulCpuS = entries.reduce((sum, { ids, cpuS }) => sum + ids.length * cpuS, 0);
  const rest = (
    kind: 'idle' | 'overhead',
    note: string,
    cpuS: number,
    idleShareJ: number,
    owner: ModelUse | null,
  ) => {
    const suffix = owner ? `${note}:${useKey(owner)}` : note;
    return entries.push({
      ids: [`${facts.id}:${kind}:${suffix}`],
      kind,
      note,
      head: null,
      owner,
      atMs: facts.endMs,
      rows: 0,
      ...amounts(cpuS, idleShareJ),
    });
  };
  for (const { use, idleShareJ } of idleOfLines.ready) rest('idle', 'ready', 0, idleShareJ, use);
  if (work.gatewayS > 0) rest('overhead', 'gateway', work.gatewayS, 0, null);
  if (work.runnersS > 0) rest('overhead', 'runners', work.runnersS, 0, null);
  if (busyS > own) rest('overhead', 'other processes', busyS - own, 0, null);

  const total: Amounts = {
    cpuS: busyS,
    energyJ: facts.energyJ,
    idleShareJ: idleJ,
    carbonG: facts.energyJ * perJoule.carbonG,
    embodiedG: facts.rates.embodiedG,
    waterL: perJoule.waterL === null ? null : facts.energyJ * perJoule.waterL,
  };
  entries.push(platformIdle(facts, entries, total, idleJ * reserved.free + (busyS > 0 ? 0 : dynamicJ)));
  return {
    entries,
    total,
    usefulCpuS,
    otherCpuS: busyS - usefulCpuS,
    joulesPerCpuS: busyS > 0 ? joulesPerCpuS : null,
  };
}

/** The carbon that the avoided joules would have had in this interval. */
export function avoidedOf({ avoidedJ = 0 }: WorkLine, gramsPerJoule: number): Pick<Entry, 'avoided'> {
  return avoidedJ > 0 ? { avoided: { energyJ: avoidedJ, carbonG: avoidedJ * gramsPerJoule } } : {};
}

export function useKey(use: ModelUse): string {
  return `${use.modelId}:${use.version}`;
}

/** CPU seconds of each id of each line, and of the gateway and the runners apart from lines. */
function splitCpu({ runners, lines, gatewayCpuS, housekeepingS, jobs }: IntervalFacts) {
  const weightOf = new Map<number, number>();
  let requests = 0;
  for (const { runnerPid, computeNs, ids } of lines) {
    weightOf.set(runnerPid, (weightOf.get(runnerPid) ?? 0) + ids.length * computeNs);
    requests += ids.length;
  }
  const perNs = new Map<number, number>();
  let runnersS = 0;
  for (const { pid, cpuS } of runners) {
    const weight = weightOf.get(pid) ?? 0;
    if (weight > 0) perNs.set(pid, cpuS / weight);
    else runnersS += cpuS;
  }
  const causedS = requests > 0 ? Math.max(0, gatewayCpuS - housekeepingS) : 0;
  const gatewayOfEach = requests > 0 ? causedS / requests : 0;
  const ofLines = new Float64Array(lines.length);
  let total = runnersS + (gatewayCpuS - causedS);
  for (let index = 0; index < lines.length; index++) {
    const line = lines[index];
    const cpuS = line ? line.computeNs * (perNs.get(line.runnerPid) ?? 0) + gatewayOfEach : 0;
    ofLines[index] = cpuS;
    total += cpuS * (line?.ids.length ?? 0);
  }
  for (const { cpuS } of jobs) total += cpuS;
  return { lines: ofLines, gatewayS: gatewayCpuS - causedS, runnersS, total };
}

/** r_k / R for each model version and job. Reserving more than there is shares out the whole. */
function reservedShares({ reservations, jobs, memoryBytes }: IntervalFacts) {
  let bytes = 0;
  for (const reservation of reservations) bytes += reservation.memoryBytes;
  for (const job of jobs) bytes += job.memoryBytes;
  const capacity = Math.max(memoryBytes, bytes);
  const models = new Map<string, { use: ModelUse; share: number }>();
  for (const { use, memoryBytes: held } of reservations) {
    const key = useKey(use);
    models.set(key, { use, share: (models.get(key)?.share ?? 0) + held / capacity });
  }
  return { models, jobs: jobs.map((job) => job.memoryBytes / capacity), free: 1 - bytes / capacity };
}

/**
 * A deployment's idle share goes to its requests, in proportion to what they computed, for the time from a
 * second before the first of them; the time before that, and without any, is its own entry `ready`.
 */
function splitIdle(
  { lines, endMs, durationS }: IntervalFacts,
  models: ReadonlyMap<string, { use: ModelUse; share: number }>,
  idleJ: number,
) {
  const busy = new Map<string, { weight: number; count: number; firstMs: number }>();
  for (const { head, computeNs, atMs, ids } of lines) {
    if (!head.use) continue;
    const key = useKey(head.use);
    const sum = busy.get(key);
    if (!sum) busy.set(key, { weight: ids.length * computeNs, count: ids.length, firstMs: atMs });
    else {
      sum.weight += ids.length * computeNs;
      sum.count += ids.length;
      sum.firstMs = Math.min(sum.firstMs, atMs);
    }
  }
  const ready: { use: ModelUse; idleShareJ: number }[] = [];
  const forRequests = new Map<string, number>();
  for (const [key, { use, share }] of models) {
    const sum = busy.get(key);
    const activeS = sum ? Math.min(durationS, Math.max(0, endMs - sum.firstMs) / 1000 + readinessS) : 0;
    const active = durationS > 0 ? activeS / durationS : 0;
    forRequests.set(key, idleJ * share * active);
    if (active < 1) ready.push({ use, idleShareJ: idleJ * share * (1 - active) });
  }
  const ofLines = new Float64Array(lines.length);
  for (let index = 0; index < lines.length; index++) {
    const line = lines[index];
    if (!line?.head.use) continue;
    const key = useKey(line.head.use);
    const sum = busy.get(key);
    if (!sum) continue;
    const part = sum.weight > 0 ? line.computeNs / sum.weight : 1 / sum.count;
    ofLines[index] = (forRequests.get(key) ?? 0) * part;
  }
  return { lines: ofLines, ready };
}

/** What is left. It must be what nobody reserved; only rounding (at most 1e-9 of the whole) may differ. */
function platformIdle(
  facts: IntervalFacts,
  entries: readonly Entry[],
  total: Amounts,
  expectedJ: number,
): Entry {
  let energyJ = 0;
  let idleShareJ = 0;
  let carbonG = 0;
  let embodiedG = 0;
  let waterL = 0;
  for (const entry of entries) {
    const count = entry.ids.length;
    energyJ += count * entry.energyJ;
    idleShareJ += count * entry.idleShareJ;
    carbonG += count * entry.carbonG;
    embodiedG += count * entry.embodiedG;
    waterL += count * (entry.waterL ?? 0);
  }
  const gap = Math.abs(total.energyJ - energyJ - expectedJ);
  if (gap > 1e-9 * total.energyJ) {
    throw new RangeError(`${gap} J of interval ${facts.id} have no owner`);
  }
  return {
    ids: [`${facts.id}:idle:platform`],
    kind: 'idle',
    note: 'platform',
    head: null,
    owner: null,
    atMs: facts.endMs,
    rows: 0,
    cpuS: 0,
    energyJ: Math.max(0, total.energyJ - energyJ),
    idleShareJ: Math.max(0, total.idleShareJ - idleShareJ),
    carbonG: Math.max(0, total.carbonG - carbonG),
    embodiedG: Math.max(0, total.embodiedG - embodiedG),
    waterL: total.waterL === null ? null : Math.max(0, total.waterL - waterL),
  };
}
