import { fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { sequential, layers as tfLayers } from '@tensorflow/tfjs-layers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { runPython } from '../../test/python.ts';
import { Datasets, type LoadedDataset } from '../datasets/datasets.ts';
import type { JobWork } from '../energy/energy.ts';
import { unmetered } from '../energy/footprint.ts';
import { joules } from '../energy/units.ts';
import { recordAudit } from '../gate/audit.ts';
import { type JobRecord, Jobs } from '../jobs/jobs.ts';
import { type Db, openDatabase } from '../storage/db.ts';
import type { TrainedLayer } from './protocol.ts';
import { Trainer } from './trainer.ts';
import { parseTrainConfig, trainHandler } from './training.ts';

const example = new URL('../../examples/digits/', import.meta.url);
const yaml = parseYaml(readFileSync(new URL('train.yaml', example), 'utf8'));
const { data: _data, label, split, out: _out, ...config } = yaml;
const acme = { organisationId: 'org-acme', organisation: 'acme', member: 'ada', keyId: 'key-1' };
const folder = mkdtempSync(join(tmpdir(), 'training-'));

let db: Db;
let jobs: Jobs;
let datasets: Datasets;
let digits: LoadedDataset;
const artifacts = new Map<string, Buffer>();
/** What the accountant was asked: which processes were metered, and which of them were finished. */
const metered: JobWork[] = [];
const finished: number[] = [];

beforeAll(async () => {
  db = await openDatabase(':memory:');
  await db
    .insertInto('organisations')
    .values({ id: 'org-acme', name: 'acme', created_at: new Date().toISOString() })
    .execute();
  const store = {
    async put(_organisation: string, bytes: Buffer) {
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      artifacts.set(sha256, bytes);
      return { sha256, sizeBytes: bytes.length };
    },
    async read(_organisation: string, sha256: string) {
      return artifacts.get(sha256) ?? Buffer.alloc(0);
    },
  };
  datasets = new Datasets({ db, artifacts: store, audit: recordAudit });
  await datasets.create(
    acme,
    { name: yaml.dataset, label, split },
    readFileSync(new URL(yaml.data, example)),
  );
  digits = await datasets.load('org-acme', yaml.dataset);
  jobs = newJobs();
  await jobs.start();

  function newJobs(): Jobs {
    const accountant = {
      meterJob(work: JobWork) {
        metered.push(work);
        const footprint = { ...unmetered, energyJ: joules(3.6), method: 'test' };
        return {
          soFar: () => footprint,
          finish: async () => {
            // The process can still be read when its meter is finished.
            process.kill(work.pid, 0);
            finished.push(work.pid);
            return footprint;
          },
        };
      },
    };
    const log = { info() {}, warn() {}, error() {} };
    const parts = { datasets, artifacts: store, accountant, log, newRequestId: () => `r-${metered.length}` };
    // Its process may be gone when the meter is finished.
    const other = (name: string, script: string) => {
      writeFileSync(join(folder, name), script);
      return trainHandler({
        ...parts,
        trainer: pathToFileURL(join(folder, name)),
        accountant: { meterJob: (work) => ({ ...accountant.meterJob(work), finish: async () => unmetered }) },
      });
    };
    return new Jobs({
      db,
      audit: recordAudit,
      log,
      progressEveryMs: 0,
      handlers: {
        train: trainHandler(parts),
        crash: other('crash.mjs', "process.once('message', () => process.abort());"),
        hang: other('hang.mjs', "process.on('message', () => {});"),
      },
    });
  }
});

afterAll(async () => {
  await jobs.stop();
  await db.destroy();
  rmSync(folder, { recursive: true });
});

async function run(settings: object, kind = 'train'): Promise<JobRecord> {
  const job = await jobs.enqueue(acme, kind, { ...config, ...settings });
  let last = job;
  for await (const now of jobs.watch('org-acme', job.id)) last = now;
  return last;
}

const rowsOf = (rows: Uint32Array) =>
  Array.from(rows, (row) => [...digits.x.subarray(row * 100, (row + 1) * 100)]);

describe('the network of the example, trained on the digits', () => {
  let job: JobRecord;
  let weights: TrainedLayer[];
  const progress: unknown[] = [];

  beforeAll(async () => {
    const queued = await jobs.enqueue(acme, 'train', config);
    for await (const now of jobs.watch('org-acme', queued.id)) {
      job = now;
      if (now.progress) progress.push(now.progress);
    }
    weights = await trainOnceMore();
  });

  test('succeeds and says what it did', () => {
    expect(job).toMatchObject({
      state: 'succeeded',
      attempts: 1,
      result: {
        artifactSha256: expect.stringMatching(/^[0-9a-f]{64}$/),
        sizeBytes: expect.any(Number),
        backend: 'wasm',
        impact: { energyWh: 0.001 },
      },
    });
    expect(historyOf(job)).toHaveLength(10);
    expect(progress.at(-1)).toMatchObject({ ...historyOf(job).at(-1), epochs: 10, energyWh: 0.001 });
    expect(metered[0]).toMatchObject({
      context: { kind: 'training', consumer: { organisation: 'acme' }, keyId: 'key-1', jobId: job.id },
      use: null,
    });
    expect(finished).toContain(metered[0]?.pid);
  });

  test('learns: test accuracy is well above the majority class, and training is better than at first', () => {
    const test = digits.split.test;
    const predicted = predict(weights, rowsOf(test));
    const right = predicted.filter((p, i) => (p > 0.5 ? 1 : 0) === digits.y[test[i] ?? -1]).length;
    expect(right / test.length).toBeGreaterThan(0.88); // the majority class would be .5
    const history = historyOf(job);
    expect(history.at(-1)?.loss).toBeLessThan((history[0]?.loss ?? 0) / 3);
  });

  test('gives a model.h5 that real Keras loads and that predicts the same to 1e-5', () => {
    const file = join(folder, 'model.h5');
    writeFileSync(file, artifactOf(job));
    const rows = rowsOf(digits.split.test);
    const script = `
import json, sys
import numpy as np
import keras
model = keras.models.load_model(sys.argv[1])
rows = np.array(json.load(sys.stdin), dtype="float32")
print(json.dumps({"predictions": model.predict(rows, verbose=0)[:, 0].tolist(), "names": [l.name for l in model.layers],
  "activations": [l.activation.__name__ for l in model.layers]}))`;
    const keras = JSON.parse(runPython(script, [file], JSON.stringify(rows)).trim().split('\n').at(-1) ?? '');
    const ours = predict(weights, rows);
    for (const [i, value] of keras.predictions.entries())
      expect(Math.abs(value - (ours[i] ?? Number.NaN))).toBeLessThan(1e-5);
    expect(keras.predictions).toHaveLength(330);
    expect(keras.activations).toEqual(['relu', 'relu', 'sigmoid']);
  });

  test('has the same weights for the same seed, and others for another', async () => {
    expect(await trainOnceMore({ epochs: 2 })).toEqual(await trainOnceMore({ epochs: 2 }));
    expect(await trainOnceMore({ epochs: 1, seed: 43 })).not.toEqual(await trainOnceMore({ epochs: 1 }));
  });
});

describe('a training that does not end well', () => {
  test('cancelled: its process ends, and what it used is booked', async () => {
    const job = await jobs.enqueue(acme, 'train', { ...config, epochs: 10_000 });
    for await (const now of jobs.watch('org-acme', job.id)) {
      if (now.state === 'running' && now.progress && Number(Reflect.get(now.progress, 'epoch')) >= 1)
        await jobs.cancel(acme, job.id);
    }
    const pid = metered.at(-1)?.pid ?? 0;
    expect((await jobs.get('org-acme', job.id)).state).toBe('cancelled');
    expect(finished).toContain(pid);
    expect(isAlive(pid)).toBe(false);
  });

  test('its process crashed: the job fails with the reason', async () => {
    expect((await run({}, 'crash')).error).toMatchObject({
      code: 'RUNNER_FAILED',
      message: expect.stringMatching(/trainer process ended unexpectedly \(killed by SIGABRT\)/),
    });
  });

  test('its process was killed by the system: lack of memory is the likely reason', async () => {
    const before = metered.length;
    const failed = run({}, 'hang');
    while (metered.length === before) await sleep(5);
    process.kill(metered.at(-1)?.pid ?? 0, 'SIGKILL');
    expect((await failed).error).toMatchObject({
      code: 'RUNNER_FAILED',
      message: expect.stringContaining('most likely for lack of memory'),
      hint: expect.stringContaining('smaller'),
    });
  });

  test('its numbers left all bounds: the configuration is named', async () => {
    const columns = Array.from({ length: 100 }, (_, i) => i);
    const rows = Array.from({ length: 200 }, (_, row) => [
      ...columns.map((i) => 3e38 - (i + row) * 1e34),
      row % 2,
    ]);
    const huge = [[...columns.map((i) => `f${i}`), 'even'], ...rows]
      .map((cells) => cells.join(','))
      .join('\n');
    await datasets.create(acme, { name: 'huge', label: 'even', split }, Buffer.from(huge));
    const linear = { type: 'dense', units: 64, activation: 'linear' };
    const layers = [linear, linear, ...config.layers.slice(-1)];
    expect((await run({ dataset: 'huge', layers })).error).toMatchObject({
      code: 'INVALID_CONFIG',
      message: expect.stringMatching(/training diverged: .* became NaN/),
      hint: expect.stringContaining('learning rate'),
    });
  });

  test('the server is killed: the trainer process ends by itself', async () => {
    const server = join(folder, 'server.mjs');
    const trainer = new URL('../../dist/training/trainer.js', import.meta.url);
    writeFileSync(
      server,
      `import { Trainer } from ${JSON.stringify(trainer.href)};
       const trainer = await Trainer.start();
       process.send(trainer.pid);
       const order = ${JSON.stringify({ ...orderOf({ epochs: 10_000 }), x: [], y: [], validationX: [], validationY: [] })};
       const floats = (n) => new Float32Array(n).fill(0.5);
       trainer.train({ ...order, x: floats(100000), y: floats(1000), validationX: floats(100), validationY: floats(1) },
         { signal: new AbortController().signal, started() { process.send('training'); }, epoch() {} });`,
    );
    const child = fork(server, { execArgv: [] });
    const [pid] = await once(child, 'message');
    await once(child, 'message');
    child.kill('SIGKILL');
    await once(child, 'exit');
    for (let i = 0; i < 500 && isAlive(pid); i++) await sleep(20);
    expect(isAlive(pid)).toBe(false);
  });
});

describe('what cannot be trained is refused before there is a job', () => {
  test.each([
    [{ epochs: 0 }, 'config.epochs'],
    [{ layers: [] }, 'config.layers'],
    [{ layers: [{ type: 'lambda', units: 1 }] }, 'config.layers.0.type'],
    [{ layers: [{ type: 'dense', units: 1, activation: 'magic' }] }, 'config.layers.0.activation'],
    [{ layers: [{ type: 'dense', units: 2, activation: 'sigmoid' }] }, 'config.layers.0'],
    [{ layers: [{ type: 'dense', units: 1, activation: 'relu' }] }, 'config.layers.0'],
    [{ optimizer: 'magic' }, 'config.optimizer'],
    [{ learningRate: -1 }, 'config.learningRate'],
    [{ dataset: '../etc' }, 'config.dataset'],
    [{ surprise: true }, 'config'],
  ])('%j', async (wrong, where) => {
    await expect(jobs.enqueue(acme, 'train', { ...config, ...wrong })).rejects.toMatchObject({
      code: 'INVALID_CONFIG',
      status: 400,
      where,
      hint: expect.any(String),
    });
  });

  test('a network too large for memory', async () => {
    const layers = [{ type: 'dense', units: 16384 }, { type: 'dense', units: 16384 }, ...config.layers];
    await expect(jobs.enqueue(acme, 'train', { ...config, layers })).rejects.toMatchObject({
      message: expect.stringContaining('at most 20000000'),
    });
  });

  test('a data set that does not exist, or whose checks failed', async () => {
    await expect(jobs.enqueue(acme, 'train', { ...config, dataset: 'nothing' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    await datasets.create(acme, { name: 'holes', label: 'even', split }, Buffer.from('a,even\n,1\n2,0\n'));
    await expect(jobs.enqueue(acme, 'train', { ...config, dataset: 'holes' })).rejects.toMatchObject({
      code: 'INVALID_DATASET',
      where: expect.stringContaining('missing_values'),
    });
  });
});

function historyOf(job: JobRecord): { loss: number }[] {
  return job.result && typeof job.result === 'object' ? Reflect.get(job.result, 'history') : [];
}

function artifactOf(job: JobRecord): Buffer {
  const sha256 =
    job.result && typeof job.result === 'object' ? Reflect.get(job.result, 'artifactSha256') : '';
  return artifacts.get(sha256) ?? Buffer.alloc(0);
}

function orderOf(settings: { epochs?: number; seed?: number }) {
  const { layers, optimizer, loss, epochs, batchSize, seed } = parseTrainConfig({ ...config, ...settings });
  const part = (rows: Uint32Array) => ({
    x: Float32Array.from(rowsOf(rows).flat()),
    y: Float32Array.from(rows, (row) => digits.y[row] ?? Number.NaN),
  });
  const validation = part(digits.split.validation);
  return {
    features: 100,
    layers,
    optimizer,
    learningRate: 0.001,
    loss,
    epochs,
    batchSize,
    seed,
    ...part(digits.split.train),
    validationX: validation.x,
    validationY: validation.y,
    from: null,
    stateEveryMs: null,
  };
}

/** The trainer alone, without a job around it. */
async function trainOnceMore(settings: { epochs?: number; seed?: number } = {}): Promise<TrainedLayer[]> {
  const trainer = await Trainer.start();
  try {
    return await trainer.train(orderOf(settings), {
      signal: new AbortController().signal,
      started() {},
      epoch() {},
    });
  } finally {
    await trainer.end();
  }
}

/** Predictions of tfjs-layers with these weights, on another backend than they were trained on. */
function predict(weights: TrainedLayer[], rows: number[][]): number[] {
  tf.enableProdMode();
  const model = sequential();
  let inputs = 100;
  for (const { units, activation, kernel, bias } of weights) {
    model.add(
      tfLayers.dense({
        units,
        activation,
        inputShape: [inputs],
        weights: [tf.tensor2d(kernel, [inputs, units]), tf.tensor1d(bias)],
      }),
    );
    inputs = units;
  }
  return [model.predict(tf.tensor2d(rows))].flat().flatMap((output) => [...output.dataSync()]);
}

/** A process that has ended but was not yet waited for is not alive. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/\) Z/.test(existsSync('/proc') ? readFileSync(`/proc/${pid}/stat`, 'utf8') : '');
  } catch {
    return false;
  }
}
