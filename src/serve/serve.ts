/**
 * The serve room: a request's way to its answer. route (alias → version → replica) → batch → runner.
 *
 * In: tensors and for whom they are computed. Out: tensors and their footprint. Promise: every caller gets its
 * own rows, whatever it was batched with.
 */
import type { Footprint, WorkContext } from '../energy/energy.ts';
import type { ModelSignature } from '../models/models.ts';
import type { Tensor } from '../runtimes/tensor.ts';

export type { Tensor };

export interface Inference {
  outputs: Tensor[];
  footprint: Footprint;
}

/** A version served with settings, as the rest of the house sees it. */
export interface ServedVersion {
  deploymentId: string;
  modelId: string;
  versionId: string;
  version: number;
  signature: ModelSignature;
}

export interface Inferrer {
  /** Computes through the shared batcher. Throws NOT_READY, RUNNER_FAILED, OVERLOADED, CANCELLED. */
  infer(
    served: ServedVersion,
    inputs: Tensor[],
    context: WorkContext,
    signal?: AbortSignal,
  ): Promise<Inference>;
}
