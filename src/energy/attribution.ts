/**
 * Gives every joule of an interval to somebody: requests, jobs, idle or overhead. Pure.
 *
 * E_idle = min(E, P0·Δt), E_dyn = E − E_idle; what accelerators draw is split in the same way, apart.
 * E_k = E_dyn · w_k / Σw + E_acc · c_k / Σc + E_idle · r_k / R: w_k is CPU time, c_k computing time in a runner that
 * uses accelerators, r_k / R the part of the host's memory it reserves. What nobody reserved is the idle entry
 * `platform`. Carbon, water and embodied hardware follow the same shares. That is the basis *usage*; beside it stands
 * what each was *allocated* (allocation.ts).
 * Source: docs/accounting.md. Promise: Σ entries = the meter, to 1e-9 of it, on either basis.
 */
import { reservedShares, splitIdle, spread, useKey } from './allocation.ts';
import type { ModelUse, Party, WorkContext } from './energy.ts';
import { joulesPerKwh } from './grid.ts';
import { splitCpu } from './shares.ts';

/** direct: computed alone; shared step: part of a batch; proportional: spread (idle, overhead, gateway only). */
type AttributionMethod = 'direct' | 'shared step' | 'proportional';

/** What became of it: what is computed is booked whatever it is; goodput counts 'finished' only. */
export type Outcome = 'finished' | 'aborted' | 'failed' | 'cached';

/** What lines of one caller on one model have in common; made once, shared by many lines. */
export interface LineHead {
  kind: WorkContext['kind'];
  consumer: Party;
  keyId: string | null;
  memberId?: string | null;
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
  /** Computed together with others; absent: alone. */
  shared?: boolean;
  /** Absent: finished. */
  outcome?: Outcome;
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
  /** What the gateway did besides answering requests (imports, deployments, pages); absent: nothing. */
  otherWork?: OtherWork;
  /** The accelerators' part of `energyJ`; absent: none is known. */
  accelerator?: AcceleratorUse;
  /** Children of the house that compute for no single request, by what they do (`imports`). */
  helpers?: readonly { note: string; cpuS: number }[];
  /** `unbookedNs`: time in which it computed for no line: loading, or what was under way when the interval ended. */
  runners: readonly { pid: number; cpuS: number; unbookedNs?: number }[];
  lines: readonly WorkLine[];
  jobs: readonly JobUse[];
  reservations: readonly { use: ModelUse; memoryBytes: number }[];
  rates: Rates;
}

export interface OtherWork {
  /** CPU time of the gateway while some of it was under way; a part of it is that of `requests`. */
  cpuS: number;
  /** Requests that were computed meanwhile. */
  requests: number;
  /** What a request costs the gateway when there is no other work, as learnt. */
  cpuSPerRequest: number;
}

export interface AcceleratorUse {
  energyJ: number;
  /** Power without work; it is not part of the host's `idleW`. */
  idleW: number;
  /** Versions (`useKey`) that may compute with them: whose computing it is for. */
  users: readonly string[];
  /** How long they were there and how long they computed, device·s; absent: no meter tells. */
  seconds?: { supplied: number; busy: number };
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
  attributionMethod: AttributionMethod;
  outcome: Outcome;
  /** Basis "allocation": what was reserved for it. Σ over all entries = the meter, too. The rest is the basis "usage". */
  allocated: Allocated;
  /** The runner that computed; null: none. */
  runnerPid: number | null;
  /** Not used, but avoided by reuse; undefined: none. */
  avoided?: { energyJ: number; carbonG: number };
}

interface Allocated {
  energyJ: number;
  carbonG: number;
  embodiedG: number;
}

export interface Attribution {
  entries: Entry[];
  total: Amounts;
  /** CPU seconds of requests and jobs; everything else that was busy. */
  usefulCpuS: number;
  otherCpuS: number;
  /** Joules of dynamic energy for a CPU second: the price of the next interval's provisional figures. */
  joulesPerCpuS: number | null;
  /** CPU seconds of the runners that computed the lines, and the gateway's for each request. */
  computingCpuS: number;
  gatewayCpuSPerRequest: number;
  /** Joules of accelerators for a second of computing with them, likewise; `acceleratorUseS`: of lines, s. */
  acceleratorJPerS: number | null;
  acceleratorUseS: number;
}

export function attribute(facts: IntervalFacts): Attribution {
  const { accelerator, durationS, rates } = facts;
  const acceleratorJ = Math.min(facts.energyJ, accelerator?.energyJ ?? 0);
  const acceleratorIdleJ = Math.min(acceleratorJ, (accelerator?.idleW ?? 0) * durationS);
  const hostJ = facts.energyJ - acceleratorJ;
  const hostIdleJ = Math.min(hostJ, facts.idleW * durationS);
  const idleJ = hostIdleJ + acceleratorIdleJ;
  const dynamicJ = hostJ - hostIdleJ;
  const work = splitCpu(facts, acceleratorJ - acceleratorIdleJ);
  const own = work.total;
  // Host counters are sampled and may lag behind those of the processes.
  const busyS = Math.max(facts.hostBusyS, own);
  const joulesPerCpuS = busyS > 0 ? dynamicJ / busyS : 0;
  const supplyS = Math.max(facts.cpuCount * durationS, busyS);
  const embodiedPerCpuS = supplyS > 0 ? rates.embodiedG / supplyS : 0;
  const perJoule = {
    carbonG: (rates.pue * rates.gPerKwh) / joulesPerKwh,
    waterL: rates.litresPerKwh === null ? null : rates.litresPerKwh / joulesPerKwh,
  };
  const amounts = (cpuS: number, idleShareJ: number, otherJ = 0): Amounts => {
    const energyJ = cpuS * joulesPerCpuS + otherJ + idleShareJ;
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
  const idle = splitIdle(facts, reserved.models);
  for (const [index, line] of facts.lines.entries()) {
    const used = amounts(
      work.lines[index] ?? 0,
      idleJ * (idle.used[index] ?? 0),
      line.computeNs * work.acceleratorJPerNs(line),
    );
    const share = idle.reserved[index] ?? -1;
    entries.push({
      ...factsOf(line, perJoule.carbonG),
      ...used,
      // The whole time, not only that from a second before its first request; what reserves nothing has what it used.
      allocated: {
        energyJ: used.energyJ - used.idleShareJ + idleJ * Math.max(0, share),
        carbonG: 0,
        embodiedG: share < 0 ? used.embodiedG : rates.embodiedG * share,
      },
    });
  }
  for (const [index, job] of facts.jobs.entries()) {
    const share = reserved.jobs[index] ?? 0;
    const used = amounts(job.cpuS, idleJ * share);
    entries.push({
      ids: [job.id],
      kind: job.head.kind,
      note: null,
      head: job.head,
      owner: job.head.use,
      atMs: facts.endMs,
      rows: 0,
      attributionMethod: 'direct',
      outcome: 'finished',
      runnerPid: null,
      ...used,
      allocated: { energyJ: used.energyJ, carbonG: 0, embodiedG: rates.embodiedG * share },
    });
  }
  const usefulCpuS = entries.reduce((sum, { ids, cpuS }) => sum + ids.length * cpuS, 0);
  const rest = (
    kind: 'idle' | 'overhead',
    note: string,
    used: Amounts,
    of?: { use: ModelUse; share: number },
  ) =>
    entries.push({
      ids: [`${facts.id}:${kind}:${of ? `${note}:${useKey(of.use)}` : note}`],
      kind,
      note,
      head: null,
      owner: of?.use ?? null,
      atMs: facts.endMs,
      rows: 0,
      attributionMethod: 'proportional',
      outcome: 'finished',
      runnerPid: null,
      ...used,
      allocated: {
        energyJ: idleJ * (of?.share ?? 0),
        carbonG: 0,
        embodiedG: rates.embodiedG * (of?.share ?? 0),
      },
    });
  for (const { use, unused, share } of idle.ready)
    rest('idle', 'ready', amounts(0, idleJ * unused), { use, share });
  const overhead = (note: string, cpuS: number, otherJ = 0) => {
    if (cpuS > 0 || otherJ > 0) rest('overhead', note, amounts(cpuS, 0, otherJ));
  };
  overhead('gateway', work.gatewayS);
  overhead('gateway: other work', work.otherWorkS);
  for (const { note, cpuS } of facts.helpers ?? []) overhead(note, cpuS);
  overhead('runners', work.runnersS);
  overhead('accelerators', 0, work.acceleratorRestJ);
  overhead('other processes', busyS - own);

  const total: Amounts = {
    cpuS: busyS,
    energyJ: facts.energyJ,
    idleShareJ: idleJ,
    carbonG: facts.energyJ * perJoule.carbonG,
    embodiedG: rates.embodiedG,
    waterL: perJoule.waterL === null ? null : facts.energyJ * perJoule.waterL,
  };
  rest('idle', 'platform', {
    ...amounts(0, idleJ * reserved.free, busyS > 0 ? 0 : dynamicJ),
    embodiedG: supplyS > 0 ? rates.embodiedG * (1 - busyS / supplyS) : rates.embodiedG,
  });
  carryRounding(entries, total);
  spread(entries, total);
  return {
    entries,
    total,
    usefulCpuS,
    otherCpuS: busyS - usefulCpuS,
    joulesPerCpuS: busyS > 0 ? joulesPerCpuS : null,
    computingCpuS: work.computingS,
    gatewayCpuSPerRequest: work.gatewayOfEach,
    acceleratorJPerS: accelerator ? work.acceleratorJPerS : null,
    acceleratorUseS: work.acceleratorUseS,
  };
}

/** What an entry says of its line besides what it was given. */
export function factsOf(line: WorkLine, gramsPerJoule: number): Omit<Entry, keyof Amounts | 'allocated'> {
  return {
    ids: line.ids,
    kind: line.head.kind,
    note: null,
    head: line.head,
    owner: line.head.use,
    atMs: line.atMs,
    rows: line.rows,
    attributionMethod: methodOf(line),
    outcome: line.outcome ?? 'finished',
    runnerPid: line.runnerPid > 0 ? line.runnerPid : null,
    ...avoidedOf(line, gramsPerJoule),
  };
}

function methodOf({ computeNs, shared }: WorkLine): AttributionMethod {
  if (computeNs === 0) return 'proportional';
  return shared ? 'shared step' : 'direct';
}

/** The carbon that the avoided joules would have had in this interval. */
function avoidedOf({ avoidedJ = 0 }: WorkLine, gramsPerJoule: number): Pick<Entry, 'avoided'> {
  return avoidedJ > 0 ? { avoided: { energyJ: avoidedJ, carbonG: avoidedJ * gramsPerJoule } } : {};
}

const figures = ['energyJ', 'idleShareJ', 'carbonG', 'embodiedG', 'waterL'] as const;

/**
 * `platform`, the last entry, carries the rounding of floating point. More than 1e-9 of the whole is no rounding: it
 * stays where it shows, as a residual (residual.ts).
 */
function carryRounding(entries: readonly Entry[], total: Amounts): void {
  const platform = entries.at(-1);
  if (!platform) return;
  for (const figure of figures) {
    const whole = total[figure];
    if (whole === null) continue;
    let sum = 0;
    for (const entry of entries) sum += entry.ids.length * (entry[figure] ?? 0);
    const gap = whole - sum;
    if (Math.abs(gap) <= 1e-9 * whole) platform[figure] = Math.max(0, (platform[figure] ?? 0) + gap);
  }
}
