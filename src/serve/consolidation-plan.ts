/**
 * What to make fewer and fuller, from what was measured. Pure. First fit decreasing packs the copies in memory into as
 * few processes as hold them; what may unload, shrink or be right-sized is found one by one.
 *
 * Promise: nothing pinned is unloaded, nobody gets fewer copies than `minReplicas`, and no step is proposed whose
 * predicted latency is beyond the objective.
 */

export interface DeploymentFacts {
  id: string;
  /** `org/model:3` */
  name: string;
  pinned: boolean;
  /** Copies in memory; 0: it is not in memory. */
  copies: number;
  replicas: number;
  minReplicas: number;
  /** Bytes of all copies. */
  memoryBytes: number;
  maxBatchSize: number;
  threads: number;
  /** How long it was watched, s: what follows is of that time. */
  windowS: number;
  requestsPerS: number;
  /** Seconds of computing for each second, over all copies. */
  computeShare: number;
  /** Mean of one step of computing, ms; null: nothing was computed. */
  stepMs: number | null;
  p95Ms: number | null;
  /** Of the steps, how many were as large as may be. */
  fullSteps: number;
  /** p95 that must be kept, ms; null: half as much again as it is now. */
  latencyObjectiveMs: number | null;
}

export interface ConsolidationFacts {
  /** Of the longest watched. */
  windowS: number;
  deployments: readonly DeploymentFacts[];
  /** Processes that compute and hold something, and what each may hold. */
  runners: number;
  runnerBytes: number;
}

export type Step =
  | { kind: 'unload'; id: string; name: string; freesBytes: number }
  | { kind: 'replicas' | 'threads' | 'maxBatchSize'; id: string; name: string; from: number; to: number }
  | { kind: 'runners'; from: number; to: number };

export interface ConsolidationPlan {
  steps: (Step & { why: string })[];
  before: Shape;
  after: Shape;
}

interface Shape {
  runners: number;
  copies: number;
  reservedBytes: number;
  /** Seconds of computing for each second and process: the RUR of the processes. Null: there is none. */
  rur: number | null;
}

/** Of a process; beyond, waiting grows faster than work. */
const mostLoad = 0.6;
/** So long nothing must have been asked before a model is proposed to leave. */
const leastWindowS = 300;
const memorySlack = 0.9;
/** Waiting has a long tail: its 95th percentile is about three times its mean. */
const tail = 3;

export function planConsolidation(facts: ConsolidationFacts): ConsolidationPlan {
  const steps: ConsolidationPlan['steps'] = [];
  const after = new Map(facts.deployments.map((one) => [one.id, one]));
  for (const one of facts.deployments) {
    const changed = unloaded(one, steps) ?? sized(one, steps);
    after.set(one.id, changed);
  }
  const kept = [...after.values()];
  const needed = processesFor(kept, facts);
  const runners = Math.min(facts.runners, needed);
  if (runners < facts.runners && facts.windowS >= leastWindowS)
    steps.push({
      kind: 'runners',
      from: facts.runners,
      to: runners,
      why: `what is in memory fits into ${runners}, each less than ${mostLoad * 100} % busy`,
    });
  return {
    steps,
    before: shapeOf(facts.deployments, facts.runners),
    after: shapeOf(kept, facts.windowS >= leastWindowS ? runners : facts.runners),
  };
}

function unloaded(one: DeploymentFacts, steps: ConsolidationPlan['steps']): DeploymentFacts | undefined {
  if (one.copies === 0) return one;
  if (one.pinned || one.requestsPerS > 0 || one.windowS < leastWindowS) return undefined;
  const { id, name, memoryBytes, windowS } = one;
  const minutes = Math.round(windowS / 60);
  steps.push({
    kind: 'unload',
    id,
    name,
    freesBytes: memoryBytes,
    why: `nobody asked for ${minutes} min; the next request loads it again`,
  });
  return { ...one, copies: 0, memoryBytes: 0 };
}

function sized(one: DeploymentFacts, steps: ConsolidationPlan['steps']): DeploymentFacts {
  if (one.stepMs === null || one.windowS < leastWindowS) return one;
  const { id, name } = one;
  let now = one;
  for (let to = Math.max(1, one.minReplicas); to < one.replicas; to++) {
    const fewer = { ...one, replicas: to, copies: Math.min(one.copies, to) };
    if (!keepsLatency(one, fewer.copies, one.stepMs)) continue;
    const why = `${percent(one.computeShare / to)} busy each, predicted p95 ${round(p95With(one, to, one.stepMs))} ms`;
    steps.push({ kind: 'replicas', id, name, from: one.replicas, to, why });
    now = { ...fewer, memoryBytes: (one.memoryBytes / Math.max(1, one.copies)) * fewer.copies };
    break;
  }
  // At worst a thread fewer takes as much longer as there were threads.
  const slower = one.stepMs * one.threads;
  if (one.threads > 1 && keepsLatency(now, now.copies, slower, one.computeShare * one.threads))
    steps.push({
      kind: 'threads',
      id,
      name,
      from: one.threads,
      to: 1,
      why: `one thread computes in at most ${round(slower)} ms, within the objective`,
    });
  const waits = one.p95Ms !== null && one.stepMs > 0 && one.p95Ms > 2 * one.stepMs;
  const to = Math.min(4096, one.maxBatchSize * 2);
  if (one.fullSteps > 0.5 && waits && to > one.maxBatchSize && keepsLatency(now, now.copies, one.stepMs * 2))
    steps.push({
      kind: 'maxBatchSize',
      id,
      name,
      from: one.maxBatchSize,
      to,
      why: `${percent(one.fullSteps)} of its batches are full while others wait`,
    });
  return now;
}

function keepsLatency(
  one: DeploymentFacts,
  copies: number,
  stepMs: number,
  share = one.computeShare,
): boolean {
  if (copies < 1 || share / copies > mostLoad) return false;
  const objective = one.latencyObjectiveMs ?? (one.p95Ms === null ? null : one.p95Ms * 1.5);
  return objective === null || p95With(one, copies, stepMs, share) <= objective;
}

/**
 * What was measured, and what more waiting and computing add: an M/D/1 queue at each copy, mean wait
 * ρ/(2(1 − ρ)) of a step, three times that at the 95th percentile. Example: steps of 2 ms, two copies that compute .4
 * of the time together, p95 5 ms → on one copy the mean wait grows from .25 to .667 ms, and p95 to 6.25 ms.
 */
export function p95With(
  one: DeploymentFacts,
  copies: number,
  stepMs: number,
  share = one.computeShare,
): number {
  const wait = (load: number, step: number) =>
    load >= 1 ? Number.POSITIVE_INFINITY : (load / (2 * (1 - load))) * step;
  const measuredStep = one.stepMs ?? 0;
  const more = wait(share / copies, stepMs) - wait(one.computeShare / Math.max(1, one.copies), measuredStep);
  return (one.p95Ms ?? measuredStep) + Math.max(0, stepMs - measuredStep) + tail * Math.max(0, more);
}

/** First fit decreasing, by load. Copies of one version go into different processes: in one, they would wait for each other. */
export function processesFor(
  deployments: readonly DeploymentFacts[],
  { runnerBytes }: Pick<ConsolidationFacts, 'runnerBytes'>,
): number {
  const copies = deployments
    .flatMap(({ id, copies, computeShare, memoryBytes }) =>
      Array.from({ length: copies }, () => ({
        id,
        load: computeShare / copies,
        bytes: memoryBytes / copies,
      })),
    )
    .sort((a, b) => b.load - a.load || b.bytes - a.bytes);
  const bins: { ids: Set<string>; load: number; bytes: number }[] = [];
  for (const { id, load, bytes } of copies) {
    const fits = bins.find(
      (bin) =>
        !bin.ids.has(id) && bin.load + load <= mostLoad && bin.bytes + bytes <= runnerBytes * memorySlack,
    );
    const bin = fits ?? { ids: new Set<string>(), load: 0, bytes: 0 };
    if (!fits) bins.push(bin);
    bin.ids.add(id);
    bin.load += load;
    bin.bytes += bytes;
  }
  return bins.length;
}

function shapeOf(deployments: readonly DeploymentFacts[], runners: number): Shape {
  const sum = (of: (one: DeploymentFacts) => number) =>
    deployments.reduce((total, one) => total + of(one), 0);
  return {
    runners,
    copies: sum(({ copies }) => copies),
    reservedBytes: Math.round(sum(({ memoryBytes }) => memoryBytes)),
    rur: runners > 0 ? sum(({ computeShare }) => computeShare) / runners : null,
  };
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

function round(ms: number): number {
  return Math.round(ms * 100) / 100;
}
