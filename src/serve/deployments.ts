/**
 * Deployments: which versions are served, and the route alias → version → replica. One runner process holds
 * every replica; its death is repaired here without a deployment changing.
 */
import { randomUUID } from 'node:crypto';
import type { Accountant, Reservation } from '../energy/energy.ts';
import { CommonwattError } from '../errors.ts';
import type { AuditEvent } from '../gate/audit.ts';
import type { ModelRecord, VersionRecord } from '../models/models.ts';
import type { Db } from '../storage/db.ts';
import { Batcher } from './batcher.ts';
import { Runner, type RunnerLog } from './runner/runner.ts';
import type { InferCall, Inference, LoadState, Route, ServedVersion, Serving } from './serve.ts';
import { defaultSettings } from './settings.ts';
import { emptyStatistics } from './statistics.ts';

type DeploymentState = 'loading' | 'ready' | 'failed';

export interface Deployment {
  id: string;
  modelId: string;
  versionId: string;
  version: number;
  state: DeploymentState;
  createdAt: string;
}

/** What deployments need of the registry of models. */
interface VersionSource {
  modelById(modelId: string): Promise<ModelRecord | undefined>;
  versionById(versionId: string): Promise<VersionRecord | undefined>;
  aliases(modelId: string): Promise<{ alias: string; version: number }[]>;
  onnxBytes(model: ModelRecord, version: VersionRecord): Promise<Uint8Array>;
}

export interface DeploymentsOptions {
  db: Db;
  source: VersionSource;
  accountant: Accountant;
  log: RunnerLog;
  maxBatchSize: number;
  maxQueue: number;
  /** Writes the event in the same transaction as what it tells of. */
  audit(db: Db, event: AuditEvent): Promise<void>;
}

/** A version to compute with for a while (an evaluation before it is deployed). */
export interface BorrowedVersion {
  served: ServedVersion;
  giveBack(): Promise<void>;
}

interface Live {
  deployment: Deployment;
  /** Lent for a while: no route leads here. */
  borrowed: boolean;
  model: ModelRecord;
  served: ServedVersion;
  replica: number | undefined;
  batcher: Batcher;
  reservation: Omit<Reservation, 'runnerPid' | 'memoryBytes'>;
}

export class Deployments implements Serving {
  readonly #options: DeploymentsOptions;
  readonly #runner: Runner;
  readonly #live = new Map<string, Live>();
  /** versionId → its deployment that is being made. */
  readonly #creating = new Map<string, Promise<Deployment>>();
  /** modelId → alias → version number; forgotten by `routesChanged`. */
  readonly #aliases = new Map<string, Map<string, number>>();

  constructor(options: DeploymentsOptions) {
    this.#options = options;
    this.#runner = new Runner({ log: options.log, onChange: () => this.#reserve() });
  }

  /** Loads everything that was deployed. Returns when each replica is ready or has failed. */
  async start(): Promise<void> {
    const rows = await this.#options.db.selectFrom('deployments').selectAll().orderBy('created_at').execute();
    const loads = rows.map(async (row) => {
      const model = await this.#options.source.modelById(row.model_id);
      const version = await this.#options.source.versionById(row.version_id);
      if (!model || !version) return;
      const live = this.#prepare(row.id, model, version, row.created_at);
      await this.#load(live, version).catch((error: unknown) => {
        live.deployment.state = 'failed';
        this.#options.log.error(
          { err: error, model: live.reservation.use.model, version: version.number },
          'deployment did not load',
        );
      });
    });
    await Promise.all(loads);
    for (const { model } of this.#live.values()) await this.#loadAliases(model.id);
  }

  /** Answers what waits, then ends the runner. */
  async stop(): Promise<void> {
    await Promise.all([...this.#live.values()].map(({ batcher }) => batcher.drained()));
    await this.#runner.stop();
  }

  /**
   * Serves a version; returns when it can answer and this is committed. Serving it again returns the same
   * deployment.
   */
  create(model: ModelRecord, version: VersionRecord, by: string): Promise<Deployment> {
    // Who asks while another's answer is still on its way waits for the same commit.
    let created = this.#creating.get(version.id);
    if (!created) {
      created = this.#create(model, version, by).finally(() => this.#creating.delete(version.id));
      this.#creating.set(version.id, created);
    }
    return created;
  }

  async #create(model: ModelRecord, version: VersionRecord, by: string): Promise<Deployment> {
    const existing = [...this.#live.values()].find(
      ({ deployment, borrowed }) => !borrowed && deployment.versionId === version.id,
    );
    if (existing) {
      if (existing.deployment.state === 'failed') await this.#load(existing, version);
      return existing.deployment;
    }
    const live = this.#prepare(randomUUID(), model, version, new Date().toISOString());
    try {
      await this.#load(live, version);
      await this.#options.db.transaction().execute(async (trx) => {
        const { id, createdAt } = live.deployment;
        const made = { id, created_at: createdAt, created_by: by };
        await trx
          .insertInto('deployments')
          .values({ ...made, model_id: model.id, version_id: version.id, settings: '{}' })
          // One whose commit was reported as failed, and was found when the database had been opened again.
          .onConflict((conflict) => conflict.column('version_id').doUpdateSet(made))
          .execute();
        await this.#options.audit(trx, eventOf(live, 'deployment.create', by));
      });
    } catch (error) {
      await this.#forget(live);
      throw error;
    }
    await this.#loadAliases(model.id);
    return live.deployment;
  }

  /** Loads a version that nobody else is routed to; one that is deployed is used as it is. */
  async borrow(model: ModelRecord, version: VersionRecord): Promise<BorrowedVersion> {
    const deployed = [...this.#live.values()].find(
      ({ deployment, borrowed }) => !borrowed && deployment.versionId === version.id,
    );
    if (deployed) return { served: deployed.served, giveBack: async () => {} };
    const live = this.#prepare(randomUUID(), model, version, new Date().toISOString());
    live.borrowed = true;
    const giveBack = async () => {
      await live.batcher.drained();
      await this.#forget(live);
    };
    try {
      await this.#load(live, version);
    } catch (error) {
      await giveBack();
      throw error;
    }
    return { served: live.served, giveBack };
  }

  list(modelIds: readonly string[]): Deployment[] {
    const wanted = new Set(modelIds);
    return [...this.#live.values()]
      .filter(({ deployment, borrowed }) => !borrowed && wanted.has(deployment.modelId))
      .map(({ deployment }) => this.#current(deployment));
  }

  get(id: string): Deployment | undefined {
    const live = this.#live.get(id);
    return live && this.#current(live.deployment);
  }

  async remove(id: string, by: string): Promise<void> {
    const live = this.#live.get(id);
    if (!live) return;
    // One that is still being made would come back with its commit.
    await this.#creating.get(live.deployment.versionId)?.catch(() => undefined);
    if (!this.#live.has(id)) return;
    await this.#options.db.transaction().execute(async (trx) => {
      await trx.deleteFrom('deployments').where('id', '=', id).execute();
      await this.#options.audit(trx, eventOf(live, 'deployment.remove', by));
    });
    this.#live.delete(id);
    await live.batcher.drained();
    await this.#forget(live);
  }

  /**
   * The deployed version that answers: the one asked for, else the alias `production`, else the newest deployed.
   * Throws VERSION_NOT_FOUND (nothing such is deployed).
   */
  served(modelId: string, { version, alias }: Route = {}): ServedVersion {
    const aliases = this.#aliases.get(modelId);
    const wanted = version ?? aliases?.get(alias ?? 'production');
    if (alias !== undefined && wanted === undefined && alias !== 'latest') throw notServed(`alias ${alias}`);
    let newest: Live | undefined;
    for (const live of this.#live.values()) {
      if (live.borrowed || live.deployment.modelId !== modelId) continue;
      if (live.served.version === wanted) return live.served;
      if (!newest || live.served.version > newest.served.version) newest = live;
    }
    // An alias that points to a version nobody serves must not silently become another version.
    if (wanted !== undefined || !newest)
      throw notServed(wanted === undefined ? 'a version' : `version ${wanted}`);
    return newest.served;
  }

  isReady(served: ServedVersion): boolean {
    const live = this.#live.get(served.deploymentId);
    return live?.replica !== undefined && this.#runner.isReady(live.replica);
  }

  /** True when every deployment that should answer can. */
  allReady(): boolean {
    return [...this.#live.values()].every(
      ({ deployment, served }) => deployment.state === 'failed' || this.isReady(served),
    );
  }

  servedVersions(modelId: string): ServedVersion[] {
    return [...this.#live.values()]
      .filter(({ deployment, borrowed }) => !borrowed && deployment.modelId === modelId)
      .map(({ served }) => served)
      .sort((a, b) => b.version - a.version);
  }

  statistics() {
    return emptyStatistics();
  }

  loadState(served: ServedVersion): LoadState {
    const live = this.#live.get(served.deploymentId);
    const state = this.isReady(served)
      ? 'loaded'
      : live?.deployment.state === 'failed'
        ? 'failed'
        : 'loading';
    return { state, reason: null, memoryBytes: 0 };
  }

  infer(served: ServedVersion, call: InferCall): Promise<Inference> {
    const live = this.#live.get(served.deploymentId);
    if (!live) return Promise.reject(notServed(`version ${served.version}`));
    return live.batcher.infer(call);
  }

  /** Aliases of a model moved: route by the new ones from now on. */
  async routesChanged(modelId: string): Promise<void> {
    await this.#loadAliases(modelId);
  }

  #prepare(id: string, model: ModelRecord, version: VersionRecord, createdAt: string): Live {
    const served: ServedVersion = {
      deploymentId: id,
      modelId: model.id,
      versionId: version.id,
      version: version.number,
      signature: version.signature,
      settings: defaultSettings,
      deterministic: true,
    };
    const use = {
      modelId: model.id,
      model: `${model.organisation}/${model.name}`,
      version: version.number,
      owner: { organisationId: model.organisationId, organisation: model.organisation },
    };
    const live: Live = {
      borrowed: false,
      deployment: {
        id,
        modelId: model.id,
        versionId: version.id,
        version: version.number,
        state: 'loading',
        createdAt,
      },
      model,
      served,
      replica: undefined,
      reservation: { use },
      batcher: new Batcher(
        {
          use,
          batchable: [...version.signature.inputs, ...version.signature.outputs].every(
            ({ shape }) => shape[0] === -1,
          ),
          settings: served.settings,
          runAlone: () => Promise.reject(new CommonwattError('RUNNER_FAILED', 'the runner ended')),
          run: (inputs) => {
            if (live.replica === undefined)
              throw new CommonwattError('NOT_READY', 'the model is being loaded', { retryAfterS: 1 });
            return this.#runner.run(live.replica, inputs);
          },
        },
        {
          maxBatchSize: this.#options.maxBatchSize,
          maxQueue: this.#options.maxQueue,
          accountant: this.#options.accountant,
        },
      ),
    };
    return live;
  }

  async #load(live: Live, version: VersionRecord): Promise<void> {
    this.#live.set(live.deployment.id, live);
    live.replica = await this.#runner.load(() => this.#options.source.onnxBytes(live.model, version));
    live.deployment.state = 'ready';
    this.#reserve();
  }

  async #forget(live: Live): Promise<void> {
    this.#live.delete(live.deployment.id);
    if (live.replica !== undefined) await this.#runner.unload(live.replica);
    this.#reserve();
  }

  #current(deployment: Deployment): Deployment {
    const live = this.#live.get(deployment.id);
    if (!live || deployment.state === 'failed') return deployment;
    return { ...deployment, state: this.isReady(live.served) ? 'ready' : 'loading' };
  }

  async #loadAliases(modelId: string): Promise<void> {
    const aliases = await this.#options.source.aliases(modelId);
    this.#aliases.set(modelId, new Map(aliases.map(({ alias, version }) => [alias, version])));
  }

  /** The runner's memory is shared evenly by its replicas: small models cost mostly the process itself. */
  #reserve() {
    const pid = this.#runner.pid;
    const ready = [...this.#live.values()].filter(({ served }) => this.isReady(served));
    const memoryBytes = ready.length > 0 ? this.#runner.residentBytes / ready.length : 0;
    this.#options.accountant.setReservations(
      pid === undefined
        ? []
        : ready.map(({ reservation }) => ({ ...reservation, runnerPid: pid, memoryBytes })),
    );
  }
}

function eventOf({ model, served, reservation }: Live, action: string, by: string): AuditEvent {
  return {
    actor: by,
    organisationId: model.organisationId,
    action,
    subject: `${reservation.use.model}:${served.version}`,
  };
}

function notServed(what: string) {
  return new CommonwattError('VERSION_NOT_FOUND', `${what} of this model is not deployed`, {
    hint: 'deploy it with `commonwatt deploy organisation/model:version`',
  });
}
