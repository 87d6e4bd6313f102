/**
 * An ensemble at work. A step runs as soon as what it takes is there, as an ordinary request: it shares batches with
 * whoever asks that model directly, is booked to the caller, and is cancelled with the call.
 *
 * In: a call of the whole. Out: its answer and the sum of what its steps used. Promise: whoever may use the ensemble may
 * use it as a whole; that its owner still may use each step's model is asked again for every request.
 */
import { isDeepStrictEqual } from 'node:util';
import { CommonwattError } from '../errors.ts';
import type { Admission } from '../gate/gate.ts';
import type { ModelRef, ModelSignature } from '../models/models.ts';
import { type Plan, signatureOf } from './ensemble-plan.ts';
import { EnsembleRun } from './ensemble-run.ts';
import type { Engine, InferCall, Inference, ServedVersion, Serving } from './serve.ts';
import { countFailure, countSuccess, emptyStatistics } from './statistics.ts';

export interface EnsembleParts {
  plan: Plan;
  /** What clients were told: models behind aliases may be others by now. */
  signature: ModelSignature;
  serving: Pick<Serving, 'served' | 'infer'>;
  /** A place for one request of the ensemble's owner at a step's model. */
  admit(ref: ModelRef): Admission | Promise<Admission>;
}

export class Ensemble implements Engine {
  readonly statistics = emptyStatistics();
  readonly #parts: EnsembleParts;
  readonly #idle: (() => void)[] = [];
  /** The versions that were last found to fit together. */
  #fitting = '';
  #pending = 0;

  constructor(parts: EnsembleParts) {
    this.#parts = parts;
  }

  get pending(): number {
    return this.#pending;
  }

  drained(): Promise<void> {
    if (this.#pending === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  async infer(call: InferCall): Promise<Inference> {
    const began = performance.now();
    this.#pending++;
    try {
      const inference = await new EnsembleRun(this.#parts, call).answer((served) => this.#check(served));
      countSuccess(this.statistics, performance.now() - began);
      this.statistics.lastInferenceMs = Date.now();
      this.statistics.inferenceCount += call.inputs[0]?.shape[0] ?? 1;
      this.statistics.executionCount++;
      return inference;
    } catch (error) {
      this.statistics.lastInferenceMs = Date.now();
      if (call.cancelled) this.statistics.cancelled++;
      else countFailure(this.statistics, performance.now() - began);
      throw error;
    } finally {
      if (--this.#pending === 0) for (const resolve of this.#idle.splice(0)) resolve();
    }
  }

  /** An alias may have moved to a version that takes or gives something else. */
  #check(served: readonly ServedVersion[]): void {
    const versions = served.map(({ versionId }) => versionId).join(' ');
    if (versions === this.#fitting) return;
    checkVersions(this.#parts, served);
    this.#fitting = versions;
  }
}

/** `served` in the order of the plan's steps. Throws NOT_READY when they no longer make the signature. */
export function checkVersions(
  { plan, signature }: Pick<EnsembleParts, 'plan' | 'signature'>,
  served: readonly ServedVersion[],
): void {
  let why: string | undefined;
  let cause: unknown;
  try {
    const names = plan.steps.map(({ name }, index) => [name, served[index]?.signature ?? none] as const);
    if (!isDeepStrictEqual(signatureOf(plan, new Map(names)), signature))
      why = 'it takes or gives something else than when it was imported';
  } catch (error) {
    if (!(error instanceof CommonwattError)) throw error;
    why = error.message;
    cause = error;
  }
  if (why === undefined) return;
  throw new CommonwattError(
    'NOT_READY',
    `the models behind the steps of this ensemble are no longer the ones it was made of: ${why}`,
    { hint: 'its owner imports it again, or names versions instead of aliases', cause },
  );
}

const none: ModelSignature = { inputs: [], outputs: [] };
