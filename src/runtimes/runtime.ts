/**
 * The contract of a runtime: the native engine that computes a model inside a runner process.
 * Siblings implement it (`onnx.ts`; later llama, upstream) and pass the same contract test (`runtime.test.ts`).
 */
import type { Tensor } from './tensor.ts';

export interface LoadedModel {
  /** Computes once. Inputs and outputs are in the order of the model's own signature. */
  run(inputs: readonly Tensor[]): Promise<Tensor[]>;
  release(): Promise<void>;
}

export interface Runtime {
  readonly name: string;
  /** Loads a model straight from memory; the bytes may be dropped afterwards. Throws when it is not loadable. */
  load(bytes: Uint8Array): Promise<LoadedModel>;
}
