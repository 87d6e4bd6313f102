/**
 * The first example, through the real API, step by step: data set → train → import → evaluate → deploy → share →
 * call with the other organisation's key → explain → account. Every step looks first whether it is done, so an
 * interrupted example goes on where it was, and a second start finds everything there.
 */
import { fileURLToPath } from 'node:url';
import { Commonwatt, CommonwattApiError, type Dataset, type Job, type Model } from '@commonwatt/client';
import { CommonwattError } from '../errors.ts';
import { evaluationLines } from './evaluate.ts';
import { type ExampleFile, readExample, writeExample } from './example-file.ts';
import { storyOfUse, summaryLines } from './example-story.ts';
import { answers } from './references.ts';
import { progressLine, type Terminal } from './terminal.ts';
import { checkSucceeded, ensureDataset, progressText, readTrainingFile } from './training.ts';

/** What the example needs of the running server; everything else goes through its API. */
export interface ServerForExample {
  baseUrl: string;
  grpcAddress: string | null;
  bootstrap: { ensureOrganisation(name: string, adminMember: string): Promise<{ apiKey: string }> };
}

const owner = { name: 'acme', admin: 'ada' };
const consumer = { name: 'globex', admin: 'grace' };
const model = `${owner.name}/digits`;
const flatModel = `${owner.name}--digits`;
const trainingFile = fileURLToPath(new URL('../../examples/digits/train.yaml', import.meta.url));

export async function runExample(
  server: ServerForExample,
  dataFolder: string,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<void> {
  const before = readExample(dataFolder);
  const known = before && (await stillWorks(before, server, signal));
  const example = known || (await firstTime(server, terminal, signal));
  if (!known || JSON.stringify(known) !== JSON.stringify(before)) await writeExample(dataFolder, example);
  for (const line of await summaryLines(example, signal)) terminal.out(`${line}\n`);
}

/** The example of an earlier start, with today's address, when its keys and its model answer; else null. */
async function stillWorks(
  before: ExampleFile,
  { baseUrl, grpcAddress }: ServerForExample,
  signal: AbortSignal,
): Promise<ExampleFile | null> {
  try {
    const [ownerClient, consumerClient] = [before.owner, before.consumer].map(
      ({ apiKey }) => new Commonwatt({ baseUrl, apiKey }),
    );
    await ownerClient?.whoami({ signal });
    await consumerClient?.metadata(before.model, { signal });
    return { ...before, baseUrl, grpcAddress };
  } catch (error) {
    if (error instanceof CommonwattApiError && [401, 404, 503].includes(error.status)) return null;
    throw error;
  }
}

async function firstTime(
  server: ServerForExample,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<ExampleFile> {
  const { baseUrl, grpcAddress, bootstrap } = server;
  const say = (step: string, text: string) => terminal.out(`${step.padEnd(10)} ${text}\n`);
  const ownerKey = await bootstrap.ensureOrganisation(owner.name, owner.admin);
  const consumerKey = await bootstrap.ensureOrganisation(consumer.name, consumer.admin);
  const acme = new Commonwatt({ baseUrl, apiKey: ownerKey.apiKey });
  const globex = new Commonwatt({ baseUrl, apiKey: consumerKey.apiKey });
  say('people', `${owner.name} owns a model, ${consumer.name} will use it`);

  const file = readTrainingFile(trainingFile);
  const { dataset } = await ensureDataset(acme, file);
  say('data', dataLine(dataset));
  const job = await train(acme, file.config, terminal, signal);
  const version = await importOnce(acme, job, signal);
  say(
    'import',
    `model.h5 → ${model}:${version.number}, sha256 ${version.sha256.slice(0, 12)}…, encrypted at rest`,
  );

  const done = (await acme.evaluations(model, version.number, { signal })).find(({ passed }) => passed);
  const evaluation =
    done ?? (await acme.evaluate(model, version.number, { dataset: dataset.name }, { signal }));
  for (const line of evaluationLines('evaluate', evaluation)) terminal.out(`${line}\n`);
  if (!evaluation.passed)
    throw new CommonwattError('GATE_NOT_PASSED', `${model}:${version.number} did not pass its gate`, {
      hint: 'nothing was deployed; change examples/digits/train.yaml and start again',
    });

  await deployOnce(acme, version.number, signal);
  say('deploy', `${model}@production answers at ${baseUrl}/v2/models/${flatModel}/infer`);
  const grants = await acme.grants.list(model, { signal });
  if (!grants.some(({ organisation, revokedAt }) => organisation === consumer.name && revokedAt === null))
    await acme.grants.create(
      model,
      { organisation: consumer.name, limit: { requests: 1000, period: 'day' } },
      { signal },
    );
  say('share', `${consumer.name} may infer and explain, at most 1000 requests a day`);

  await storyOfUse({ acme, globex, model, dataset: dataset.name }, say, terminal, signal);
  return {
    baseUrl,
    grpcAddress,
    model: flatModel,
    owner: { organisation: owner.name, apiKey: ownerKey.apiKey },
    consumer: { organisation: consumer.name, apiKey: consumerKey.apiKey },
  };
}

function dataLine({ name, rows, features, report }: Dataset): string {
  const remarks = report.checks.filter(({ passed }) => !passed).map(({ message }) => message);
  return `${name}: ${rows} rows × ${features.length} inputs; ${report.checks.length} checks, ${remarks.length === 0 ? 'all passed' : `remarked: ${remarks.join('; ')}`}`;
}

/** Goes on with a training that is there already: queued, running (the server resumed it) or finished. */
async function train(
  acme: Commonwatt,
  config: Record<string, unknown>,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<Job> {
  const newest = (await acme.jobs.list({ signal }))
    .filter(({ kind, state }) => kind === 'train' && state !== 'failed' && state !== 'cancelled')
    .sort((a, b) => b.createdAt.localeCompare(a.createdAt))[0];
  const { id } = newest ?? (await acme.jobs.create({ kind: 'train', config }, { signal }));
  const progress = progressLine({ ...terminal, err: terminal.out, errIsTty: terminal.outIsTty });
  try {
    const job = await acme.jobs.wait(id, {
      signal,
      onProgress: (now) => progress.update(`train      ${progressText(now)}`),
    });
    checkSucceeded(job);
    return job;
  } finally {
    progress.end();
  }
}

async function importOnce(acme: Commonwatt, job: Job, signal: AbortSignal) {
  const existing = await acme.models.get(model, { signal }).catch((error: unknown): Model | null => {
    if (error instanceof CommonwattApiError && error.status === 404) return null;
    throw error;
  });
  const known = existing?.versions.find(({ jobId }) => jobId === job.id);
  if (known) return known;
  // From the job straight into the registry: the plaintext touches no disk.
  const artifact = await acme.jobs.artifact(job.id, { signal });
  return acme.versions.import(model, artifact, { job: job.id, signal });
}

async function deployOnce(acme: Commonwatt, version: number, signal: AbortSignal): Promise<void> {
  const { aliases, deployments } = await acme.models.get(model, { signal });
  const served = deployments.some((entry) => entry.version === version && answers(entry.state));
  const named = aliases.some((entry) => entry.alias === 'production' && entry.version === version);
  if (served && named) return;
  await acme.deployments.create({ model: `${model}:${version}`, alias: 'production' }, { signal });
}
