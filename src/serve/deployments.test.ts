import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Accountant } from '../energy/energy.ts';
import { inspectArtifact } from '../models/formats/formats.ts';
import { writeKerasH5 } from '../models/formats/keras-h5-write.ts';
import type { ModelRecord, VersionRecord } from '../models/models.ts';
import { type Db, openDatabase } from '../storage/db.ts';
import { Deployments } from './deployments.ts';
import { Runners } from './runner/runners.ts';

const at = '2026-01-01T00:00:00.000Z';
const model: ModelRecord = {
  id: 'm1',
  organisationId: 'o1',
  organisation: 'acme',
  name: 'line',
  createdAt: at,
};
const notBooked = () => {
  throw new Error('nothing is computed here');
};
const accountant: Accountant = {
  start: notBooked,
  stop: notBooked,
  recordBatch: notBooked,
  recordAvoided: notBooked,
  meterJob: notBooked,
  requestsOfGrant: notBooked,
  setReservations() {},
};

const log = { info() {}, warn() {}, error() {} };

let db: Db;
let version: VersionRecord;
let deployments: Deployments;
/** Each commit waits for this. */
let commit: Promise<void>;

beforeEach(async () => {
  const layer = { name: 'line', type: 'dense', units: 1, activation: 'linear' } as const;
  const { onnx, signature } = await inspectArtifact(
    Buffer.from(
      await writeKerasH5({
        name: 'line',
        inputSize: 1,
        layers: [{ ...layer, kernel: Float32Array.of(2), bias: Float32Array.of(0) }],
      }),
    ),
  );
  db = await openDatabase(join(mkdtempSync(join(tmpdir(), 'deployments-')), 'commonwatt.db'));
  const facts = { artifactSha256: 'a', onnxSha256: 'b', sizeBytes: 1, createdAt: at, createdBy: 'ada' };
  version = {
    ...facts,
    id: 'v1',
    modelId: 'm1',
    number: 1,
    format: 'onnx',
    signature,
    jobId: null,
    datasetId: null,
  };
  await db.insertInto('organisations').values({ id: 'o1', name: 'acme', created_at: at }).execute();
  await db
    .insertInto('models')
    .values({ id: 'm1', organisation_id: 'o1', name: 'line', created_at: at })
    .execute();
  await db
    .insertInto('versions')
    .values({
      id: 'v1',
      model_id: 'm1',
      number: 1,
      format: 'onnx',
      artifact_sha256: 'a',
      onnx_sha256: 'b',
      size_bytes: 1,
      signature: JSON.stringify(signature),
      created_at: at,
      created_by: 'ada',
      job_id: null,
      dataset_id: null,
    })
    .execute();
  commit = Promise.resolve();
  deployments = new Deployments({
    db,
    source: {
      aliases: async () => [],
      onnxBytes: async () => onnx,
    },
    accountant,
    log,
    runners: new Runners({ log, processes: 1, threads: 1, memoryLimitBytes: null }),
    maxBatchSize: 8,
    maxQueue: 8,
    memoryBudgetBytes: 2 ** 30,
    loadTimeoutMs: 30_000,
    defaults: {},
    audit: () => commit,
  });
});
afterEach(async () => {
  await deployments.stop();
  await db.destroy();
});

const stored = () => db.selectFrom('deployments').select('id').execute();

/** Holds every commit until the function it returns is called. */
function holdCommits(): () => void {
  let go = () => {};
  commit = new Promise((resolve) => {
    go = resolve;
  });
  return go;
}

describe('a deployment', () => {
  it('is not acknowledged to a second caller before the commit of the first', async () => {
    const go = holdCommits();
    let acknowledged = 0;
    const calls = [1, 2].map(async () => {
      const deployment = await deployments.create(model, version, 'ada');
      acknowledged++;
      return deployment;
    });
    await sleep(500);
    expect(acknowledged).toBe(0);
    go();
    const [first, second] = await Promise.all(calls);
    expect(second?.id).toBe(first?.id);
    expect(await stored()).toEqual([{ id: first?.id }]);
  });

  it('that is removed while it is being made does not come back', async () => {
    const go = holdCommits();
    const created = deployments.create(model, version, 'ada');
    await sleep(500);
    const [loading] = deployments.list(['m1']);
    const removed = deployments.remove(loading?.id ?? '', 'ada');
    go();
    await Promise.all([created, removed]);
    expect(deployments.list(['m1'])).toEqual([]);
    expect(await stored()).toEqual([]);
  });

  it('is one of its own when an evaluation has borrowed the version', async () => {
    const { served, giveBack } = await deployments.borrow(model, version);
    const { id } = await deployments.create(model, version, 'ada');
    expect(id).not.toBe(served.deploymentId);
    await giveBack();
    expect(deployments.list(['m1'])).toMatchObject([{ id, state: 'ready' }]);
    expect(await stored()).toEqual([{ id }]);
  });

  it('takes the place of one whose commit had been reported as failed', async () => {
    await db
      .insertInto('deployments')
      .values({
        id: 'd0',
        model_id: 'm1',
        version_id: 'v1',
        settings: '{}',
        created_at: at,
        created_by: 'ada',
      })
      .execute();
    const { id } = await deployments.create(model, version, 'ada');
    expect(await stored()).toEqual([{ id }]);
  });
});
