/**
 * The composition: builds every part, in order, by hand, and takes it down in the opposite order. The only file
 * that knows the whole house.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Registry as Metrics } from 'prom-client';
import { gatewayCount } from './api/gateways/gateways.ts';
import { listen } from './api/gateways/listen.ts';
import { createHttp } from './api/http.ts';
import { fastDoor } from './api/inference/fast.ts';
import { houseDesk } from './api/inference/fast-desk.ts';
import { startGrpc } from './api/inference/grpc.ts';
import { inferenceRoutes } from './api/inference/inference.ts';
import { platformRoutes } from './api/platform/platform.ts';
import type { Config } from './config.ts';
import { Datasets } from './datasets/datasets.ts';
import { createEnergy, type Energy } from './energy/create.ts';
import { Exports } from './energy/exports/exports.ts';
import { formsOf } from './energy/forms/forms.ts';
import { openGridSignal } from './energy/grid/open.ts';
import { Host } from './energy/host.ts';
import { receiptWrappingKeys } from './energy/receipts/keys.ts';
import { Receipts } from './energy/receipts/receipts.ts';
import { Explainer } from './explain/explain.ts';
import { recordAudit } from './gate/audit.ts';
import { limitsJobOf } from './gate/budgets/applying.ts';
import { Budgets } from './gate/budgets/budgets.ts';
import { budgetMetrics } from './gate/budgets/metrics.ts';
import { createGate, type PlatformGate } from './gate/gate.ts';
import { Identity } from './gate/identity.ts';
import { batchHandler } from './jobs/batch.ts';
import { Checkpoints } from './jobs/checkpoints.ts';
import { Jobs } from './jobs/jobs.ts';
import { importCpuS, inspectApart } from './models/formats/import-process.ts';
import { Grants } from './models/grants.ts';
import { Registry } from './models/registry.ts';
import { evaluateHandler } from './quality/job.ts';
import { Evaluations } from './quality/quality.ts';
import { AliasMoves } from './serve/alias-moves.ts';
import { Consolidation, type Measured } from './serve/consolidation.ts';
import { Deployments } from './serve/deployments.ts';
import { isEnsemble } from './serve/ensemble-plan.ts';
import { Ensembles } from './serve/ensembles.ts';
import { memoryBudget } from './serve/memory.ts';
import { serveMetrics } from './serve/metrics.ts';
import { Regions } from './serve/regions.ts';
import { AnswerCache } from './serve/reuse.ts';
import { Runners } from './serve/runner/runners.ts';
import { latencyBounds } from './serve/statistics.ts';
import { serverFacts } from './server-facts.ts';
import { ArtifactStore, wrappingKeys } from './storage/artifacts.ts';
import { openDiskBlobs } from './storage/blobs.ts';
import { openDatabase } from './storage/db.ts';
import { takeDataFolder } from './storage/folder.ts';
import { startFigures } from './telemetry/figures.ts';
import type { Log } from './telemetry/logs.ts';
import { processMetrics } from './telemetry/process-metrics.ts';
import { startTraces } from './telemetry/traces.ts';
import { trainHandler } from './training/training.ts';
import { openVault } from './vault/vault.ts';

export interface App {
  baseUrl: string;
  /** `host:port` */
  grpcAddress: string;
  bootstrap: {
    /** The operator's key, on the first start only; to be shown once. */
    operatorKey: string | null;
    /** It has been shown: no other start returns one. */
    operatorKeyShown(): Promise<void>;
    /** For the machine's own operator: an organisation with an admin, and a fresh key for it. */
    ensureOrganisation(name: string, adminMember: string): Promise<{ apiKey: string }>;
  };
  /** What the meter says of itself. */
  energyLines: string[];
  /** Replaces the processes that compute by new ones, without a failed request. */
  restartRunners(): Promise<void>;
  /** Answers what is under way, settles the ledger, and ends. */
  stop(): Promise<void>;
}

const root = fileURLToPath(new URL('..', import.meta.url));

export async function startApp(config: Config, { log }: { log: Log }): Promise<App> {
  const undo: (() => Promise<void> | void)[] = [];
  const stop = async () => {
    for (const step of undo.splice(0).reverse()) await step();
  };
  try {
    return await build(config, log, undo, stop);
  } catch (error) {
    await stop().catch((cause: unknown) => log.error({ err: cause }, 'could not be taken down cleanly'));
    throw error;
  }
}

async function build(
  config: Config,
  log: Log,
  undo: (() => Promise<void> | void)[],
  stop: () => Promise<void>,
): Promise<App> {
  const version = productVersion();
  undo.push(await startTraces(process.env, { role: 'server', version, log }));
  const folder = takeDataFolder(config.data);
  undo.push(() => folder.release());
  const db = await openDatabase(join(folder.path, 'commonwatt.db'), log);
  undo.push(() => db.destroy());
  const wrappedBy = [...(await wrappingKeys(db)), ...(await receiptWrappingKeys(db))];
  const vault = await openVault(folder.path, { wrappedBy });
  const artifacts = new ArtifactStore({ db, blobs: await openDiskBlobs(folder.path), vault });
  await artifacts.removeOrphans();

  const metrics = new Metrics();
  const energy = createEnergy({ db, config, dataFolder: folder.path, log, metrics });
  // Ended after the energy, so that what is booked last is sent, too.
  undo.push(await startFigures(process.env, { version, log, registry: metrics }));
  energy.meterHelper({ note: 'imports', cpuS: importCpuS });
  await energy.start();
  undo.push(() => energy.stop());
  const receipts = await Receipts.open({
    db,
    vault,
    always: config.answers.receipts,
    issuer: config.answers.issuer,
    settle: () => energy.settle(),
  });

  let gate: PlatformGate | undefined;
  const changed = () => gate?.policyChanged();
  const grants = new Grants({ db, changed });
  const budgets = await Budgets.open({ db, changed, forget: (id) => gate?.limits.forget(id) });
  gate = createGate({
    db,
    grants,
    budgets: budgets.limits,
    usage: energy,
    unmetered: config.energy.meter === 'off',
    exhausted: (limit, refusal) => {
      jobs
        .failRunning((job) => limitsJobOf(limit, job), refusal)
        .catch((error: unknown) => log.error({ err: error }, 'a job could not be ended'));
    },
  });
  budgetMetrics(metrics, gate.limits);
  const identity = new Identity({ db, changed });
  const { operatorKey } = await identity.bootstrap();

  const registry = new Registry({
    db,
    artifacts,
    inspect: (bytes, importer) =>
      isEnsemble(bytes) ? ensembles.inspect(bytes, importer) : inspectApart(bytes),
    changed,
  });
  const datasets = new Datasets({ db, artifacts, audit: recordAudit });
  const runners = new Runners({
    log,
    processes: config.runners,
    threads: config.runnerThreads,
    memoryLimitBytes: config.runnerMemoryLimitBytes,
    hangMs: config.runnerHangS * 1000,
    onChange: () => deployments.runnersChanged(),
  });
  energy.watchRunners(() => runners.times());
  energy.watchLatencies(() => ({
    boundsS: latencyBounds,
    models: [...deployments.lives]
      .filter(({ routed }) => routed)
      .map(({ use, served, place }) => ({
        model: `${use.model}:${use.version}`,
        objectiveMs: served.settings.latencyObjectiveMs ?? null,
        counts: place.statistics?.latencies ?? [],
      })),
  }));
  const deployments = new Deployments({
    db,
    source: {
      aliases: (modelId) => registry.aliases(modelId),
      onnxBytes: (_model, served) => registry.onnxBytes(served),
    },
    accountant: energy,
    log,
    runners,
    maxBatchSize: config.maxBatchSize,
    maxQueue: config.maxQueue,
    answers: new AnswerCache(config.cacheBytes),
    memoryBudgetBytes: memoryBudget(config.memoryBudgetBytes),
    loadTimeoutMs: config.loadTimeoutS * 1000,
    defaults: config.deployments,
    intensity: () => intensityNow(energy),
    composers: { ensemble: (composition) => ensembles.compose(composition) },
    audit: recordAudit,
  });
  const consolidation = new Consolidation({
    db,
    deployments,
    runners,
    mode: config.consolidation,
    maxBatchSize: config.maxBatchSize,
    measure: (fromMs, toMs) => measured(energy, fromMs, toMs),
    audit: recordAudit,
    log,
  });
  const regions = new Regions({
    settings: config.regions,
    open: ({ zone, grid }) =>
      openGridSignal({ ...config.energy, zone, grid }, { log, dataFolder: folder.path }),
  });
  const ensembles = new Ensembles({ gate, registry, serving: deployments });
  undo.push(() => deployments.stop());
  const aliases = new AliasMoves({ registry, deployments });
  serveMetrics(metrics, deployments);
  let doorPids: readonly number[] = [];
  const host = new Host();
  processMetrics(metrics, {
    processes: () => [
      { kind: 'server', pid: process.pid },
      ...doorPids.map((pid) => ({ kind: 'door' as const, pid })),
      ...deployments.runners().processes.map(({ pid }) => ({ kind: 'runner' as const, pid })),
    ],
    read: (pid) => host.process(pid),
  });
  const newRequestId = requestIds();
  const evaluations = new Evaluations({
    db,
    datasets,
    inferrer: deployments,
    newRequestId,
    audit: recordAudit,
  });
  const explainer = new Explainer({ inferrer: deployments, datasets });
  const jobs = new Jobs({
    db,
    audit: recordAudit,
    log,
    handlers: {
      train: trainHandler({ datasets, artifacts, accountant: energy, log, newRequestId }),
      evaluate: evaluateHandler({ db, gate, registry, deployments, evaluations, datasets }),
      batch: batchHandler({ db, datasets, gate, serving: deployments, artifacts, newRequestId }),
    },
    mayRun: (job, { goesOn }) => gate.checkJob(job, goesOn ? 'goes on' : 'begins'),
    grid: () => energy.grid(),
    ended: (ends) => energy.jobsEnded(ends),
    checkpoints: new Checkpoints({ db, artifacts, log }),
  });
  undo.push(() => jobs.stop());

  const { maxBodyBytes, maxBatchSize } = config;
  const inference = {
    gate,
    deployments,
    registry,
    version,
    maxBodyBytes,
    maxBatchSize,
    forms: formsOf(config.answers.forms),
    receipts,
  };
  const http = await createHttp({
    config,
    log,
    gate,
    metrics,
    beginOtherWork: () => energy.beginOtherWork(),
    // With doors in front, nobody quick comes to this process.
    before:
      gatewayCount(config.gateways) > 1
        ? undefined
        : (ordinary, draining) =>
            fastDoor({
              desk: houseDesk(inference),
              ordinary,
              log,
              maxBodyBytes,
              draining,
              receipts: receipts.always,
            }),
    ready: () => deployments.allReady(),
    version,
    webRoot: join(root, 'dist/web'),
  });
  const gateways = gatewayCount(config.gateways);
  const house = {
    gate,
    identity,
    budgets,
    grants,
    registry,
    datasets,
    jobs,
    deployments,
    consolidation,
    regions,
    aliases,
    evaluations,
    explainer,
    energy,
    exports: new Exports({ db, energy }),
    receipts,
    artifacts,
    server: {
      facts: () => serverFacts({ version, gateways, doorPids, deployments, selfCheck: energy.selfCheck() }),
      restartRunners: () => runners.rollingRestart(),
    },
    limits: config,
  };
  await http.app.register(platformRoutes, house);
  await http.app.register(inferenceRoutes, inference);

  await deployments.start();
  await regions.start();
  undo.push(() => regions.stop());
  consolidation.start();
  undo.push(() => consolidation.stop());
  await jobs.start();
  const doors = await listen({
    config,
    http,
    house: inference,
    log,
    changed: (pids) => {
      doorPids = pids;
      energy.setGateways(pids);
    },
  });
  // No new request is taken, and those under way are answered, at every door at once.
  const drains = [() => doors.drain()];
  undo.push(async () => void (await Promise.all(drains.map((drain) => drain()))));
  const grpc = await startGrpc({ host: config.host, port: config.grpcPort, house: inference, log });
  drains.push(() => grpc.stop());
  // Before that, whoever asks is told to send its requests elsewhere.
  undo.push(() => {
    deployments.leave();
    return sleep(config.drainDelayMs);
  });
  const { port } = doors;
  log.info({ port, data: folder.path }, 'serving');
  return {
    baseUrl: `http://${config.host.includes(':') ? `[${config.host}]` : config.host}:${port}`,
    grpcAddress: grpc.address,
    bootstrap: {
      operatorKey,
      operatorKeyShown: () => identity.operatorKeyShown(),
      ensureOrganisation: (name, admin) => identity.ensureOrganisation(name, admin),
    },
    energyLines: energy.describe(),
    restartRunners: () => runners.rollingRestart(),
    stop,
  };
}

/** Of everything on this host; null where nothing is metered. */
async function measured(energy: Energy, fromMs: number, toMs: number): Promise<Measured | null> {
  try {
    const window = { from: new Date(fromMs), to: new Date(toMs) };
    const report = await energy.report({ ...window, groupBy: [], scope: 'all' });
    const hours = (toMs - fromMs) / 3_600_000;
    return {
      gCo2ePerHour: report.impact.totalGCo2e / hours,
      energyWhPerHour: report.supply.energyWh / hours,
      rur: report.rur.headline,
      requestsPerS: report.consumption.requests / hours / 3600,
    };
  } catch {
    return null;
  }
}

/** Null where nothing is metered: then nothing is known of the grid. */
function intensityNow(energy: Energy): number | null {
  try {
    return energy.grid().over(Date.now(), Date.now()).value;
  } catch {
    return null;
  }
}

/** For work that no request asked for; unique and sortable by time. */
function requestIds(): () => string {
  const boot = Date.now().toString(36);
  let count = 0;
  return () => `job-${boot}-${(count++).toString(36).padStart(6, '0')}`;
}

function productVersion(): string {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  return version;
}
