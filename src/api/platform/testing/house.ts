/**
 * A house for tests of the doors: identity, gate, grants, registry, data sets and jobs are the real ones over a
 * temp database; what computes, measures or stores artifacts is replaced by the smallest thing that answers.
 */
import { createHash, randomUUID } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { configSchema } from '../../../config.ts';
import { Datasets } from '../../../datasets/datasets.ts';
import { Comparison } from '../../../energy/comparison.ts';
import { testExports } from '../../../energy/exports/testing/month.ts';
import { impactJson, unmetered } from '../../../energy/footprint.ts';
import { openGridSignal } from '../../../energy/grid/open.ts';
import { LedgerReader } from '../../../energy/ledger-reader.ts';
import { CommonwattError } from '../../../errors.ts';
import { recordAudit } from '../../../gate/audit.ts';
import { type TestPlatform, testPlatform } from '../../../gate/testing/platform.ts';
import { Jobs } from '../../../jobs/jobs.ts';
import type { ModelSignature, VersionRecord } from '../../../models/models.ts';
import { Registry } from '../../../models/registry.ts';
import { AliasMoves } from '../../../serve/alias-moves.ts';
import { Consolidation } from '../../../serve/consolidation.ts';
import type { Deployment } from '../../../serve/deployments.ts';
import { Regions, regionsSettings } from '../../../serve/regions.ts';
import type { ServedVersion } from '../../../serve/serve.ts';
import { defaultSettings, effectiveSettings } from '../../../serve/settings.ts';
import { createHttp, type Http } from '../../http.ts';
import type { House } from '../house.ts';
import { platformRoutes } from '../platform.ts';

export interface TestHouse extends TestPlatform, Pick<Http, 'app' | 'rules'> {
  house: House;
  /** Ids of versions whose gate counts as passed. */
  passed: Set<string>;
  /** Whose usage each report was asked for. */
  scopes: unknown[];
  /** What `explain` throws next; undefined: it answers. */
  explainFails: { with?: Error };
  call(
    key: string | undefined,
    method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE',
    url: string,
    body?: object | Buffer | string,
    headers?: Record<string, string>,
  ): Promise<Answer>;
}

export interface Answer {
  status: number;
  headers: Record<string, unknown>;
  text: string;
  json: ReturnType<JSON['parse']>;
}

const signature: ModelSignature = {
  inputs: [{ name: 'input', datatype: 'FP32', shape: [-1, 2] }],
  outputs: [{ name: 'output', datatype: 'FP32', shape: [-1, 1] }],
};

const serverFacts = () => ({
  version: '0.0.0-test',
  node: process.versions.node,
  pid: process.pid,
  startedAt: new Date().toISOString(),
  leaving: false,
  gateways: { count: 1, pids: [] },
  runners: {
    processes: [
      {
        pid: 4,
        kind: 'shared' as const,
        residentBytes: 5,
        computedS: 1.5,
        models: [{ model: 'acme/digits:1', memoryBytes: 3 }],
      },
    ],
    restarts: 0,
    threads: 1,
    memoryLimitBytes: 9,
  },
  models: {
    heldBytes: 3,
    budgetBytes: 9,
    deployments: { loading: 0, ready: 1, idle: 0, failed: 0, quarantined: 0 },
  },
  ledger: { residualRatio: 2e-16, alarms: 0, lastAlarm: null },
});

export async function testHouse(options: { webRoot?: string; maxArtifactBytes?: number } = {}) {
  const platform = await testPlatform();
  const { db } = platform;
  const blobs = new Map<string, Buffer>();
  const { energy } = configSchema.parse({ energy: { zone: 'DEU' } });
  const grid = await openGridSignal(energy, { log: { info() {}, warn() {} }, dataFolder: null });
  const store = {
    async stage(_organisationId: string, content: Buffer | AsyncIterable<Uint8Array>) {
      if (!(content instanceof Buffer)) throw new TypeError('tests store buffers');
      const sha256 = createHash('sha256').update(content).digest('hex');
      blobs.set(sha256, content);
      return { sha256, sizeBytes: content.length, record: async () => {} };
    },
    put: (organisationId: string, bytes: Buffer) => store.stage(organisationId, bytes),
    async read(_organisationId: string, sha256: string) {
      const bytes = blobs.get(sha256);
      if (!bytes) throw new CommonwattError('STORE_FAILED', 'no such blob');
      return bytes;
    },
  };
  const registry = new Registry({
    db,
    artifacts: store,
    inspect: async (bytes) => {
      if (!bytes.toString('latin1').startsWith('model'))
        throw new CommonwattError('UNSUPPORTED_FORMAT', 'the bytes are no model');
      return { format: 'keras-h5', signature, onnx: Buffer.from(`onnx of ${bytes.toString('latin1')}`) };
    },
    changed: () => platform.gate.policyChanged(),
  });
  const datasets = new Datasets({ db, artifacts: store, audit: recordAudit });
  const jobs = new Jobs({
    db,
    audit: recordAudit,
    log: pino({ level: 'silent' }),
    handlers: { train: { check: async (_organisationId, config) => config, run: async () => null } },
  });
  const facts = serverFacts();
  const passed = new Set<string>();
  const scopes: unknown[] = [];
  const explainFails: { with?: Error } = {};
  const deployments = deploymentsInMemory();
  const house: House = {
    gate: platform.gate,
    identity: platform.identity,
    budgets: platform.budgets,
    grants: platform.grants,
    registry,
    datasets,
    jobs,
    deployments,
    consolidation: new Consolidation({
      db,
      deployments: { lives: [], change: deployments.change, unload: async () => false },
      runners: {
        describe: () => ({ processes: [], restarts: 0, threads: 1, memoryLimitBytes: 1 }),
        gather: async () => {},
      },
      mode: 'propose',
      maxBatchSize: 128,
      measure: async () => null,
      audit: recordAudit,
      log: pino({ level: 'silent' }),
    }),
    regions: new Regions({ settings: regionsSettings.parse({}), open: async () => grid }),
    aliases: new AliasMoves({ registry, deployments }),
    evaluations: {
      evaluate: async ({ served, model, dataset, split, principal }) => ({
        id: randomUUID(),
        model,
        version: served.version,
        dataset,
        split,
        rows: 3,
        createdAt: new Date().toISOString(),
        createdBy: principal.member,
        passed: true,
        metrics: {
          accuracy: { value: 0.9, low: 0.8, high: 1 },
          rocAuc: { value: null, low: null, high: null, unknown: 'one class only' },
          logLoss: { value: 0.2, low: 0.1, high: 0.3 },
          calibrationError: { value: 0.02, low: 0.01, high: 0.03 },
          brierScore: { value: 0.02, low: 0.01, high: 0.03 },
        },
        majorityClassAccuracy: 0.5,
        gate: { passed: true, rules: [{ metric: 'accuracy', min: 0.5, value: 0.9, passed: true }] },
        impact: impactJson(unmetered),
      }),
      list: async () => [],
      passedGate: async (versionId) => passed.has(versionId),
    },
    explainer: {
      sourcesOf: async () => ({
        background: { x: new Float32Array(2), rows: 1, description: 'zeros' },
        featureNames: undefined,
      }),
      explain: async ({ instances }) => {
        if (explainFails.with) throw explainFails.with;
        return instances.map((instance) => ({
          attributions: instance.map((value, feature) => ({ feature: `f${feature}`, value })),
          baseValue: 0,
          prediction: 1,
          output: 'probability' as const,
          method: 'permutation_shap' as const,
          background: 'zeros',
          modelCalls: 1,
          modelRows: 1,
          additivityGap: 0,
          impact: impactJson(unmetered),
        }));
      },
    },
    energy: {
      report: async ({ scope }) => {
        scopes.push(scope);
        throw new CommonwattError('NOT_READY', 'nothing is metered in this test');
      },
      live: () => ({
        rur: 0.5,
        energyWh: 1,
        carbonGCo2e: null,
        requests: 3,
        powerW: 12,
        quality: 'assumed' as const,
      }),
      grid: () => grid,
      books: new LedgerReader(db, async () => {}),
      comparison: new Comparison(db),
      settling: () => ({}),
    },
    exports: testExports(db),
    receipts: {
      ofEntry: async () => {
        throw new CommonwattError('NOT_FOUND', 'nothing is booked in this test');
      },
      publicKeys: () => ({ issuer: 'urn:test', keys: [] }),
      rotate: async () => 'next',
    },
    artifacts: store,
    server: {
      facts: () => facts,
      async restartRunners() {
        facts.runners.restarts += 1;
      },
    },
    limits: { maxArtifactBytes: options.maxArtifactBytes ?? 4000 },
  };
  const { app, rules } = await createHttp({
    config: { host: '127.0.0.1' },
    log: pino({ level: 'silent' }),
    gate: platform.gate,
    metrics: { contentType: 'text/plain', metrics: async () => 'commonwatt_up 1\n' },
    ready: () => true,
    version: '0.0.0-test',
    webRoot: options.webRoot,
  });
  await app.register(platformRoutes, house);
  const result: TestHouse = {
    ...platform,
    app,
    rules,
    house,
    passed,
    scopes,
    explainFails,
    call: (key, method, url, body, headers) => call(app, key, method, url, body, headers),
    async close() {
      await app.close();
      await platform.close();
    },
  };
  return result;
}

async function call(
  app: FastifyInstance,
  key: string | undefined,
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE',
  url: string,
  body?: object | Buffer | string,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const response = await app.inject({
    method,
    url,
    headers: { ...(key === undefined ? {} : { authorization: `Bearer ${key}` }), ...headers },
    ...(body === undefined ? {} : { payload: body }),
  });
  const isJson = String(response.headers['content-type']).includes('json');
  return {
    status: response.statusCode,
    headers: response.headers,
    text: response.body,
    json: isJson ? JSON.parse(response.body) : undefined,
  };
}

function deploymentsInMemory(): House['deployments'] {
  const live = new Map<string, { deployment: Deployment; served: ServedVersion }>();
  const server = { defaults: {}, maxBatchSize: 128 };
  const make = (
    modelId: string,
    version: VersionRecord,
  ): { deployment: Deployment; served: ServedVersion } => {
    const id = randomUUID();
    return {
      deployment: {
        id,
        modelId,
        versionId: version.id,
        version: version.number,
        state: 'ready' as const,
        reason: null,
        memoryBytes: 0,
        settings: defaultSettings,
        createdAt: new Date().toISOString(),
      },
      served: {
        deploymentId: id,
        modelId,
        versionId: version.id,
        version: version.number,
        signature: version.signature,
        settings: defaultSettings,
        deterministic: true,
      },
    };
  };
  return {
    async create(model, version, _by, given = {}) {
      const known = [...live.values()].find(({ deployment }) => deployment.versionId === version.id);
      const made = known ?? make(model.id, version);
      made.deployment.settings = { ...made.deployment.settings, ...effectiveSettings(given, server) };
      live.set(made.deployment.id, made);
      return made.deployment;
    },
    async change(id, given) {
      const made = live.get(id);
      if (!made) throw new CommonwattError('VERSION_NOT_FOUND', 'not deployed');
      made.deployment.settings = effectiveSettings(given, server);
      return made.deployment;
    },
    list: (modelIds) =>
      [...live.values()]
        .map(({ deployment }) => deployment)
        .filter(({ modelId }) => modelIds.includes(modelId)),
    get: (id) => live.get(id)?.deployment,
    async remove(id) {
      live.delete(id);
    },
    served(modelId, { version } = {}) {
      const found = [...live.values()].find(
        ({ served }) => served.modelId === modelId && (version === undefined || served.version === version),
      );
      if (!found) throw new CommonwattError('VERSION_NOT_FOUND', 'not deployed');
      return found.served;
    },
    servedVersions: (modelId) =>
      [...live.values()].map(({ served }) => served).filter((served) => served.modelId === modelId),
    async routesChanged() {},
    borrow: async (model, version) => ({
      served: make(model.id, version).served,
      giveBack: async () => {},
    }),
  };
}
