/** Where the rows for `predict` and `explain` come from: a row of a data set, a JSON file, or standard input. */
import { readFileSync } from 'node:fs';
import { type Commonwatt, CommonwattApiError, type Model, type SplitName } from '@commonwatt/client';
import { z } from 'zod';
import { WrongUse } from './failure.ts';
import { fileProblem } from './files.ts';
import type { Terminal } from './terminal.ts';

export interface InstanceOptions {
  row?: number;
  dataset?: string;
  split: SplitName;
  input?: string;
}

export interface Instances {
  rows: number[][];
  /** What the data set says is right, where the row came from one. */
  labels: (number | null)[];
  from: string;
}

const row = z.array(z.number()).min(1);
const inputSchema = z.union([
  z.array(row).min(1),
  row.transform((only) => [only]),
  z.object({ instances: z.array(row).min(1) }).transform(({ instances }) => instances),
]);

export async function readInstances(
  client: Commonwatt,
  model: string,
  options: InstanceOptions,
  terminal: Terminal,
): Promise<Instances> {
  if (options.row !== undefined && options.input !== undefined)
    throw new WrongUse('--row and --input were both given', 'give one of them');
  if (options.row !== undefined) return fromDataset(client, model, options.row, options);
  if (options.input === undefined && terminal.inIsTty)
    throw new WrongUse(
      'no input was given',
      'use --row 7 for a row of the data set, --input file.json, or pipe JSON in',
    );
  const from = options.input ?? 'standard input';
  const rows = parseInstances(
    options.input === undefined ? await terminal.readInput() : read(options.input),
    from,
  );
  return { rows, labels: rows.map(() => null), from };
}

export function parseInstances(text: string, from: string): number[][] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new WrongUse(`${from} is not JSON`, 'write rows of numbers: [[0, 0.5, …], …]');
  }
  const parsed = inputSchema.safeParse(value);
  if (!parsed.success)
    throw new WrongUse(
      `${from} is not rows of numbers`,
      'write [[0, 0.5, …], …], one row [0, 0.5, …], or {"instances": [[…]]}',
    );
  return parsed.data;
}

async function fromDataset(
  client: Commonwatt,
  model: string,
  number: number,
  options: InstanceOptions,
): Promise<Instances> {
  const dataset = options.dataset ?? (await datasetOf(client, model));
  const { features, label } = await client.datasets
    .row(dataset, options.split, number)
    .catch((error: unknown) => {
      if (error instanceof CommonwattApiError && error.status === 404 && options.dataset === undefined)
        throw new WrongUse(error.detail, 'name a data set of your organisation with --dataset');
      throw error;
    });
  return {
    rows: [Object.values(features)],
    labels: [label],
    from: `row ${number} of ${dataset} (${options.split})`,
  };
}

/** The data set the newest version was trained on, when it is known. */
async function datasetOf(client: Commonwatt, name: string): Promise<string> {
  const model: Model = await client.models.get(name);
  const newest = model.versions.reduce<(typeof model.versions)[number] | null>(
    (best, version) => (best === null || version.number > best.number ? version : best),
    null,
  );
  const dataset = newest?.dataset?.split('/')[1];
  if (!dataset)
    throw new WrongUse(
      `it is not known which data set ${model.ref} was trained on`,
      'name one of your organisation with --dataset',
    );
  return dataset;
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw fileProblem(file, error);
  }
}
