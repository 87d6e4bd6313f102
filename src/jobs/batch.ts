/**
 * Batch inference: the rows of a data set, or rows that come with the job, through a deployed model, at the pace of
 * whatever else is computed. The answers become a CSV file in the artifact store.
 *
 * Promise: every chunk of rows is admitted like a request of the key that asked, and booked on the job; what was
 * computed before an interruption is not computed again.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { deserialize, serialize } from 'node:v8';
import { z } from 'zod';
import type { DatasetReader } from '../datasets/datasets.ts';
import type { Footprint } from '../energy/energy.ts';
import { type ImpactJson, impactJson, sumFootprints } from '../energy/footprint.ts';
import { CommonwattError } from '../errors.ts';
import type { Gate, Principal } from '../gate/gate.ts';
import type { ModelSignature, TensorSpec } from '../models/models.ts';
import { parseModelRef } from '../models/names.ts';
import { InferCall, type ServedVersion, type Serving, type Tensor } from '../serve/serve.ts';
import type { Db } from '../storage/db.ts';
import { askerOf } from './asker.ts';
import type { JobHandler, JobRecord, JobTools } from './jobs.ts';

const mostRows = 10_000;

export const batchConfigSchema = z
  .strictObject({
    model: z.string().min(3).max(200).describe('organisation/model, :version or @alias may follow'),
    dataset: z.string().min(1).max(100).optional().describe('a data set of your organisation'),
    split: z.enum(['train', 'validation', 'test']).optional().describe('without: all rows'),
    rows: z
      .array(z.array(z.number()).min(1))
      .min(1)
      .max(mostRows)
      .optional()
      .describe('instead of a data set: rows of features'),
  })
  .refine(({ dataset, rows }) => (dataset === undefined) !== (rows === undefined), {
    path: ['dataset'],
    error: 'name a data set or send rows, one of them',
  })
  .refine(({ split, rows }) => split === undefined || rows === undefined, {
    path: ['split'],
    error: 'only a data set has splits',
  });

type BatchConfig = z.infer<typeof batchConfigSchema>;

/** As kept with the job: the version is fixed when it is asked for. */
interface Pinned extends BatchConfig {
  version: number;
}

interface BatchResult {
  artifactSha256: string;
  sizeBytes: number;
  rows: number;
  columns: string[];
  model: string;
  version: number;
  impact: ImpactJson;
}

export interface BatchParts {
  db: Db;
  datasets: DatasetReader;
  gate: Pick<Gate, 'authorize' | 'admit' | 'policyVersion'>;
  serving: Serving;
  artifacts: {
    put(
      organisationId: string,
      bytes: Buffer,
      maxBytes: number,
    ): Promise<{ sha256: string; sizeBytes: number }>;
  };
  newRequestId(): string;
  checkpointEveryMs?: number;
}

const rowsInChunk = 64;
const chunksInFlight = 4;
/** How often a full queue is asked again before the job gives up. */
const mostRetries = 20;

/** Handles jobs of kind `batch`. */
export function batchHandler(parts: BatchParts): JobHandler {
  return {
    async check(organisationId, config, owner) {
      const parsed = parse(config);
      const asker = await askerOf(parts.db, { keyId: owner.keyId, organisationId });
      const served = await servedOf(parts, asker, parsed.model);
      await rowsOf(parts, organisationId, parsed, featuresOf(served.signature));
      return { ...parsed, version: served.version } satisfies Pinned;
    },
    async work(organisationId, config) {
      const { dataset, split, rows } = config as Pinned;
      if (rows) return rows.length;
      const loaded = await parts.datasets.load(organisationId, dataset ?? '');
      return split ? loaded.split[split].length : loaded.record.rows;
    },
    interruptionMs: 100,
    run: (job, tools) => run(parts, job, tools),
  };
}

function parse(config: unknown): BatchConfig {
  const parsed = batchConfigSchema.safeParse(config);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const where = ['config', ...(issue?.path ?? [])].join('.');
  throw new CommonwattError('INVALID_CONFIG', `${where}: ${issue?.message ?? 'not valid'}`, {
    where,
    hint: '{"model": "acme/digits", "dataset": "digits"} is a complete configuration',
  });
}

async function servedOf(
  { gate, serving }: Pick<BatchParts, 'gate' | 'serving'>,
  asker: Principal,
  model: string,
  version?: number,
): Promise<ServedVersion> {
  const ref = parseModelRef(model);
  const access = await gate.authorize(asker, 'infer', ref.organisation, ref.name);
  return serving.served(access.model.id, version === undefined ? ref : { version });
}

/** Throws INVALID_TENSOR for a model that does not take rows of numbers. */
function featuresOf({ inputs }: ModelSignature): { input: TensorSpec; features: number } {
  const [input] = inputs;
  const sizes = input?.shape.slice(1) ?? [];
  const takesRows = input?.datatype === 'FP32' && input.shape[0] === -1 && sizes.every((size) => size > 0);
  if (input && inputs.length === 1 && takesRows)
    return { input, features: sizes.reduce((product, size) => product * size, 1) };
  throw new CommonwattError('INVALID_TENSOR', 'a batch needs a model with one FP32 input [-1, features]', {
    where: 'config.model',
    hint: 'call other models one by one, through /v2/models/…/infer',
  });
}

/** Row-major. Throws INVALID_DATASET, INVALID_CONFIG. */
async function rowsOf(
  { datasets }: Pick<BatchParts, 'datasets'>,
  organisationId: string,
  { dataset, split, rows }: BatchConfig,
  { features }: { features: number },
): Promise<{ count: number; chunk(from: number, to: number): Float32Array }> {
  if (rows) {
    const wrong = rows.findIndex((row) => row.length !== features);
    if (wrong >= 0) throw wrongWidth(`config.rows.${wrong}`, rows[wrong]?.length ?? 0, features);
    return {
      count: rows.length,
      chunk: (from, to) => Float32Array.from(rows.slice(from, to).flat()),
    };
  }
  const { record, x, split: splits } = await datasets.load(organisationId, dataset ?? '');
  if (record.features.length !== features)
    throw wrongWidth('config.dataset', record.features.length, features);
  const indices = split ? splits[split] : Uint32Array.from({ length: record.rows }, (_, row) => row);
  return {
    count: indices.length,
    chunk(from, to) {
      const values = new Float32Array((to - from) * features);
      indices.subarray(from, to).forEach((row, at) => {
        values.set(x.subarray(row * features, (row + 1) * features), at * features);
      });
      return values;
    },
  };
}

function wrongWidth(where: string, has: number, features: number): CommonwattError {
  return new CommonwattError('INVALID_CONFIG', `${where} has ${has} features, the model takes ${features}`, {
    where,
    hint: `give rows of ${features} numbers`,
  });
}

interface State {
  jobId: string;
  rows: number;
  columns: string[];
  lines: string[];
}

async function run(parts: BatchParts, job: JobRecord, tools: JobTools): Promise<BatchResult> {
  const config = job.config as Pinned;
  const asker = await askerOf(parts.db, job);
  const served = await servedOf(parts, asker, config.model, config.version);
  const { input, features } = featuresOf(served.signature);
  const rows = await rowsOf(parts, job.organisationId, config, { features });
  const state = (await loaded(tools, job.id)) ?? { jobId: job.id, rows: 0, columns: [], lines: [] };
  const footprints: Footprint[] = [];
  let savedMs = performance.now();
  const everyMs = parts.checkpointEveryMs ?? 30_000;
  const used = () => sumFootprints([...tools.earlier, ...footprints]);
  while (state.rows < rows.count) {
    tools.signal.throwIfAborted();
    const chunks: Promise<Chunk>[] = [];
    for (let at = state.rows; at < rows.count && chunks.length < chunksInFlight; at += rowsInChunk) {
      const to = Math.min(at + rowsInChunk, rows.count);
      const tensor = {
        name: input.name,
        datatype: input.datatype,
        shape: [to - at, ...input.shape.slice(1)],
        data: rows.chunk(at, to),
      };
      chunks.push(chunkOf(parts, asker, job, served, tensor, tools.signal));
    }
    for (const { outputs, footprint } of await allOf(chunks)) {
      footprints.push(footprint);
      append(state, outputs);
    }
    tools.used(sumFootprints(footprints));
    tools.done(state.rows / rows.count);
    tools.progress({ rows: state.rows, ofRows: rows.count, energyWh: impactJson(used()).energyWh });
    const due = tools.pause.aborted || performance.now() - savedMs >= everyMs;
    if (due && state.rows < rows.count) {
      await tools.save(serialize(state));
      savedMs = performance.now();
      tools.pause.throwIfAborted();
    }
  }
  const csv = Buffer.from(`${[['row', ...state.columns].join(','), ...state.lines].join('\n')}\n`);
  const { sha256, sizeBytes } = await parts.artifacts.put(job.organisationId, csv, csv.length);
  return {
    artifactSha256: sha256,
    sizeBytes,
    rows: rows.count,
    columns: state.columns,
    model: config.model,
    version: served.version,
    impact: impactJson(used()),
  };
}

async function loaded(tools: JobTools, jobId: string): Promise<State | null> {
  const bytes = await tools.load();
  const state = bytes && (deserialize(bytes) as State);
  return state?.jobId === jobId ? state : null;
}

interface Chunk {
  outputs: Tensor[];
  footprint: Footprint;
}

/** All have ended when it returns or throws: nothing is computed for a job that has failed. */
async function allOf(chunks: readonly Promise<Chunk>[]): Promise<Chunk[]> {
  await Promise.allSettled(chunks);
  return Promise.all(chunks);
}

async function chunkOf(
  { gate, serving, newRequestId }: BatchParts,
  asker: Principal,
  job: JobRecord,
  served: ServedVersion,
  tensor: Tensor,
  signal: AbortSignal,
): Promise<Chunk> {
  const ref = parseModelRef((job.config as Pinned).model);
  for (let retries = 0; ; retries++) {
    signal.throwIfAborted();
    const admission = await gate.admit(asker, 'infer', ref.organisation, ref.name);
    try {
      admission.place?.expect(tensor.shape[0] ?? 1);
      const call = new InferCall(
        [tensor],
        {
          kind: 'inference',
          requestId: newRequestId(),
          consumer: asker,
          keyId: asker.keyId,
          memberId: asker.memberId,
          grantId: admission.grant?.id ?? null,
          jobId: job.id,
          place: admission.place,
        },
        { policyVersion: gate.policyVersion },
      );
      const { outputs, footprint } = await serving.infer(served, call);
      admission.settle();
      return { outputs, footprint };
    } catch (error) {
      admission.release();
      const busy = error instanceof CommonwattError && error.code === 'OVERLOADED';
      if (!busy || retries >= mostRetries) throw error;
      // Callers who wait go first.
      await sleep((error.retryAfterS ?? 1) * 1000, undefined, { signal }).catch(() =>
        signal.throwIfAborted(),
      );
    }
  }
}

/** A line a row; a column an element of each output. */
function append(state: State, outputs: readonly Tensor[]): void {
  const count = outputs[0]?.shape[0] ?? 0;
  const parts = outputs.map(({ name, shape, data }) => {
    if (shape[0] !== count || data instanceof Uint8Array)
      throw new CommonwattError(
        'INVALID_TENSOR',
        `output ${JSON.stringify(name)} is no row of numbers for each input`,
        {
          where: 'config.model',
          hint: 'call this model through /v2/models/…/infer',
        },
      );
    return { name, width: data.length / Math.max(1, count), data };
  });
  state.columns = parts.flatMap(({ name, width }) =>
    width === 1 ? [name] : Array.from({ length: width }, (_, index) => `${name}_${index}`),
  );
  for (let row = 0; row < count; row++) {
    const values = parts.flatMap(({ width, data }) =>
      Array.from({ length: width }, (_, index) => String(data[row * width + index])),
    );
    state.lines.push([state.rows, ...values].join(','));
    state.rows += 1;
  }
}
