/**
 * What a served version has done since the server started, with Triton's meaning (extension_statistics.md): counts,
 * and total times in ns. A request is a success or a failure; an execution is a run of the runtime.
 */
interface Tally {
  count: number;
  ns: number;
}

export interface ModelStatistics {
  /** Epoch ms of the last request; 0: none yet. */
  lastInferenceMs: number;
  /** Rows answered, and batches run. */
  inferenceCount: number;
  executionCount: number;
  success: Tally;
  /** How many successes took up to each of `latencyBounds`, and, last, longer than all. */
  latencies: number[];
  fail: Tally;
  queue: Tally;
  computeInput: Tally;
  computeInfer: Tally;
  computeOutput: Tally;
  cacheHit: Tally;
  cacheMiss: Tally;
  /** Requests given up by their callers before they were answered (Triton: `nv_inference_request_failure` reason CANCELED). */
  cancelled: number;
  /** Rows of a batch → how often, and the time of its steps. */
  batches: Map<number, { computeInput: Tally; computeInfer: Tally; computeOutput: Tally }>;
}

/** Seconds, from an answer that was kept to one that waited for its model. */
export const latencyBounds = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
];

export function emptyStatistics(): ModelStatistics {
  return {
    lastInferenceMs: 0,
    inferenceCount: 0,
    executionCount: 0,
    success: tally(),
    latencies: [],
    fail: tally(),
    queue: tally(),
    computeInput: tally(),
    computeInfer: tally(),
    computeOutput: tally(),
    cacheHit: tally(),
    cacheMiss: tally(),
    cancelled: 0,
    batches: new Map(),
  };
}

const tallies = [
  'success',
  'fail',
  'queue',
  'computeInput',
  'computeInfer',
  'computeOutput',
  'cacheHit',
  'cacheMiss',
] as const;

/** `sum` and what `other` did, together. */
export function addStatistics(sum: ModelStatistics, other: ModelStatistics): void {
  sum.lastInferenceMs = Math.max(sum.lastInferenceMs, other.lastInferenceMs);
  sum.inferenceCount += other.inferenceCount;
  sum.executionCount += other.executionCount;
  sum.cancelled += other.cancelled;
  for (const name of tallies) addTally(sum[name], other[name]);
  for (const [at, count] of other.latencies.entries()) sum.latencies[at] = (sum.latencies[at] ?? 0) + count;
  for (const [rows, times] of other.batches) {
    const batch = sum.batches.get(rows) ?? emptyBatch();
    sum.batches.set(rows, batch);
    addTally(batch.computeInput, times.computeInput);
    addTally(batch.computeInfer, times.computeInfer);
    addTally(batch.computeOutput, times.computeOutput);
  }
}

function addTally(sum: Tally, { count, ns }: Tally): void {
  sum.count += count;
  sum.ns += ns;
}

function emptyBatch() {
  return { computeInput: tally(), computeInfer: tally(), computeOutput: tally() };
}

interface Times {
  inputNs: number;
  computeNs: number;
  outputNs: number;
}

/** A run of the runtime. */
export function countBatch(statistics: ModelStatistics, rows: number, times: Times): void {
  statistics.executionCount++;
  statistics.inferenceCount += rows;
  statistics.lastInferenceMs = Date.now();
  let batch = statistics.batches.get(rows);
  if (!batch) {
    batch = emptyBatch();
    statistics.batches.set(rows, batch);
  }
  countTimes(batch, times);
}

/** A request that was computed: the time of the whole batch is its time, since it waited for all of it. */
export function countAnswer(
  statistics: ModelStatistics,
  queueMs: number,
  totalMs: number,
  times: Times,
): void {
  countSuccess(statistics, totalMs);
  count(statistics.queue, queueMs * 1e6);
  countTimes(statistics, times);
}

/** A request that another's answer was used for: a kept one, or one that was under way. */
export function countHit(statistics: ModelStatistics, totalMs: number): void {
  countSuccess(statistics, totalMs);
  count(statistics.cacheHit, totalMs * 1e6);
}

/** However it came about. */
export function countSuccess(statistics: ModelStatistics, totalMs: number): void {
  count(statistics.success, totalMs * 1e6);
  const { latencies } = statistics;
  // Of a version that is never asked, none are kept.
  while (latencies.length <= latencyBounds.length) latencies.push(0);
  let at = 0;
  while (at < latencyBounds.length && totalMs > (latencyBounds[at] ?? 0) * 1000) at += 1;
  latencies[at] = (latencies[at] ?? 0) + 1;
}

export function countFailure({ fail }: ModelStatistics, totalMs: number): void {
  count(fail, totalMs * 1e6);
}

export function countMiss({ cacheMiss }: ModelStatistics, lookupNs: number): void {
  count(cacheMiss, lookupNs);
}

function countTimes(
  tallies: Pick<ModelStatistics, 'computeInput' | 'computeInfer' | 'computeOutput'>,
  { inputNs, computeNs, outputNs }: Times,
): void {
  count(tallies.computeInput, inputNs);
  count(tallies.computeInfer, computeNs);
  count(tallies.computeOutput, outputNs);
}

function count(tally: Tally, ns: number): void {
  tally.count++;
  tally.ns += Math.round(ns);
}

function tally(): Tally {
  return { count: 0, ns: 0 };
}
