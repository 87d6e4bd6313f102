/**
 * The training room: makes a model from a data set, in a process of its own that is metered and can be stopped.
 *
 * In: a TrainConfig and a checked data set. Out: a Keras `.h5` in the artifact store, the history of its epochs,
 * and what it used. Promise: the same configuration, seed and data give the same weights, interrupted or not; data
 * travels to the trainer in memory, never to disk; whatever becomes of a training, its energy is booked.
 */
import { z } from 'zod';
import {
  assertPassed,
  type DatasetReader,
  type DatasetRecord,
  type LoadedDataset,
} from '../datasets/datasets.ts';
import type { Accountant, Footprint } from '../energy/energy.ts';
import { type ImpactJson, impactJson, sumFootprints } from '../energy/footprint.ts';
import { CommonwattError } from '../errors.ts';
import type { JobHandler, JobRecord, JobTools } from '../jobs/jobs.ts';
import { writeKerasH5 } from '../models/formats/keras-h5-write.ts';
import { isName } from '../models/names.ts';
import { checkpointBytes, readCheckpoint } from './checkpoint.ts';
import {
  activations,
  type Backend,
  type EpochResult,
  type TrainedLayer,
  type TrainOrder,
  type TrainState,
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
  /** Least time between two checkpoints, ms. */
  checkpointEveryMs?: number;
}

/** Starting a process, reading data and state: on two cores one to three seconds were seen. */
const interruptionMs = 3000;

/** Handles jobs of kind `train`. */
export function trainHandler(options: TrainingOptions): JobHandler {
  return {
    /** Refuses what cannot be trained before there is a job: INVALID_CONFIG, INVALID_DATASET, NOT_FOUND. */
    async check(organisationId, config) {
      const parsed = parseTrainConfig(config);
      checkAgainst(parsed, (await options.datasets.load(organisationId, parsed.dataset)).record);
      return parsed;
    },
    /** Weights times rows times epochs. */
    async work(organisationId, config) {
      const parsed = parseTrainConfig(config);
      const { record, split } = await options.datasets.load(organisationId, parsed.dataset);
      return parametersOf(parsed, record.features.length) * split.train.length * parsed.epochs;
    },
    interruptionMs,
    run: (job, tools) => train(options, job, tools),
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
  const parameters = parametersOf(config, dataset.features.length);
  if (parameters > maxParameters)
    throw new CommonwattError(
      'INVALID_CONFIG',
      `the network has ${parameters} parameters, at most ${maxParameters} can be trained here`,
      { where: 'config.layers', hint: 'use fewer or smaller layers' },
    );
}

function parametersOf({ layers }: TrainConfig, features: number): number {
  let inputs = features;
  let parameters = 0;
  for (const { units } of layers) {
    parameters += (inputs + 1) * units;
    inputs = units;
  }
  return parameters;
}

async function train(options: TrainingOptions, job: JobRecord, tools: JobTools): Promise<TrainResult> {
  const startedMs = performance.now();
  const config = parseTrainConfig(job.config);
  const data = await options.datasets.load(job.organisationId, config.dataset);
  checkAgainst(config, data.record);
  const saved = readCheckpoint(await tools.load(), { jobId: job.id, datasetId: data.record.id });
  tools.signal.throwIfAborted();

  const trainer = await Trainer.start(options.trainer);
  const meter = options.accountant.meterJob({
    context: {
      kind: 'training',
      requestId: options.newRequestId(),
      consumer: { organisationId: job.organisationId, organisation: job.organisation },
      keyId: job.keyId,
      memberId: job.memberId,
      grantId: null,
      jobId: job.id,
    },
    pid: trainer.pid,
    use: null,
  });
  const history: EpochResult[] = saved?.history ?? [];
  const keeper = new StateKeeper(options, tools, (state) =>
    checkpointBytes({ jobId: job.id, datasetId: data.record.id, history, state }),
  );
  let backend: Backend = 'wasm';
  let layers: TrainedLayer[];
  let impact: ImpactJson;
  const report = () => {
    const used = meter.soFar();
    tools.used(used);
    tools.done(history.length / config.epochs);
    tools.progress(progressOf(history, config.epochs, sumFootprints([...tools.earlier, used])));
  };
  const pause = () => trainer.pause();
  tools.pause.addEventListener('abort', pause);
  try {
    report();
    const order = orderOf(config, data, saved?.state ?? null, options.checkpointEveryMs ?? 30_000);
    const training = trainer.train(order, {
      signal: AbortSignal.any([tools.signal, keeper.paused]),
      started: (used, note) => {
        backend = used;
        tools.used(meter.soFar(), performance.now() - startedMs);
        if (note)
          options.log.warn({ jobId: job.id, backend, note }, 'training falls back to plain JavaScript');
      },
      epoch: (result) => {
        history.push(result);
        report();
      },
      state: (state) => keeper.take(state),
    });
    if (tools.pause.aborted) pause();
    layers = await training;
  } finally {
    tools.pause.removeEventListener('abort', pause);
    // The process is still there (idle, or stopped), so that its last seconds are read before it ends.
    try {
      const used = await meter.finish();
      tools.used(used);
      impact = impactJson(sumFootprints([...tools.earlier, used]));
    } finally {
      await trainer.end();
      await keeper.idle();
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

/** Stores states one after another, and ends the training when the one it was to be paused with is stored. */
class StateKeeper {
  readonly #options: TrainingOptions;
  readonly #tools: JobTools;
  readonly #bytesOf: (state: TrainState) => Buffer;
  readonly #stop = new AbortController();
  #saving: Promise<void> | undefined;

  constructor(options: TrainingOptions, tools: JobTools, bytesOf: (state: TrainState) => Buffer) {
    this.#options = options;
    this.#tools = tools;
    this.#bytesOf = bytesOf;
  }

  get paused(): AbortSignal {
    return this.#stop.signal;
  }

  take(state: TrainState): void {
    const last = this.#tools.pause.aborted;
    // A slow disk is not asked for more than it can do.
    if (this.#saving && !last) return;
    const bytes = this.#bytesOf(state);
    this.#saving = (this.#saving ?? Promise.resolve())
      .then(() => this.#tools.save(bytes))
      .catch((error: unknown) => {
        this.#options.log.warn({ err: error }, 'a checkpoint of a training could not be stored');
      })
      .then(() => {
        this.#saving = undefined;
        if (last) this.#stop.abort(this.#tools.pause.reason);
      });
  }

  async idle(): Promise<void> {
    await this.#saving;
  }
}

function progressOf(history: readonly EpochResult[], epochs: number, used: Footprint): TrainProgress {
  const latest = history.at(-1);
  return {
    epoch: latest?.epoch ?? 0,
    epochs,
    loss: latest?.loss ?? null,
    accuracy: latest?.accuracy ?? null,
    valLoss: latest?.valLoss ?? null,
    valAccuracy: latest?.valAccuracy ?? null,
    energyWh: impactJson(used).energyWh,
  };
}

function orderOf(
  config: TrainConfig,
  data: LoadedDataset,
  from: TrainState | null,
  stateEveryMs: number,
): TrainOrder {
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
    from,
    stateEveryMs,
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
