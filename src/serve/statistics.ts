/**
 * What a served version has done since the server started, with Triton's meaning (extension_statistics.md): counts,
 * and total times in ns. A request is a success or a failure; an execution is a run of the runtime.
 */
export interface Tally {
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
    batch = { computeInput: tally(), computeInfer: tally(), computeOutput: tally() };
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
  tally.ns += ns;
}

function tally(): Tally {
  return { count: 0, ns: 0 };
}
