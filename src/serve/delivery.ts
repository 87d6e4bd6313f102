/** From a computed batch to its callers' answers: booked first, then answered, each with its own rows. */
import type { Accountant, Footprint, ModelUse, WorkContext } from '../energy/energy.ts';
import { CommonwattError } from '../errors.ts';
import type { Tensor } from '../runtimes/tensor.ts';
import { traces } from '../telemetry/traces.ts';
import { scatter } from './batch.ts';
import { traceBatch } from './batch-traces.ts';
import { copyTensors, type Reuse } from './reuse.ts';
import type { Computed } from './runner/replica.ts';
import type { Inference } from './serve.ts';
import { countAnswer, countBatch, countHit, type ModelStatistics } from './statistics.ts';
import { cancelled, type Resolve, type Waiting } from './waiting.ts';

/** A caller whose answer is kept, until the end of the tick. */
export interface Hit {
  call: { readonly cancelled: boolean };
  context: WorkContext;
  rows: number;
  at: number;
  outputs: readonly Tensor[];
  computeNs: number;
  resolve: Resolve;
  reject(error: unknown): void;
}

export interface DeliveryOptions {
  use: ModelUse;
  accountant: Pick<Accountant, 'recordBatch' | 'recordAvoided'>;
  statistics: ModelStatistics;
  reuse: Reuse | undefined;
}

export class Delivery {
  readonly #options: DeliveryOptions;
  #hits: Hit[] = [];
  /** Computations that were thrown away and made again. */
  #repeats = 0;

  constructor(options: DeliveryOptions) {
    this.#options = options;
  }

  /** Throws what booking throws; then nobody has been answered. `rowForRow` must hold when the batch has several. */
  computed(batch: readonly Waiting[], rows: number, computed: Computed, startedAt: number): void {
    const { use, accountant, statistics, reuse } = this.#options;
    const { outputs, computeNs, runnerPid } = computed;
    let answers: Tensor[][];
    try {
      answers = batch.length === 1 ? [[...outputs]] : scatter(batch, outputs);
    } catch (error) {
      this.failed(batch, computed);
      throw error;
    }
    for (const waiting of batch) if (!waiting.wanted) waiting.outcome = 'aborted';
    const computedAt = traces.active ? performance.now() : 0;
    const footprints = accountant.recordBatch({ use, runnerPid, computeNs, items: batch });
    const now = performance.now();
    if (traces.active) traceBatch(batch, rows, computed, { startedAt, computedAt, bookedAt: now });
    countBatch(statistics, rows, computed);
    for (let index = 0; index < batch.length; index++) {
      const waiting = batch[index];
      const own = answers[index];
      const footprint = footprints[index];
      if (!waiting || !own || !footprint)
        throw new CommonwattError('INTERNAL', 'an answer or its footprint is missing from its batch');
      const inference: Inference = {
        outputs: own,
        footprint,
        source: 'computed',
        queueMs: startedAt - waiting.queuedAt,
        batchMs: Math.max(0, now - startedAt - computeNs / 1e6),
        computeMs: computeNs / 1e6,
        batchRows: rows,
        batchRequests: batch.length,
        share: rows > 0 ? waiting.rows / rows : 1,
      };
      if (waiting.shareable) {
        reuse?.ended(waiting);
        const partNs = rows > 0 ? (computeNs * waiting.rows) / rows : computeNs;
        reuse?.computed(waiting, own, partNs, now);
        if (waiting.joined) this.#joined(waiting, inference, partNs, now);
      }
      if (waiting.left) continue;
      waiting.left = true;
      waiting.call.onCancel = undefined;
      countAnswer(statistics, startedAt - waiting.queuedAt, now - waiting.queuedAt, computed);
      waiting.resolve(inference);
    }
  }

  /**
   * What was computed and came to nothing is booked to those for whom it was. `again`: they are computed once more,
   * so this is a line of its own beside that of their answer.
   */
  failed(
    batch: readonly Waiting[],
    { computeNs, runnerPid }: Pick<Computed, 'computeNs' | 'runnerPid'>,
    { again = false } = {},
  ): void {
    if (!(computeNs > 0)) return;
    const { use, accountant } = this.#options;
    const items = batch.map(({ context, rows }) => ({
      context: again ? { ...context, requestId: `${context.requestId}~${this.#repeats++}` } : context,
      rows,
      outcome: 'failed' as const,
    }));
    try {
      accountant.recordBatch({ use, runnerPid, computeNs, items });
    } catch {
      // Nobody is told a figure of it: its runner's CPU time goes to whatever else that computes, or to overhead.
    }
  }

  /** Answers at the end of the tick, together: their lines are one write. */
  kept(hit: Hit): void {
    this.#hits.push(hit);
    if (this.#hits.length === 1) setImmediate(this.#answerHits);
  }

  /** Answers that are kept and on their way. */
  get pending(): number {
    return this.#hits.length;
  }

  #joined(leader: Waiting, inference: Inference, computeNs: number, now: number): void {
    const joined = [...(leader.joined ?? [])];
    leader.joined = undefined;
    const footprints = this.#avoided(joined.map(({ context, rows }) => ({ context, rows, computeNs })));
    const { statistics } = this.#options;
    for (const [index, { call, joinedAt, resolve, reject }] of joined.entries()) {
      call.onCancel = undefined;
      const footprint = footprints[index];
      if (footprint instanceof Error || !footprint) {
        statistics.fail.count++;
        reject(footprint);
        continue;
      }
      const waitedMs = now - joinedAt;
      countHit(statistics, waitedMs);
      resolve({
        ...inference,
        outputs: copyTensors(inference.outputs),
        footprint,
        source: 'joined',
        // It waited for another's computation: none of that is its own.
        queueMs: waitedMs,
        batchMs: 0,
        computeMs: 0,
        share: null,
      });
    }
  }

  readonly #answerHits = (): void => {
    const hits: Hit[] = [];
    const { statistics } = this.#options;
    for (const hit of this.#hits) {
      if (!hit.call.cancelled) {
        hits.push(hit);
        continue;
      }
      statistics.cancelled++;
      hit.reject(cancelled());
    }
    this.#hits = [];
    const footprints = this.#avoided(hits);
    const now = performance.now();
    statistics.lastInferenceMs = Date.now();
    for (const [index, { at, rows, outputs, resolve, reject }] of hits.entries()) {
      const footprint = footprints[index];
      if (footprint instanceof Error || !footprint) {
        statistics.fail.count++;
        reject(footprint);
        continue;
      }
      countHit(statistics, now - at);
      resolve({
        outputs: copyTensors(outputs),
        footprint,
        source: 'cached',
        queueMs: 0,
        batchMs: now - at,
        computeMs: 0,
        batchRows: rows,
        batchRequests: 1,
        share: null,
      });
    }
  };

  /** A footprint for each, or why it could not be booked: then it is not answered either. */
  #avoided(
    items: readonly { context: WorkContext; rows: number; computeNs: number }[],
  ): (Footprint | Error)[] {
    if (items.length === 0) return [];
    try {
      return this.#options.accountant.recordAvoided({ use: this.#options.use, items });
    } catch (error) {
      const reason = error instanceof Error ? error : new Error(String(error));
      return items.map(() => reason);
    }
  }
}
