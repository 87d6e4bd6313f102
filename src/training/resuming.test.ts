/** A training that was interrupted gives what it would have given: however it was interrupted. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { Datasets } from '../datasets/datasets.ts';
import { unmetered } from '../energy/footprint.ts';
import { joules } from '../energy/units.ts';
import { recordAudit } from '../gate/audit.ts';
import { Checkpoints } from '../jobs/checkpoints.ts';
import { type JobRecord, Jobs } from '../jobs/jobs.ts';
import { inspectArtifact } from '../models/formats/formats.ts';
import { ArtifactStore, wrappingKeys } from '../storage/artifacts.ts';
import { openDiskBlobs } from '../storage/blobs.ts';
import { openDatabase } from '../storage/db.ts';
import { openVault } from '../vault/vault.ts';
import type { TrainedLayer, TrainOrder, TrainState } from './protocol.ts';
import { Trainer } from './trainer.ts';
import { trainHandler } from './training.ts';

const example = new URL('../../examples/digits/', import.meta.url);
const yaml = parseYaml(readFileSync(new URL('train.yaml', example), 'utf8'));
const { data, label, split, out: _out, ...config } = yaml;
const acme = { organisationId: 'org-acme', organisation: 'acme', member: 'ada', keyId: 'key-1' };

/** Rows that a line parts, made up; 8 features. */
function order(settings: Partial<TrainOrder>): TrainOrder {
  const rows = 96;
  const x = Float32Array.from({ length: rows * 8 }, (_, index) => Math.sin(index * 12.9898) * 2);
  const y = Float32Array.from({ length: rows }, (_, row) =>
    (x[row * 8] ?? 0) + (x[row * 8 + 1] ?? 0) > 0 ? 1 : 0,
  );
  return {
    features: 8,
    layers: [
      { units: 16, activation: 'relu' },
      { units: 1, activation: 'sigmoid' },
    ],
    optimizer: 'adam',
    learningRate: 0.01,
    loss: 'binaryCrossentropy',
    epochs: 6,
    batchSize: 32,
    seed: 42,
    x,
    y,
    validationX: x.slice(0, 80),
    validationY: y.slice(0, 10),
    from: null,
    stateEveryMs: null,
    ...settings,
  };
}

async function train(
  settings: Partial<TrainOrder>,
): Promise<{ layers: TrainedLayer[]; states: TrainState[]; epochs: number[] }> {
  const trainer = await Trainer.start();
  const states: TrainState[] = [];
  const epochs: number[] = [];
  try {
    const layers = await trainer.train(order(settings), {
      signal: new AbortController().signal,
      started() {},
      epoch: ({ epoch }) => void epochs.push(epoch),
      state: (state) => void states.push(state),
    });
    return { layers, states, epochs };
  } finally {
    await trainer.end();
  }
}

describe.each(['adam', 'rmsprop', 'sgd'] as const)('with %s', (optimizer) => {
  test('going on from any epoch gives the very same weights', async () => {
    const whole = await train({ optimizer, stateEveryMs: 0 });
    expect(whole.states.map(({ epoch }) => epoch)).toEqual([1, 2, 3, 4, 5]);
    for (const from of [whole.states[0], whole.states[3]]) {
      const rest = await train({ optimizer, from: from ?? null });
      expect(rest.epochs).toEqual(
        Array.from({ length: 6 - (from?.epoch ?? 0) }, (_, i) => (from?.epoch ?? 0) + 1 + i),
      );
      expect(rest.layers).toEqual(whole.layers);
    }
  });
});

describe('a training job', () => {
  const folder = mkdtempSync(join(tmpdir(), 'resuming-'));
  let expected: Uint8Array;
  const settings = { ...config, epochs: 12 };

  beforeAll(async () => {
    const house = await openHouse();
    await house.db
      .insertInto('organisations')
      .values({ id: 'org-acme', name: 'acme', created_at: new Date().toISOString() })
      .execute();
    const source = { name: yaml.dataset, label, split };
    await house.datasets.create(acme, source, readFileSync(new URL(data, example)));
    await house.jobs.start();
    const done = await last(house.jobs, await house.jobs.enqueue(acme, 'train', settings));
    expected = await house.weightsOf(done);
    await house.close();
  });

  afterAll(() => rmSync(folder, { recursive: true }));

  /** A server's rooms on the test's data folder. */
  async function openHouse() {
    const db = await openDatabase(join(folder, 'test.db'));
    const vault = await openVault(folder, { wrappedBy: await wrappingKeys(db) });
    const artifacts = new ArtifactStore({ db, blobs: await openDiskBlobs(folder), vault });
    await artifacts.removeOrphans();
    const log = { info() {}, warn() {}, error() {} };
    const datasets = new Datasets({ db, artifacts, audit: recordAudit });
    const used = { ...unmetered, energyJ: joules(3.6), unknown: {} };
    const accountant = { meterJob: () => ({ soFar: () => used, finish: async () => used }) };
    const parts = { datasets, artifacts, accountant, log, newRequestId: () => 'r' };
    const jobs = new Jobs({
      db,
      audit: recordAudit,
      log,
      handlers: { train: trainHandler({ ...parts, checkpointEveryMs: 0 }) },
      checkpoints: new Checkpoints({ db, artifacts, log }),
      progressEveryMs: 0,
    });
    const close = async () => {
      await jobs.stop();
      await db.destroy();
    };
    /** As ONNX, which is made of nothing else; HDF5 has the time of writing in it. */
    const weightsOf = async ({ result, error }: JobRecord) => {
      if (!result) throw new Error(`the job has no result: ${error?.message}`);
      const bytes = await artifacts.read('org-acme', String(Reflect.get(result, 'artifactSha256')));
      return (await inspectArtifact(bytes)).onnx;
    };
    return { db, datasets, jobs, weightsOf, close };
  }

  test('stopped with its server goes on in the next one, to the same model, and knows what it used before', async () => {
    const first = await openHouse();
    await first.jobs.start();
    const job = await first.jobs.enqueue(acme, 'train', settings);
    await epochReached(first.jobs, job, 5);
    await first.close();
    const next = await openHouse();
    // Kept with it, and encrypted: the first bytes are not those of a state.
    const kept = await next.db
      .selectFrom('jobs')
      .select(['checkpoint', 'attempts'])
      .where('id', '=', job.id)
      .execute();
    expect(kept[0]).toMatchObject({ attempts: 0, checkpoint: expect.stringContaining('sha256') });
    await next.jobs.start();
    const seen: number[] = [];
    for await (const { progress } of next.jobs.watch('org-acme', job.id)) seen.push(epochOf(progress));
    const done = await next.jobs.get('org-acme', job.id);
    expect(Math.min(...seen.filter((epoch) => epoch > 0))).toBeGreaterThanOrEqual(4);
    expect(await next.weightsOf(done)).toEqual(expected);
    expect(Reflect.get(done.result ?? {}, 'history')).toHaveLength(12);
    // 3.6 J in each of two runs are 2 mWh.
    expect(done.result).toMatchObject({ impact: { energyWh: expect.closeTo(0.002, 9) } });
    expect(
      await next.db.selectFrom('jobs').select('checkpoint').where('checkpoint', 'is not', null).execute(),
    ).toEqual([]);
    await next.close();
  });

  test('killed -9 in the middle goes on from what was saved last, to the same model', async () => {
    const script = join(folder, 'server.mjs');
    const dist = (path: string) => JSON.stringify(new URL(`../../dist/${path}`, import.meta.url).href);
    writeFileSync(
      script,
      `import { join } from 'node:path';
       import { Datasets } from ${dist('datasets/datasets.js')};
       import { Checkpoints } from ${dist('jobs/checkpoints.js')};
       import { Jobs } from ${dist('jobs/jobs.js')};
       import { ArtifactStore, wrappingKeys } from ${dist('storage/artifacts.js')};
       import { openDiskBlobs } from ${dist('storage/blobs.js')};
       import { openDatabase } from ${dist('storage/db.js')};
       import { trainHandler } from ${dist('training/training.js')};
       import { openVault } from ${dist('vault/vault.js')};
       const folder = ${JSON.stringify(folder)};
       const db = await openDatabase(join(folder, 'test.db'));
       const vault = await openVault(folder, { wrappedBy: await wrappingKeys(db) });
       const artifacts = new ArtifactStore({ db, blobs: await openDiskBlobs(folder), vault });
       const log = { info() {}, warn() {}, error() {} };
       const audit = async () => {};
       const datasets = new Datasets({ db, artifacts, audit });
       const used = ${JSON.stringify({ ...unmetered, energyJ: 3.6, dynamicJ: 0, idleShareJ: 0, carbonGCo2e: 0, embodiedGCo2e: 0 })};
       const accountant = { meterJob: () => ({ soFar: () => used, finish: async () => used }) };
       const jobs = new Jobs({ db, audit, log, progressEveryMs: 0,
         handlers: { train: trainHandler({ datasets, artifacts, accountant, log, newRequestId: () => 'r', checkpointEveryMs: 0 }) },
         checkpoints: new Checkpoints({ db, artifacts, log }) });
       await jobs.start();
       const job = await jobs.enqueue(${JSON.stringify(acme)}, 'train', ${JSON.stringify(settings)});
       for await (const now of jobs.watch('org-acme', job.id))
         if (now.progress?.epoch >= 6) process.send(job.id);`,
    );
    const child = fork(script, { execArgv: [] });
    const [id] = await once(child, 'message');
    child.kill('SIGKILL');
    await once(child, 'exit');
    const next = await openHouse();
    expect(await next.jobs.get('org-acme', id)).toMatchObject({ state: 'running', attempts: 1 });
    await next.jobs.start();
    const seen: number[] = [];
    for await (const { progress } of next.jobs.watch('org-acme', id)) seen.push(epochOf(progress));
    const done = await next.jobs.get('org-acme', id);
    expect(Math.min(...seen.filter((epoch) => epoch > 0))).toBeGreaterThanOrEqual(4);
    expect(done).toMatchObject({ state: 'succeeded', attempts: 2 });
    expect(await next.weightsOf(done)).toEqual(expected);
    await next.close();
  });

  test('of which the checkpoint is of another data set or job begins at the beginning', async () => {
    const { checkpointBytes, readCheckpoint } = await import('./checkpoint.ts');
    const { states } = await train({ epochs: 2, stateEveryMs: 0 });
    const [state] = states;
    if (!state) throw new Error('no state was reported');
    const of = { jobId: 'j', datasetId: 'd' };
    const bytes = checkpointBytes({ ...of, history: [], state });
    expect(readCheckpoint(bytes, of)?.state).toEqual(state);
    expect(readCheckpoint(bytes, { ...of, datasetId: 'other' })).toBeNull();
    expect(readCheckpoint(bytes, { ...of, jobId: 'other' })).toBeNull();
    expect(readCheckpoint(null, of)).toBeNull();
  });
});

async function last(jobs: Jobs, job: JobRecord): Promise<JobRecord> {
  let latest = job;
  for await (const now of jobs.watch(job.organisationId, job.id)) latest = now;
  return latest;
}

async function epochReached(jobs: Jobs, job: JobRecord, epoch: number): Promise<void> {
  for await (const { progress } of jobs.watch('org-acme', job.id)) if (epochOf(progress) >= epoch) return;
}

function epochOf(progress: unknown): number {
  return Number(Reflect.get(progress ?? {}, 'epoch') ?? 0);
}
