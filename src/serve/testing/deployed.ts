/** Deployments over a temp database, real runners and small real models that multiply by a factor of their own. */
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Accountant, ComputedBatch, Reservation } from '../../energy/energy.ts';
import { unmetered } from '../../energy/footprint.ts';
import { inspectArtifact } from '../../models/formats/formats.ts';
import { writeKerasH5 } from '../../models/formats/keras-h5-write.ts';
import type { ModelRecord, VersionRecord } from '../../models/models.ts';
import { Registry } from '../../models/registry.ts';
import { type Db, openDatabase } from '../../storage/db.ts';
import { Deployments, type DeploymentsOptions } from '../deployments.ts';
import { Runners } from '../runner/runners.ts';
import { InferCall } from '../serve.ts';

const at = '2026-01-01T00:00:00.000Z';
const log = { info() {}, warn() {}, error() {} };

export interface Deployed {
  db: Db;
  registry: Registry;
  deployments: Deployments;
  runners: Runners;
  model: ModelRecord;
  booked: ComputedBatch[];
  reserved: () => readonly Reservation[];
  /** Registers a version that multiplies by `factor`. */
  version(factor: number): Promise<VersionRecord>;
  /** What an alias or version of the model answers for 1; more than one column is not what it takes. */
  ask(route: { version?: number; alias?: string }, columns?: number): Promise<number>;
  /** Ends this process's part and starts another on the same database. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

async function multiplier(factor: number): Promise<Buffer> {
  const layer = { name: 'line', type: 'dense', units: 1, activation: 'linear' } as const;
  const layers = [{ ...layer, kernel: Float32Array.of(factor), bias: Float32Array.of(0) }];
  return Buffer.from(await writeKerasH5({ name: 'line', inputSize: 1, layers }));
}

export async function deployed(options: Partial<DeploymentsOptions> = {}): Promise<Deployed> {
  const folder = mkdtempSync(join(tmpdir(), 'deployments-'));
  const db = await openDatabase(join(folder, 'commonwatt.db'));
  await db.insertInto('organisations').values({ id: 'o1', name: 'acme', created_at: at }).execute();
  const registry = registryInMemory(db);
  const by = { organisationId: 'o1', organisation: 'acme', member: 'ada' };
  const booked: ComputedBatch[] = [];
  let reserved: readonly Reservation[] = [];
  const accountant = accountantOf(booked, (reservations) => {
    reserved = reservations;
  });
  const start = () => {
    const runners = new Runners({ log, processes: 1, threads: 1, memoryLimitBytes: null });
    const deployments = new Deployments({
      db,
      source: {
        aliases: (id) => registry.aliases(id),
        onnxBytes: (_model, version) => registry.onnxBytes(version),
      },
      accountant,
      log,
      runners,
      maxBatchSize: 8,
      maxQueue: 1000,
      memoryBudgetBytes: 2 ** 30,
      loadTimeoutMs: 30_000,
      defaults: {},
      audit: async () => {},
      ...options,
    });
    return { runners, deployments };
  };
  const house: Deployed = {
    db,
    registry,
    ...start(),
    model: { id: '', organisationId: 'o1', organisation: 'acme', name: 'line', createdAt: at },
    booked,
    reserved: () => reserved,
    async version(factor) {
      const bytes = await multiplier(factor);
      const made = await registry.importVersion({ principal: by, organisation: 'acme', name: 'line', bytes });
      house.model = (await registry.findModel('acme', 'line')) ?? house.model;
      return made;
    },
    async ask(route, columns = 1) {
      const served = house.deployments.served(house.model.id, route);
      const data = new Float32Array(columns).fill(1);
      const input = { name: 'input', datatype: 'FP32' as const, shape: [1, columns], data };
      const { outputs } = await house.deployments.infer(served, new InferCall([input], context()));
      return Number(outputs[0]?.data[0]);
    },
    async restart() {
      await house.deployments.stop();
      Object.assign(house, start());
      await house.deployments.start();
    },
    async close() {
      await house.deployments.stop();
      await db.destroy();
      rmSync(folder, { recursive: true });
    },
  };
  return house;
}

let requests = 0;

function context() {
  const consumer = { organisationId: 'o1', organisation: 'acme' };
  return {
    kind: 'inference' as const,
    requestId: `r${requests++}`,
    consumer,
    keyId: null,
    grantId: null,
    jobId: null,
  };
}

function registryInMemory(db: Db): Registry {
  const blobs = new Map<string, Buffer>();
  return new Registry({
    db,
    artifacts: {
      async stage(_organisationId: string, content: Buffer | AsyncIterable<Uint8Array>) {
        if (!(content instanceof Buffer)) throw new TypeError('tests store buffers');
        const sha256 = createHash('sha256').update(content).digest('hex');
        blobs.set(sha256, content);
        return { sha256, sizeBytes: content.length, record: async () => {} };
      },
      async read(_organisationId: string, sha256: string) {
        const bytes = blobs.get(sha256);
        if (!bytes) throw new Error('no such blob');
        return bytes;
      },
    },
    inspect: (bytes) => inspectArtifact(bytes),
    changed() {},
  });
}

function accountantOf(
  booked: ComputedBatch[],
  onReserve: (reservations: readonly Reservation[]) => void,
): Accountant {
  return {
    start: async () => {},
    stop: async () => {},
    recordBatch(batch) {
      booked.push(batch);
      return batch.items.map(() => unmetered);
    },
    recordAvoided: ({ items }) => items.map(() => unmetered),
    meterJob: () => ({ soFar: () => unmetered, finish: async () => unmetered }),
    setReservations: onReserve,
  };
}
