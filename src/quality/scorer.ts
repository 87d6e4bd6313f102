/**
 * A served version as a function from rows of features to one number a row, computed through the shared batcher
 * in small chunks, a few in flight, so that other callers' requests go in between.
 */
import type { Footprint, WorkContext } from '../energy/energy.ts';
import { CommonwattError } from '../errors.ts';
import type { ModelSignature, TensorSpec } from '../models/models.ts';
import { InferCall, type Inferrer, type ServedVersion } from '../serve/serve.ts';

export interface ScoringRun {
  served: ServedVersion;
  input: TensorSpec;
  /** Row-major, rows × features. */
  x: Float32Array;
  rows: number;
  chunkRows: number;
  chunksInFlight: number;
  context: Omit<WorkContext, 'requestId'>;
  /** Names the parts of one request, from `requestParts`: each chunk is a line of its own in the ledger. */
  nextPart: () => string;
  signal?: AbortSignal | undefined;
}

export interface Scores {
  values: Float32Array;
  footprints: Footprint[];
}

/**
 * The one input of a model that maps a row of features to one number, and how many features it takes.
 * Throws INVALID_TENSOR for any other model, saying what it has.
 */
export function singleScoreInput(
  signature: ModelSignature,
  purpose: string,
): { input: TensorSpec; features: number } {
  const [input] = signature.inputs;
  const [output] = signature.outputs;
  const oneInput = signature.inputs.length === 1 && input?.datatype === 'FP32' && widthOf(input) > 0;
  const oneScore = signature.outputs.length === 1 && output?.datatype === 'FP32' && widthOf(output) === 1;
  if (!input || !oneInput || !oneScore) {
    throw new CommonwattError(
      'INVALID_TENSOR',
      `${purpose} needs a model with one FP32 input [-1, features] and one FP32 output [-1, 1]; this one has ${describe(signature)}`,
      {
        where: oneInput ? 'outputs' : 'inputs',
        hint: 'use a model that ends in one unit, such as Dense(1, sigmoid)',
      },
    );
  }
  return { input, features: widthOf(input) };
}

/** Elements of one row; 0 when the first dimension is not the batch or another dimension is variable. */
function widthOf(spec: TensorSpec): number {
  const [batch, ...rest] = spec.shape;
  if (batch !== -1 || rest.some((size) => size < 1)) return 0;
  return rest.reduce((product, size) => product * size, 1);
}

function describe(signature: ModelSignature): string {
  const list = (specs: TensorSpec[]) =>
    specs.map((spec) => `${spec.datatype} [${spec.shape.join(', ')}]`).join(' and ') || 'none';
  return `inputs ${list(signature.inputs)}, outputs ${list(signature.outputs)}`;
}

/**
 * Ids of the model calls that belong to one request: `id`, `id.1`, `id.2`, … Each is unique; the ledger books them
 * together as the request before the dot.
 */
export function requestParts(requestId: string): () => string {
  let part = 0;
  return () => (part++ === 0 ? requestId : `${requestId}.${part - 1}`);
}

/** Throws what the inferrer throws; then no further chunk is sent. */
export async function scoreRows(inferrer: Inferrer, run: ScoringRun): Promise<Scores> {
  const { input, x, rows, chunkRows } = run;
  const chunks = Math.ceil(rows / chunkRows);
  const width = widthOf(input);
  const values = new Float32Array(rows);
  const footprints = new Array<Footprint>(chunks);
  const stop = new AbortController();
  const signal = run.signal ? AbortSignal.any([run.signal, stop.signal]) : stop.signal;
  let next = 0;
  const work = async () => {
    while (next < chunks) {
      if (signal.aborted) throw new CommonwattError('CANCELLED', 'the caller has left');
      const chunk = next++;
      const from = chunk * chunkRows;
      const count = Math.min(chunkRows, rows - from);
      const tensor = {
        name: input.name,
        datatype: input.datatype,
        shape: [count, ...input.shape.slice(1)],
        data: x.subarray(from * width, (from + count) * width),
      };
      const { outputs, footprint } = await inferrer.infer(
        run.served,
        new InferCall([tensor], { ...run.context, requestId: run.nextPart() }),
      );
      const answer = outputs[0]?.data;
      if (!(answer instanceof Float32Array) || answer.length !== count) {
        throw new CommonwattError('RUNNER_FAILED', 'the model did not answer one FP32 number for each row');
      }
      values.set(answer, from);
      footprints[chunk] = footprint;
    }
  };
  const workers = Array.from({ length: Math.min(run.chunksInFlight, chunks) }, () =>
    work().catch((error: unknown) => {
      stop.abort();
      throw error;
    }),
  );
  // The first failure is the one to show; the rest only end because of it.
  const settled = Promise.allSettled(workers);
  await Promise.all(workers).finally(() => settled);
  return { values, footprints };
}
