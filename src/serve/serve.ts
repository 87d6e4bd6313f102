/**
 * The serve room: a request's way to its answer. route (alias → version → replica) → cache → batch → runner.
 *
 * In: tensors and for whom they are computed (`InferCall`). Out: tensors and their footprint. Promise: every caller
 * gets its own rows, whatever it was batched with, and nothing is computed for a caller who has left.
 */
import type { Footprint, WorkContext } from '../energy/energy.ts';
import type { ArtifactFormat, ModelSignature } from '../models/models.ts';
import type { Tensor } from '../runtimes/tensor.ts';
import type { Span } from '../telemetry/traces.ts';
import type { DeploymentSettings } from './settings.ts';
import type { ModelStatistics } from './statistics.ts';
import type { Variant } from './variants.ts';

export type { Tensor };

/** What a request may ask besides its tensors. */
export interface CallOptions {
  /** 0 is the most urgent; undefined: the deployment's own middle. Cut to the levels that the deployment has. */
  priority?: number | undefined;
  /** `performance.now()` after which the answer is of no use: then it is never computed. Undefined: the deployment's. */
  deadlineAtMs?: number | undefined;
  /** false: neither answered from the cache nor put there, nor joined to an identical call (`Cache-Control: no-store`). */
  reuse?: boolean | undefined;
  /** Version of the policy under which the caller was admitted; answers are never reused across policies. */
  policyVersion?: number | undefined;
  /** Of a request that is traced. */
  trace?: Span | undefined;
}

/** One request on its way. Whoever makes it may `cancel` it: its place is free at once. */
export class InferCall {
  readonly inputs: readonly Tensor[];
  readonly context: WorkContext;
  readonly options: CallOptions;
  /** It is being computed, and booked even if its caller leaves: set by whoever computes it. */
  begun = false;
  #cancelled = false;
  /** Set by whoever holds the call (a queue): lets go of it. */
  onCancel: (() => void) | undefined;

  constructor(inputs: readonly Tensor[], context: WorkContext, options: CallOptions = noOptions) {
    this.inputs = inputs;
    this.context = context;
    this.options = options;
  }

  get cancelled(): boolean {
    return this.#cancelled;
  }

  cancel(): void {
    if (this.#cancelled) return;
    this.#cancelled = true;
    this.onCancel?.();
  }
}

const noOptions: CallOptions = {};

export interface Inference {
  outputs: Tensor[];
  footprint: Footprint;
  /** computed for this call; cached: an earlier answer; joined: an identical call's that was under way. */
  source: 'computed' | 'cached' | 'joined';
  /**
   * Time in the queue, ms; then laid together with others, sent to the runner and back, and booked; and computing (of
   * the whole batch). The sum is the time between the call and its answer.
   */
  queueMs: number;
  batchMs: number;
  computeMs: number;
  /** Of the batch it was computed in. */
  batchRows: number;
  batchRequests: number;
  /** Of budgets that are nearly used or more than that, as `limits-place.ts` writes it. */
  budgetWarning?: string;
  /** Another version than was asked for answered. */
  variant?: AnsweredBy;
  /** Its part of those rows; null: nothing was computed for it, or in several steps. */
  share: number | null;
}

/** A version served with settings, as the rest of the house sees it. */
export interface ServedVersion {
  deploymentId: string;
  modelId: string;
  versionId: string;
  version: number;
  /** What was imported; undefined: ONNX or what became it. */
  format?: ArtifactFormat;
  signature: ModelSignature;
  settings: DeploymentSettings;
  /** The same inputs always give the same outputs: only then is an answer used twice. */
  deterministic: boolean;
}

/** Answers in the place of what was asked for while the grid is dirty (`variants.ts`). */
export interface AnsweredBy {
  /** `org/model:3` */
  name: string;
  /** Of another model than was asked for: its name. */
  otherModel: string | null;
}

export interface Inferrer {
  /**
   * Computes through the shared batcher. Throws NOT_READY, RUNNER_FAILED, POISONED, QUARANTINED, OVERLOADED,
   * DEADLINE_EXCEEDED, CANCELLED.
   */
  infer(served: ServedVersion, call: InferCall): Promise<Inference>;
}

/** What answers the requests of one deployment: a batcher over a replica, or an ensemble of other deployments. */
export interface Engine {
  infer(call: InferCall): Promise<Inference>;
  /** Resolves when nothing waits and nothing is in flight. */
  drained(): Promise<void>;
  /** Requests that wait or are being computed. */
  readonly pending: number;
  readonly statistics: ModelStatistics;
}

/** Which version of a model is meant; without either, the alias `production`, else the newest deployed. */
export interface Route {
  version?: number | undefined;
  alias?: string | undefined;
}

/** What the doors ask of the serve room. */
export interface Serving extends Inferrer {
  /** Throws VERSION_NOT_FOUND. */
  served(modelId: string, route?: Route): ServedVersion;
  /** What answers in its place now, because the grid is dirty; undefined: itself. */
  variantOf(served: ServedVersion): Variant | undefined;
  /** Every deployed version of a model, newest first. */
  servedVersions(modelId: string): ServedVersion[];
  /** A request sent now would be answered (a version unloaded for want of use is loaded by the request). */
  isReady(served: ServedVersion): boolean;
  allReady(): boolean;
  statistics(served: ServedVersion): ModelStatistics;
  /** loaded: in a runner's memory; unloaded: comes back with the next request; the rest as named. */
  loadState(served: ServedVersion): LoadState;
}

export interface LoadState {
  state: 'loading' | 'loaded' | 'unloaded' | 'failed' | 'quarantined';
  /** Why, for failed and quarantined. */
  reason: string | null;
  /** Bytes held in runners; 0 when unloaded. */
  memoryBytes: number;
}
