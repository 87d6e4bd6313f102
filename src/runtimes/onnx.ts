/** onnxruntime-node as a runtime. One thread per session: throughput comes from batches, not from spinning threads. */
import { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import type { LoadedModel, Runtime } from './runtime.ts';
import { type Datatype, type Tensor, viewOf } from './tensor.ts';

const ortTypes = {
  BOOL: 'bool',
  UINT8: 'uint8',
  INT8: 'int8',
  INT32: 'int32',
  INT64: 'int64',
  FP32: 'float32',
  FP64: 'float64',
  UINT16: 'uint16',
  UINT32: 'uint32',
  UINT64: 'uint64',
  INT16: 'int16',
} as const satisfies Partial<Record<Datatype, string>>;

const datatypeOf = new Map<string, Datatype>(
  Object.entries(ortTypes).map(([ours, theirs]) => [theirs, ours as Datatype]),
);

export const onnxRuntime: Runtime = {
  name: 'onnxruntime',
  async load(bytes, { threads } = { threads: 1, executionProviders: ['cpu'] }) {
    const session = await InferenceSession.create(bytes, {
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      executionMode: 'sequential',
      graphOptimizationLevel: 'all',
      enableCpuMemArena: false,
    });
    return new OnnxModel(session);
  },
};

class OnnxModel implements LoadedModel {
  readonly #session: InferenceSession;

  constructor(session: InferenceSession) {
    this.#session = session;
  }

  async run(inputs: readonly Tensor[]): Promise<Tensor[]> {
    const feeds: Record<string, OrtTensor> = {};
    for (const input of inputs) {
      if (!(input.datatype in ortTypes))
        throw new Error(`input ${input.name} is ${input.datatype}, which is not served`);
      const type = ortTypes[input.datatype as keyof typeof ortTypes];
      feeds[input.name] = new OrtTensor(type, input.data, input.shape);
    }
    const results = await this.#session.run(feeds);
    return this.#session.outputNames.map((name) => {
      const result = results[name];
      const datatype = result && datatypeOf.get(result.type);
      if (!result || !datatype || !ArrayBuffer.isView(result.data)) {
        throw new Error(`output ${name} has the datatype ${result?.type ?? 'none'}, which is not served`);
      }
      const { buffer, byteOffset } = result.data;
      return {
        name,
        datatype,
        shape: [...result.dims],
        data: viewOf(datatype, buffer, byteOffset, result.data.length),
      };
    });
  }

  async release(): Promise<void> {
    await this.#session.release();
  }
}
