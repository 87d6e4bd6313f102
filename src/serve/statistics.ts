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
  /** Requests given up before they were computed (Triton: `nv_inference_request_failure` reason CANCELED). */
  cancelled: number;
  /** Rows of a batch → how often, and the time of its steps. */
  batches: Map<number, { computeInput: Tally; computeInfer: Tally; computeOutput: Tally }>;
}

export function emptyStatistics(): ModelStatistics {
  const tally = (): Tally => ({ count: 0, ns: 0 });
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
