/**
 * Dynamic batching for one replica: whatever waits is computed together, for all callers. While the runner
 * computes, the next batch gathers; when nothing is in flight, a batch leaves at the end of the tick, so a lone
 * request waits for nobody. Every caller gets its own rows, and what a batch used is booked before answers leave.
 */
import type { Accountant, ModelUse, WorkContext } from '../energy/energy.ts';
import { CommonwattError } from '../errors.ts';
import type { TensorParts } from '../runtimes/frames.ts';
import { splitRows, type Tensor } from '../runtimes/tensor.ts';
import type { Computed } from './runner/replica.ts';
import type { Engine, InferCall, Inference } from './serve.ts';
import type { DeploymentSettings } from './settings.ts';
import { emptyStatistics, type ModelStatistics } from './statistics.ts';

export interface BatchTarget {
  use: ModelUse;
  /** False when the model's first dimension is fixed: each request is then computed alone. */
  batchable: boolean;
  settings: DeploymentSettings;
  /** Asked before a batch is taken: undefined when a copy is in memory, else what to wait for; it rejects when none can be loaded. */
  awake?(): Promise<void> | undefined;
  run(inputs: readonly TensorParts[]): Promise<Computed>;
  /** One request alone in a runner of its own, after a crash (see `Replica.runAlone`). */
  runAlone(inputs: readonly TensorParts[]): Promise<Computed>;
}

export interface BatcherOptions {
  /** Where the settings name none. */
  maxBatchSize: number;
  maxQueue: number;
  accountant: Pick<Accountant, 'recordBatch'>;
  /** Goes on counting here: a deployment whose settings change keeps its figures. */
  statistics?: ModelStatistics;
}

interface Waiting {
  call: InferCall;
  inputs: readonly Tensor[];
  rows: number;
  context: WorkContext;
  queuedAt: number;
  resolve(inference: Inference): void;
  reject(error: unknown): void;
}

export class Batcher implements Engine {
  readonly #target: BatchTarget;
  readonly #options: BatcherOptions;
  #queue: Waiting[] = [];
  #inFlight = 0;
  #scheduled = false;
  #pending = 0;
  #idle: (() => void)[] = [];
  readonly statistics: ModelStatistics;

  constructor(target: BatchTarget, options: BatcherOptions) {
    this.#target = target;
    this.#options = options;
    this.statistics = options.statistics ?? emptyStatistics();
  }

  get pending(): number {
    return this.#queue.length + this.#pending;
  }

  infer(call: InferCall): Promise<Inference> {
    if (this.#queue.length >= this.#options.maxQueue) {
      return Promise.reject(
        new CommonwattError('OVERLOADED', `${this.#queue.length} requests wait for this model already`, {
          hint: 'send it again later',
          retryAfterS: 1,
        }),
      );
    }
    return new Promise((resolve, reject) => {
      const { inputs, context } = call;
      const rows = inputs[0]?.shape[0] ?? 1;
      this.#queue.push({ call, inputs, rows, context, queuedAt: performance.now(), resolve, reject });
      if (this.#inFlight === 0 && !this.#scheduled) {
        this.#scheduled = true;
        setImmediate(this.#flush);
      }
    });
  }

  /** Resolves when nothing waits and nothing is in flight. */
  drained(): Promise<void> {
    if (this.#queue.length === 0 && this.#inFlight === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  readonly #flush = () => {
    const asleep = this.#queue.length > 0 ? this.#target.awake?.() : undefined;
    if (asleep) {
      this.#scheduled = true;
      asleep.then(this.#flush, (error: unknown) => {
        for (const waiting of this.#queue.splice(0)) waiting.reject(error);
        this.#flush();
      });
      return;
    }
    this.#scheduled = false;
    const batch = this.#take();
    if (batch.length === 0) {
      if (this.#queue.length === 0) for (const resolve of this.#idle.splice(0)) resolve();
      return;
    }
    this.#inFlight++;
    this.#pending += batch.length;
    this.#compute(batch).finally(() => {
      this.#inFlight--;
      this.#pending -= batch.length;
      this.#flush();
    });
  };

  /** The longest run of waiting requests that fit together, oldest first. */
  #take(): Waiting[] {
    const batch: Waiting[] = [];
    let rows = 0;
    let taken = 0;
    for (const waiting of this.#queue) {
      const fits =
        batch.length === 0 ||
        (this.#target.batchable &&
          rows + waiting.rows <= this.#options.maxBatchSize &&
          sameRowShape(batch[0], waiting));
      if (!fits) break;
      taken++;
      if (waiting.call.cancelled) {
        waiting.reject(new CommonwattError('CANCELLED', 'the caller left before the request was computed'));
        continue;
      }
      batch.push(waiting);
      rows += waiting.rows;
    }
    this.#queue = taken === this.#queue.length ? [] : this.#queue.slice(taken);
    return batch;
  }

  async #compute(batch: Waiting[]): Promise<void> {
    try {
      const startedAt = performance.now();
      const { outputs, computeNs, runnerPid } = await this.#target.run(gather(batch));
      const answers = scatter(batch, outputs);
      const footprints = this.#options.accountant.recordBatch({
        use: this.#target.use,
        runnerPid,
        computeNs,
        items: batch,
      });
      batch.forEach((waiting, index) => {
        const own = answers[index];
        const footprint = footprints[index];
        if (own && footprint)
          waiting.resolve({
            outputs: own,
            footprint,
            source: 'computed',
            queueMs: startedAt - waiting.queuedAt,
            computeMs: computeNs / 1e6,
            batchRows: rowsOf(batch),
          });
        else
          waiting.reject(
            new CommonwattError('INTERNAL', 'an answer or its footprint is missing from its batch'),
          );
      });
    } catch (error) {
      for (const waiting of batch) waiting.reject(error);
    }
  }
}

function sameRowShape(first: Waiting | undefined, other: Waiting): boolean {
  return !!first?.inputs.every((input, index) => {
    const shape = other.inputs[index]?.shape;
    return (
      shape?.length === input.shape.length &&
      shape.every((dimension, d) => d === 0 || dimension === input.shape[d])
    );
  });
}

function rowsOf(batch: readonly Waiting[]): number {
  return batch.reduce((sum, { rows }) => sum + rows, 0);
}

function gather(batch: readonly Waiting[]): TensorParts[] {
  const rows = rowsOf(batch);
  return (batch[0]?.inputs ?? []).map(({ name, datatype, shape }, index) => ({
    name,
    datatype,
    shape: batch.length === 1 ? shape : [rows, ...shape.slice(1)],
    parts: batch.map(({ inputs }) => inputs[index]?.data ?? new Float32Array()),
  }));
}

function scatter(batch: readonly Waiting[], outputs: readonly Tensor[]): Tensor[][] {
  if (batch.length === 1) return [[...outputs]];
  const rows = rowsOf(batch);
  for (const { name, shape } of outputs) {
    if (shape[0] !== rows)
      throw new CommonwattError('INTERNAL', `output ${name} has ${shape[0]} rows for a batch of ${rows}`);
  }
  const counts = batch.map((waiting) => waiting.rows);
  const split = outputs.map((output) => splitRows(output, counts));
  return batch.map((_, index) => split.flatMap((pieces) => pieces[index] ?? []));
}
