/** The way of requests through queue, batch and runner, told to traces once the batch is computed and booked. */
import type { Span } from '../telemetry/traces.ts';
import type { Computed } from './runner/replica.ts';
import type { InferCall } from './serve.ts';
import type { Waiting } from './waiting.ts';

interface Times {
  startedAt: number;
  computedAt: number;
  bookedAt: number;
}

/** One span of the batch, in the trace of the first request that has one and linked to all; each request has its own beside it. */
export function traceBatch(batch: readonly Waiting[], rows: number, computed: Computed, times: Times): void {
  const traced = batch.flatMap(({ call, queuedAt }) => {
    const { trace } = call.options;
    return trace ? [{ trace, queuedAt }] : [];
  });
  const first = traced[0];
  if (!first) return;
  const { startedAt, bookedAt } = times;
  const whole = first.trace.child('batch', {
    startMs: startedAt,
    links: traced.map(({ trace }) => trace),
    attributes: { 'commonwatt.batch.rows': rows, 'commonwatt.batch.requests': batch.length },
  });
  traceSteps(whole, computed, times);
  whole.end(bookedAt);
  for (const { trace, queuedAt } of traced) {
    trace.child('queue', { startMs: queuedAt }).end(startedAt);
    trace.child('computed', { startMs: startedAt, links: [whole] }).end(bookedAt);
  }
}

/** The runner says how long its steps took; its answer is read as soon as they are done. */
function traceSteps(whole: Span, computed: Computed, { startedAt, computedAt, bookedAt }: Times): void {
  const { runnerPid, inputNs, computeNs, outputNs } = computed;
  const runner = whole.child('runner', {
    startMs: startedAt,
    attributes: {
      'commonwatt.runner.pid': runnerPid,
      'commonwatt.runner.input_ms': inputNs / 1e6,
      'commonwatt.runner.output_ms': outputNs / 1e6,
    },
  });
  const writtenAt = computedAt - outputNs / 1e6;
  runner.child('compute', { startMs: writtenAt - computeNs / 1e6 }).end(writtenAt);
  runner.end(computedAt);
  whole.child('append to ledger', { startMs: computedAt }).end(bookedAt);
}

/** Whether an answer of before, or of one under way, could be used. */
export function traceLookup(
  { options }: InferCall,
  startMs: number,
  outcome: 'hit' | 'miss' | 'joined',
  leader?: InferCall,
): void {
  const other = leader?.options.trace;
  const attributes = { 'commonwatt.cache': outcome };
  options.trace?.child('cache lookup', { startMs, attributes, links: other ? [other] : [] }).end();
}
