/**
 * Deployments: which versions are served and how. What is acknowledged here is committed; who is in memory is the
 * residency's business, and how a request is computed its place's.
 */
import { randomUUID } from 'node:crypto';
import type { AuditEvent } from '../gate/audit.ts';
import type { ModelRecord, VersionRecord } from '../models/models.ts';
import type { Db } from '../storage/db.ts';
import { type Deployment, deploymentOf, eventOf, type Live, reservationsOf } from './live.ts';
import { Maker, type MakerOptions, type Making } from './making.ts';
import { ReplicaPlace } from './replica-place.ts';
import { Residency } from './residency.ts';
import { notServed, Routes } from './routes.ts';
import type { Runners, RunnersFacts } from './runner/runners.ts';
import type { InferCall, Inference, LoadState, Route, ServedVersion, Serving } from './serve.ts';
import { type GivenSettings, mergeSettings } from './settings.ts';
import { emptyStatistics, type ModelStatistics } from './statistics.ts';
import { artifactBytesOf, storedAliases, storedDeployments } from './stored.ts';
import { checkGreener, type Variant, Variants } from './variants.ts';

export type { Deployment } from './live.ts';

export interface DeploymentsOptions extends MakerOptions {
  db: Db;
  /** What deployments need of the registry of models. */
  source: MakerOptions['source'] & {
    aliases(modelId: string): Promise<{ alias: string; version: number }[]>;
  };
  runners: Pick<Runners, 'load' | 'pardon' | 'stop' | 'describe'>;
  memoryBudgetBytes: number;
  loadTimeoutMs: number;
  /** How dirty the grid is now, gCO2e/kWh; null, or absent: not known. */
  intensity?: () => number | null;
  /** Writes the event in the same transaction as what it tells of. */
  audit(db: Db, event: AuditEvent): Promise<void>;
}

/** A version to compute with for a while (an evaluation before it is deployed). */
export interface BorrowedVersion {
  served: ServedVersion;
  giveBack(): Promise<void>;
}

/** Pinned models that are loaded side by side at the start. */
const loadsAtOnce = 2;

export class Deployments implements Serving {
  readonly #options: DeploymentsOptions;
  readonly residency: Residency;
  readonly #live = new Map<string, Live>();
  readonly #routes = new Routes<Live>();
  readonly #maker: Maker;
  readonly #variants: Variants;
  /** versionId → its deployment that is being made. */
  readonly #creating = new Map<string, Promise<Deployment>>();
  #reserving = false;
  #leaving = false;

  constructor(options: DeploymentsOptions) {
    this.#options = options;
    this.#variants = new Variants({
      intensity: () => options.intensity?.() ?? null,
      find: (name) => this.#named(name)?.served,
    });
    this.residency = new Residency({
      runners: options.runners,
      budgetBytes: options.memoryBudgetBytes,
      loadTimeoutMs: options.loadTimeoutMs,
      log: options.log,
      onChange: () => this.runnersChanged(),
    });
    this.#maker = new Maker(options, this.residency);
  }

  /** Serves what was deployed. Only pinned versions are loaded now; returns when each of them is ready or has failed. */
  async start(): Promise<void> {
    for (const stored of await storedDeployments(this.#options.db)) {
      const live = this.#prepare({ ...stored, given: this.#maker.readStored(stored), borrowed: false });
      live.routed = true;
    }
    const aliases = await storedAliases(this.#options.db);
    for (const [modelId, ofModel] of aliases) this.#routes.setAliases(modelId, ofModel);
    const pinned = [...this.#live.values()].filter(({ served }) => served.settings.pinned).values();
    // A place that could not be loaded knows why, and has logged it.
    const work = async () => {
      for (const { place } of pinned) await place.load().catch(() => undefined);
    };
    await Promise.all(Array.from({ length: loadsAtOnce }, work));
  }

  /** The server will stop: from now on it says that it is not ready, and answers as before. */
  leave(): void {
    this.#leaving = true;
  }

  get leaving(): boolean {
    return this.#leaving;
  }

  /** Answers what waits, then ends the runners. */
  async stop(): Promise<void> {
    await Promise.all([...this.#live.values()].map(({ place }) => place.drained()));
    this.residency.close();
    await this.#options.runners.stop();
  }

  /**
   * Serves a version; returns when it has been loaded and warmed up, can answer, and this is committed. Serving it
   * again returns the same deployment, in memory again and with other settings if any are given.
   */
  async create(
    model: ModelRecord,
    version: VersionRecord,
    by: string,
    given?: GivenSettings,
  ): Promise<Deployment> {
    // Who asks while another's answer is still on its way waits for the same commit.
    let created = this.#creating.get(version.id);
    if (!created) {
      created = this.#create(model, version, by, given).finally(() => this.#creating.delete(version.id));
      this.#creating.set(version.id, created);
      return created;
    }
    const { id } = await created;
    return given ? this.change(id, given, by) : created;
  }

  /** Throws INVALID_REQUEST naming the setting, and what loading throws; then nothing has changed. */
  async change(id: string, changes: GivenSettings, by: string): Promise<Deployment> {
    const live = this.#live.get(id);
    if (!live || live.borrowed) throw notServed('the deployment');
    return this.#inTurn(live, async () => {
      if (!this.#live.has(id)) throw notServed('the deployment');
      const given = mergeSettings(live.given, changes);
      this.#checkGreener(live.use, live.served.signature, changes);
      const served = { ...live.served, settings: this.#maker.effective(given) };
      const next = this.#maker.nextPlace(live, served);
      try {
        await next?.load();
        if (!next && served.settings.pinned) await live.place.load();
        await this.#options.db.transaction().execute(async (trx) => {
          const settings = JSON.stringify(given);
          await trx.updateTable('deployments').set({ settings }).where('id', '=', id).execute();
          await this.#options.audit(trx, eventOf(live, 'deployment.change', by, changes));
        });
      } catch (error) {
        await next?.discard();
        throw error;
      }
      const before = live.place;
      live.given = given;
      live.served = served;
      if (next) live.place = next;
      else live.place.apply(served);
      // Those that wait there are answered there.
      if (next) void before.discard().catch((error: unknown) => this.#logUnload(live, error));
      this.runnersChanged();
      return deploymentOf(live);
    });
  }

  /** Loads a version that nobody else is routed to; one that is deployed is used as it is. */
  async borrow(model: ModelRecord, version: VersionRecord): Promise<BorrowedVersion> {
    const deployed = this.#ofVersion(version.id);
    if (deployed?.routed) return { served: deployed.served, giveBack: async () => {} };
    const live = await this.#prepareNew(model, version, {}, true);
    const giveBack = () => this.#forget(live);
    try {
      await live.place.load();
    } catch (error) {
      await giveBack();
      throw error;
    }
    return { served: live.served, giveBack };
  }

  list(modelIds: readonly string[]): Deployment[] {
    const wanted = new Set(modelIds);
    return [...this.#live.values()]
      .filter(({ served, borrowed }) => !borrowed && wanted.has(served.modelId))
      .map(deploymentOf);
  }

  get(id: string): Deployment | undefined {
    const live = this.#live.get(id);
    return live && !live.borrowed ? deploymentOf(live) : undefined;
  }

  async remove(id: string, by: string): Promise<void> {
    const live = this.#live.get(id);
    if (!live || live.borrowed) return;
    // One that is still being made would come back with its commit.
    await this.#creating.get(live.version.id)?.catch(() => undefined);
    await this.#inTurn(live, async () => {
      if (!this.#live.has(id)) return;
      await this.#options.db.transaction().execute(async (trx) => {
        await trx.deleteFrom('deployments').where('id', '=', id).execute();
        await this.#options.audit(trx, eventOf(live, 'deployment.remove', by));
      });
      await this.#forget(live);
    });
  }

  /**
   * The deployed version that answers: the one asked for, else the alias `production`, else the newest deployed.
   * Throws VERSION_NOT_FOUND (nothing such is deployed).
   */
  served(modelId: string, route: Route = {}): ServedVersion {
    return this.#routes.find(modelId, route).served;
  }

  variantOf(served: ServedVersion): Variant | undefined {
    return this.#variants.of(served);
  }

  servedVersions(modelId: string): ServedVersion[] {
    return this.#routes.ofModel(modelId).map(({ served }) => served);
  }

  /** One that was unloaded for want of use is: its next request is answered. */
  isReady({ deploymentId }: ServedVersion): boolean {
    const live = this.#live.get(deploymentId);
    return !this.#leaving && live?.routed === true && live.place.answers;
  }

  /**
   * True when no deployment is still on its way. One that failed says so itself, and does not take the server away
   * from everybody else.
   */
  allReady(): boolean {
    if (this.#leaving) return false;
    for (const { routed, place } of this.#live.values())
      if (routed && !place.answers && place.state.state === 'loading') return false;
    return true;
  }

  statistics({ deploymentId }: ServedVersion): ModelStatistics {
    return this.#live.get(deploymentId)?.place.statistics ?? emptyStatistics();
  }

  loadState({ deploymentId }: ServedVersion): LoadState {
    const live = this.#live.get(deploymentId);
    return live?.place.state ?? { state: 'unloaded', reason: null, memoryBytes: 0 };
  }

  infer({ deploymentId, version }: ServedVersion, call: InferCall): Promise<Inference> {
    const live = this.#live.get(deploymentId);
    if (!live) return Promise.reject(notServed(`version ${version}`));
    live.place.used();
    return live.place.engine().infer(call);
  }

  /** Takes it out of memory; its next request loads it again. False: somebody waits for it, or it is not there. */
  async unload(id: string): Promise<boolean> {
    const live = this.#live.get(id);
    return live?.place instanceof ReplicaPlace && !live.served.settings.pinned && live.place.unload();
  }

  /** Aliases of a model moved: route by the new ones from now on. */
  async routesChanged(modelId: string): Promise<void> {
    const aliases = await this.#options.source.aliases(modelId);
    this.#routes.setAliases(modelId, new Map(aliases.map(({ alias, version }) => [alias, version])));
  }

  /** Somebody came into memory or went, or a runner became another process: the meter is told, once a turn. */
  runnersChanged(): void {
    if (this.#reserving) return;
    this.#reserving = true;
    setImmediate(() => {
      this.#reserving = false;
      const pids = this.runners().processes.map(({ pid }) => pid);
      this.#options.accountant.setReservations(reservationsOf(this.#live.values()), pids);
    });
  }

  /** For metrics: everything that is served, and what the runners hold. */
  readonly lives: Iterable<Live> = { [Symbol.iterator]: () => this.#live.values() };

  runners(): RunnersFacts {
    return this.#options.runners.describe();
  }

  async #create(
    model: ModelRecord,
    version: VersionRecord,
    by: string,
    given: GivenSettings | undefined,
  ): Promise<Deployment> {
    const existing = this.#ofVersion(version.id);
    if (existing) {
      // Whoever deploys it wants it in memory now, and tried again if it had failed.
      if (existing.place.state.state !== 'loaded') await existing.place.load();
      return given ? this.change(existing.id, given, by) : deploymentOf(existing);
    }
    const live = await this.#prepareNew(model, version, given ?? {}, false);
    try {
      await live.place.load();
      await this.#options.db.transaction().execute(async (trx) => {
        const settings = JSON.stringify(live.given);
        const made = { id: live.id, settings, created_at: live.createdAt, created_by: by };
        await trx
          .insertInto('deployments')
          .values({ ...made, model_id: model.id, version_id: version.id })
          // One whose commit was reported as failed, and was found when the database had been opened again.
          .onConflict((conflict) => conflict.column('version_id').doUpdateSet(made))
          .execute();
        await this.#options.audit(trx, eventOf(live, 'deployment.create', by, live.given));
      });
    } catch (error) {
      await this.#forget(live);
      throw error;
    }
    live.routed = true;
    await this.routesChanged(model.id);
    return deploymentOf(live);
  }

  async #prepareNew(
    model: ModelRecord,
    version: VersionRecord,
    given: GivenSettings,
    borrowed: boolean,
  ): Promise<Live> {
    // Wrong settings are refused before anything else is done.
    this.#maker.effective(given);
    const use = { model: `${model.organisation}/${model.name}`, version: version.number };
    this.#checkGreener(use, version.signature, given);
    const artifactBytes = await artifactBytesOf(this.#options.db, model, version);
    const createdAt = new Date().toISOString();
    return this.#prepare({ id: randomUUID(), createdAt, model, version, artifactBytes, given, borrowed });
  }

  #prepare(making: Making): Live {
    const live = this.#maker.make(making);
    this.#live.set(live.id, live);
    this.#routes.add(live);
    return live;
  }

  async #forget(live: Live): Promise<void> {
    this.#live.delete(live.id);
    this.#routes.remove(live);
    await live.place.discard();
    this.runnersChanged();
  }

  #ofVersion(versionId: string): Live | undefined {
    for (const live of this.#live.values()) if (!live.borrowed && live.version.id === versionId) return live;
    return undefined;
  }

  /** Served, and able to answer. */
  #named(name: string): Live | undefined {
    for (const live of this.#live.values())
      if (live.routed && live.place.answers && `${live.use.model}:${live.use.version}` === name) return live;
    return undefined;
  }

  #checkGreener(
    { model, version }: { model: string; version: number },
    signature: ServedVersion['signature'],
    { greener = [] }: GivenSettings,
  ): void {
    checkGreener(greener, { name: `${model}:${version}`, signature }, (name) => this.#named(name)?.served);
  }

  async #inTurn<T>(live: Live, step: () => Promise<T>): Promise<T> {
    const turn = live.changing.then(step);
    live.changing = turn.catch(() => undefined);
    return turn;
  }

  #logUnload({ use, version }: Live, error: unknown): void {
    const fields = { err: error, model: use.model, version: version.number };
    this.#options.log.error(fields, 'an earlier copy was not unloaded');
  }
}
