/**
 * The contract of a runtime: the native engine that computes a model inside a runner process.
 * Siblings implement it (`onnx.ts`; later pipelines, llama) and pass the same contract test (`runtime.test.ts`).
 */
import { onnxRuntime } from './onnx.ts';
import type { Tensor } from './tensor.ts';

export interface LoadedModel {
  /** Computes once. Inputs are in any order; outputs are in the order of the model's own signature. */
  run(inputs: readonly Tensor[]): Promise<Tensor[]>;
  release(): Promise<void>;
}

export interface RuntimeOptions {
  /** Threads of one computation. */
  threads: number;
  /** Where to compute, in order of preference; what this build lacks is refused, never replaced silently. */
  executionProviders: readonly string[];
}

export interface Runtime {
  readonly name: string;
  /**
   * Loads a model straight from memory; the bytes may be dropped afterwards. Throws a ProviderError when an
   * execution provider is lacking, else any error when the bytes are not loadable.
   */
  load(bytes: Uint8Array, options?: RuntimeOptions): Promise<LoadedModel>;
}

/** Which runtime loads these bytes. A new one is a line here; heavy ones are imported when they are needed. */
export async function runtimeFor(bytes: Uint8Array): Promise<Runtime> {
  // A zip archive ("PK") is a bundle of a model with what prepares its inputs.
  if (bytes[0] === 0x50 && bytes[1] === 0x4b) return (await import('./pipeline.ts')).pipelineRuntime;
  return onnxRuntime;
}
