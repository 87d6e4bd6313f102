/** onnxruntime-node as a runtime. No spinning threads: throughput comes from batches, and waiting costs no energy. */
import { InferenceSession, listSupportedBackends, Tensor as OrtTensor } from 'onnxruntime-node';
import { widenBfloat16 } from './onnx-bfloat16.ts';
import { fromOrt, toOrt } from './onnx-values.ts';
import { ProviderError } from './provider-error.ts';
import type { LoadedModel, Runtime, RuntimeOptions } from './runtime.ts';
import type { Tensor } from './tensor.ts';

export const onnxRuntime: Runtime = {
  name: 'onnxruntime',
  async load(bytes, options = { threads: 1, executionProviders: ['cpu'] }) {
    checkProviders(options.executionProviders);
    const { bytes: model, inputs, outputs } = widenBfloat16(bytes);
    const session = await openSession(model, options);
    const other = [...session.inputMetadata, ...session.outputMetadata].find(({ isTensor }) => !isTensor);
    if (other) throw new Error(`${other.name} is not a tensor; export the model with plain tensors`);
    return new OnnxModel(session, new Map([...inputs].map(([outer, inner]) => [inner, outer])), outputs);
  },
};

async function openSession(model: Uint8Array, options: RuntimeOptions): Promise<InferenceSession> {
  try {
    return await InferenceSession.create(model, sessionOptions(options));
  } catch (cause) {
    if (options.executionProviders.every((name) => name === 'cpu')) throw cause;
    const { threads } = options;
    // The processor tells whose fault it is: what it cannot load either is wrong with the model.
    const session = await InferenceSession.create(
      model,
      sessionOptions({ threads, executionProviders: ['cpu'] }),
    );
    await session.release();
    throw new ProviderError(
      `the execution providers ${options.executionProviders.join(', ')} cannot load this model here: ${(cause as Error).message}`,
    );
  }
}

function sessionOptions({ threads, executionProviders }: RuntimeOptions): InferenceSession.SessionOptions {
  return {
    executionProviders: [...executionProviders],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    // Activations stay between runs: taking large ones from the system each time costs up to 70 % more CPU time (seen).
    enableCpuMemArena: true,
    // Refusals are told to the caller; onnxruntime's own lines would let any caller fill the server's log.
    logSeverityLevel: 4,
    extra: {
      session: {
        // Weights outside of that arena: they go back to the system whole when the model is unloaded.
        use_device_allocator_for_initializers: '1',
        intra_op: { allow_spinning: '0' },
        inter_op: { allow_spinning: '0' },
        // Who does not name the processor wants an error rather than a slow answer.
        disable_cpu_ep_fallback: executionProviders.includes('cpu') ? '0' : '1',
      },
    },
  };
}

/** What this build of onnxruntime can compute with. */
export function builtProviders(): string[] {
  return listSupportedBackends().map(({ name }) => name);
}

function checkProviders(wanted: readonly string[]) {
  const built = builtProviders();
  const lacking = wanted.filter((name) => !built.includes(name));
  if (lacking.length > 0)
    throw new ProviderError(
      `this build of onnxruntime has no execution provider ${lacking.join(', ')}; it has ${built.join(', ')}`,
    );
}

class OnnxModel implements LoadedModel {
  readonly #session: InferenceSession;
  /** Where the session's names are other than the model's: those that are bfloat16. */
  readonly #inputNames: ReadonlyMap<string, string>;
  readonly #outputNames: ReadonlyMap<string, string>;

  constructor(
    session: InferenceSession,
    inputNames: ReadonlyMap<string, string>,
    outputNames: ReadonlyMap<string, string>,
  ) {
    this.#session = session;
    this.#inputNames = inputNames;
    this.#outputNames = outputNames;
  }

  async run(inputs: readonly Tensor[]): Promise<Tensor[]> {
    const feeds: Record<string, OrtTensor> = {};
    for (const input of inputs) feeds[this.#inputNames.get(input.name) ?? input.name] = toOrt(input);
    const results = await this.#session.run(feeds);
    return this.#session.outputNames.map((name) => {
      const result = results[name];
      if (!(result instanceof OrtTensor)) throw new Error(`output ${name} is missing or is no tensor`);
      const widened = this.#outputNames.get(name);
      return widened === undefined ? fromOrt(name, result) : fromOrt(widened, result, 'BF16');
    });
  }

  async release(): Promise<void> {
    await this.#session.release();
  }
}
