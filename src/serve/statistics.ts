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

export function emptyStatistics(): ModelStatistics {
  return {
    lastInferenceMs: 0,
    inferenceCount: 0,
    executionCount: 0,
    success: tally(),
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
  count(statistics.success, totalMs * 1e6);
  count(statistics.queue, queueMs * 1e6);
  countTimes(statistics, times);
}

/** A request that another's answer was used for: a kept one, or one that was under way. */
export function countHit({ success, cacheHit }: ModelStatistics, totalMs: number): void {
  count(success, totalMs * 1e6);
  count(cacheHit, totalMs * 1e6);
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
