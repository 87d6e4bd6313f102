/** The training file (YAML) and the following of a training job; shared by `train`, `jobs` and the first example. */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import {
  type Commonwatt,
  CommonwattApiError,
  type Dataset,
  type Job,
  type TrainResult,
} from '@commonwatt/client';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { CommonwattError } from '../errors.ts';
import { WrongUse } from './failure.ts';
import { fileProblem, openFile } from './files.ts';
import { showEnergy } from './quantities.ts';

/**
 * What the command line itself reads of the file: where the data is and where the result goes. The rest is the
 * network; the server judges it, so that there is one judge.
 */
const fileSchema = z.looseObject({
  dataset: z.string().min(1),
  data: z.string().min(1).optional(),
  label: z.string().min(1).optional(),
  split: z
    .strictObject({
      seed: z.number().int().optional(),
      train: z.number().optional(),
      validation: z.number().optional(),
      test: z.number().optional(),
    })
    .optional(),
  out: z.string().min(1).optional(),
});

export interface TrainingFile {
  config: Record<string, unknown> & { dataset: string };
  /** The CSV to upload when the server does not have the data set; absolute path. */
  data: string | null;
  label: string | null;
  split: { seed?: number; train?: number; validation?: number; test?: number };
  out: string;
}

export function readTrainingFile(file: string): TrainingFile {
  let content: unknown;
  try {
    content = parseYaml(readFileSync(file, 'utf8'));
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') throw fileProblem(file, error);
    throw new CommonwattError(
      'INVALID_CONFIG',
      `${file}: ${error instanceof Error ? error.message : error}`,
      {
        where: file,
        cause: error,
      },
    );
  }
  const parsed = fileSchema.safeParse(content);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new CommonwattError(
      'INVALID_CONFIG',
      `${file}: ${issue?.path.join('.') || 'the file'}: ${issue?.message ?? 'not valid'}`,
      { where: file, hint: 'examples/digits/train.yaml is a complete example' },
    );
  }
  const { data, label, split, out, ...config } = parsed.data;
  const given = Object.entries(split ?? {}).filter(
    (entry): entry is [string, number] => entry[1] !== undefined,
  );
  return {
    config,
    data: data === undefined ? null : resolve(dirname(file), data),
    label: label ?? null,
    split: Object.fromEntries(given),
    out: resolve(out ?? 'model.h5'),
  };
}

/** The data set on the server; uploaded when it is not there yet. */
export async function ensureDataset(
  client: Commonwatt,
  file: TrainingFile,
): Promise<{ dataset: Dataset; uploaded: boolean }> {
  const name = file.config.dataset;
  try {
    return { dataset: await client.datasets.get(name), uploaded: false };
  } catch (error) {
    if (!(error instanceof CommonwattApiError && error.status === 404)) throw error;
    if (file.data === null || file.label === null) {
      throw new WrongUse(
        `the server has no data set ${JSON.stringify(name)}, and the file names no data to upload`,
        'add `data: file.csv` and `label: column`, or upload it with `commonwatt datasets upload`',
      );
    }
    const csv = await openFile(file.data);
    const dataset = await client.datasets.upload({ name, label: file.label, ...file.split }, csv);
    return { dataset, uploaded: true };
  }
}

export function progressText(job: Job): string {
  const { progress } = job;
  if (!progress) return `${job.kind} ${waiting(job)}`;
  const figure = (name: string, value: number | null) =>
    value === null ? '' : `  ${name} ${value.toFixed(4)}`;
  const energy = progress.energyWh === null ? '' : `  ${showEnergy(progress.energyWh)} so far`;
  if (!('epoch' in progress)) return `${progress.rows} of ${progress.ofRows} rows${energy}`;
  return `epoch ${progress.epoch}/${progress.epochs}${figure('loss', progress.loss)}${figure('accuracy', progress.accuracy)}${figure('validation', progress.valAccuracy)}${energy}`;
}

/** Where it waits for its hours, until when. */
function waiting({ state, schedule }: Job): string {
  const next = schedule?.plan?.why === 'cleanest' ? schedule.plan.runs[0] : undefined;
  return state === 'queued' && next ? `waits for cleaner hours until ${next.start}` : state;
}

/** Throws when the job did not succeed. */
export function checkSucceeded(job: Job): NonNullable<Job['result']> {
  if (job.state === 'succeeded' && job.result) return job.result;
  if (job.state === 'cancelled') throw new CommonwattError('CANCELLED', `job ${job.id} was cancelled`);
  const hint = job.error?.hint ?? undefined;
  throw new CommonwattApiError({
    status: 200,
    code: job.error?.code ?? 'INTERNAL',
    detail: `job ${job.id} ${job.state}: ${job.error?.message ?? 'no reason given'}`,
    ...(hint === undefined ? {} : { hint }),
  });
}

/** Of a training. */
export function checkTrained(job: Job): TrainResult {
  const result = checkSucceeded(job);
  if ('history' in result) return result;
  throw new CommonwattError('CONFLICT', `job ${job.id} is no training but of kind ${job.kind}`);
}
