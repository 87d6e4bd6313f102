/**
 * The training room: makes a model from a data set, in a process of its own that is metered and can be stopped.
 *
 * In: a TrainConfig and a checked data set. Out: a Keras `.h5` in the artifact store, the history of its epochs,
 * and what it used. Promise: the same configuration, seed and data give the same weights; data travels to the
 * trainer in memory, never to disk; whatever becomes of a training, its energy is booked.
 */
import { z } from 'zod';
import {
  assertPassed,
  type DatasetReader,
  type DatasetRecord,
  type LoadedDataset,
} from '../datasets/datasets.ts';
import type { Accountant } from '../energy/energy.ts';
import { type ImpactJson, impactJson } from '../energy/footprint.ts';
import { CommonwattError } from '../errors.ts';
import type { JobHandler, JobRecord } from '../jobs/jobs.ts';
import { writeKerasH5 } from '../models/formats/keras-h5-write.ts';
import { isName } from '../models/names.ts';
import {
  activations,
  type Backend,
  type EpochResult,
  type TrainedLayer,
  type TrainOrder,
} from './protocol.ts';
import { Trainer } from './trainer.ts';

const name = z
  .string()
  .refine(isName, 'not a valid name: use lower-case letters, digits, ".", "_" and single "-"');

/** `TrainConfig` of docs/api.md. */
export const trainConfigSchema = z.strictObject({
  /** Name or id of a data set of the organisation. */
  dataset: name,
  /** The model it is meant for; kept with the job, training itself does not need it. */
  name: name.optional(),
  layers: z
    .array(
      z.strictObject({
        type: z.literal('dense', 'only dense layers can be trained here'),
        units: z.int().min(1).max(16384),
        activation: z.enum(activations).default('linear'),
      }),
    )
    .min(1)
    .max(64),
  optimizer: z.enum(['adam', 'sgd', 'rmsprop']).default('adam'),
  /** Null or absent: Keras's own default of the optimizer. */
  learningRate: z.number().positive().max(100).optional(),
  loss: z.enum(['binaryCrossentropy', 'meanSquaredError']).default('binaryCrossentropy'),
  metrics: z.array(z.literal('accuracy')).max(1).default(['accuracy']),
  epochs: z.int().min(1).max(10_000).default(10),
  batchSize: z.int().min(1).max(65_536).default(32),
  seed: z
    .int()
    .min(0)
    .max(2 ** 31 - 1)
    .default(42),
  /** What the version must reach before it may be `production`; judged by its evaluation. */
  gate: z.record(z.string(), z.unknown()).optional(),
});

export type TrainConfig = z.infer<typeof trainConfigSchema>;

/** Weights and biases; 20 million are 80 MB, and training holds four copies of them. */
const maxParameters = 20_000_000;

const defaultLearningRate = { adam: 0.001, rmsprop: 0.001, sgd: 0.01 } as const;

interface TrainProgress {
  epoch: number;
  epochs: number;
  loss: number | null;
  accuracy: number | null;
  valLoss: number | null;
  valAccuracy: number | null;
  /** So far; null where nothing is metered. */
  energyWh: number | null;
}

interface TrainResult {
  artifactSha256: string;
  sizeBytes: number;
  history: EpochResult[];
  /** What computed it: `wasm`, or `cpu` where WebAssembly did not start. */
  backend: Backend;
  impact: ImpactJson;
}

export interface TrainingOptions {
  datasets: DatasetReader;
  artifacts: {
    put(
      organisationId: string,
      bytes: Buffer,
      maxBytes: number,
    ): Promise<{ sha256: string; sizeBytes: number }>;
  };
  accountant: Pick<Accountant, 'meterJob'>;
  log: { info(fields: object, message: string): void; warn(fields: object, message: string): void };
  /** Ids of the server's own, for the ledger. */
  newRequestId(): string;
  /** Another trainer process; for tests. */
  trainer?: URL;
}

/** Handles jobs of kind `train`. */
export function trainHandler(options: TrainingOptions): JobHandler {
  return {
    /** Refuses what cannot be trained before there is a job: INVALID_CONFIG, INVALID_DATASET, NOT_FOUND. */
    async check(organisationId, config) {
      const parsed = parseTrainConfig(config);
      checkAgainst(parsed, (await options.datasets.load(organisationId, parsed.dataset)).record);
      return parsed;
    },
    run: (job, { signal, progress }) => train(options, job, signal, progress),
  };
}

/** Throws INVALID_CONFIG with the path of the first wrong field. */
export function parseTrainConfig(config: unknown): TrainConfig {
  const parsed = trainConfigSchema.safeParse(config);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const where = ['config', ...(issue?.path ?? [])].join('.');
    throw new CommonwattError('INVALID_CONFIG', `${where}: ${issue?.message ?? 'not valid'}`, {
      where,
      hint: 'examples/digits/train.yaml is a complete configuration',
    });
  }
  const last = parsed.data.layers.at(-1);
  if (last?.units !== 1 || last.activation !== 'sigmoid')
    throw new CommonwattError(
      'INVALID_CONFIG',
      `the last layer has ${last?.units} units and activation ${last?.activation}, but the label is binary`,
      {
        where: `config.layers.${parsed.data.layers.length - 1}`,
        hint: 'end with { type: dense, units: 1, activation: sigmoid }, which gives the probability of label 1',
      },
    );
  return parsed.data;
}

function checkAgainst(config: TrainConfig, dataset: DatasetRecord): void {
  assertPassed(dataset);
  let inputs = dataset.features.length;
  let parameters = 0;
  for (const { units } of config.layers) {
    parameters += (inputs + 1) * units;
    inputs = units;
  }
  if (parameters > maxParameters)
    throw new CommonwattError(
      'INVALID_CONFIG',
      `the network has ${parameters} parameters, at most ${maxParameters} can be trained here`,
      { where: 'config.layers', hint: 'use fewer or smaller layers' },
    );
}

async function train(
  options: TrainingOptions,
  job: JobRecord,
  signal: AbortSignal,
  progress: (progress: TrainProgress) => void,
): Promise<TrainResult> {
  const config = parseTrainConfig(job.config);
  const data = await options.datasets.load(job.organisationId, config.dataset);
  checkAgainst(config, data.record);
  signal.throwIfAborted();

  const trainer = await Trainer.start(options.trainer);
  const meter = options.accountant.meterJob({
    context: {
      kind: 'training',
      requestId: options.newRequestId(),
      consumer: { organisationId: job.organisationId, organisation: job.organisation },
      keyId: job.keyId,
      grantId: null,
      jobId: job.id,
    },
    pid: trainer.pid,
    use: null,
  });
  const history: EpochResult[] = [];
  let backend: Backend = 'wasm';
  let layers: TrainedLayer[];
  let impact: ImpactJson;
  const report = (latest: EpochResult | undefined) =>
    progress({
      epoch: latest?.epoch ?? 0,
      epochs: config.epochs,
      loss: latest?.loss ?? null,
      accuracy: latest?.accuracy ?? null,
      valLoss: latest?.valLoss ?? null,
      valAccuracy: latest?.valAccuracy ?? null,
      energyWh: impactJson(meter.soFar()).energyWh,
    });
  try {
    report(undefined);
    layers = await trainer.train(orderOf(config, data), {
      signal,
      started: (used, note) => {
        backend = used;
        if (note)
          options.log.warn({ jobId: job.id, backend, note }, 'training falls back to plain JavaScript');
      },
      epoch: (result) => {
        history.push(result);
        report(result);
      },
    });
  } finally {
    // The process is still there (idle, or stopped), so that its last seconds are read before it ends.
    try {
      impact = impactJson(await meter.finish());
    } finally {
      await trainer.end();
    }
  }
  const bytes = await writeKerasH5({
    name: config.name ?? config.dataset,
    inputSize: data.record.features.length,
    layers: layers.map((layer) => ({ ...layer, type: 'dense' as const })),
    training: {
      optimizer: config.optimizer,
      learningRate: config.learningRate ?? defaultLearningRate[config.optimizer],
      loss: config.loss,
      metrics: config.metrics,
    },
  });
  const { sha256, sizeBytes } = await options.artifacts.put(
    job.organisationId,
    Buffer.from(bytes),
    bytes.length,
  );
  options.log.info({ jobId: job.id, sha256, sizeBytes, energyWh: impact.energyWh }, 'model trained');
  return { artifactSha256: sha256, sizeBytes, history, backend, impact };
}

function orderOf(config: TrainConfig, data: LoadedDataset): TrainOrder {
  const { train, validation } = data.split;
  return {
    features: data.record.features.length,
    layers: config.layers.map(({ units, activation }) => ({ units, activation })),
    optimizer: config.optimizer,
    learningRate: config.learningRate ?? defaultLearningRate[config.optimizer],
    loss: config.loss,
    epochs: config.epochs,
    batchSize: config.batchSize,
    seed: config.seed,
    ...rowsOf(data, train),
    validationX: rowsOf(data, validation).x,
    validationY: rowsOf(data, validation).y,
  };
}

function rowsOf(data: LoadedDataset, rows: Uint32Array): { x: Float32Array; y: Float32Array } {
  const width = data.record.features.length;
  const x = new Float32Array(rows.length * width);
  rows.forEach((row, i) => {
    x.set(data.x.subarray(row * width, (row + 1) * width), i * width);
  });
  return { x, y: Float32Array.from(rows, (row) => data.y[row] ?? Number.NaN) };
}
