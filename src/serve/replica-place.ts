/** A deployment that is computed in a replica of its own, through a batcher shared by all callers. */
import type { ModelUse } from '../energy/energy.ts';
import type { ModelSignature } from '../models/models.ts';
import { Batcher, type BatcherOptions, type BatchTarget } from './batcher.ts';
import type { Place } from './place.ts';
import { type Residency, Resident } from './residency.ts';
import { mixesRows } from './row-mixing.ts';
import type { Replica, ReplicaSpec } from './runner/replica.ts';
import type { Engine, LoadState, ServedVersion } from './serve.ts';
import { emptyStatistics, type ModelStatistics } from './statistics.ts';
import { warmUp } from './warm-up.ts';

export interface ReplicaPlaceParts extends BatcherOptions {
  residency: Residency;
  use: ModelUse;
  artifactBytes: number;
  bytes(): Promise<Uint8Array>;
  /** Ends the quarantine of a version that is deployed anew; resolves when it is back in memory, if it was. */
  pardon(versionId: string): Promise<void>;
}

export class ReplicaPlace implements Place {
  readonly #parts: ReplicaPlaceParts;
  readonly #resident: Resident;
  readonly #draining = new Set<Engine>();
  #served: ServedVersion;
  #engine: Batcher | undefined;
  #statistics: ModelStatistics | undefined;
  /** Undefined: not known (yet). */
  #mixesRows: boolean | undefined;

  /** `before`: a place that this one follows, whose figures it goes on with. */
  constructor(parts: ReplicaPlaceParts, served: ServedVersion, before?: ReplicaPlace) {
    this.#parts = parts;
    this.#served = served;
    this.#statistics = before ? before.#statistics : undefined;
    this.#mixesRows = before ? before.#mixesRows : undefined;
    this.#resident = new Resident({
      spec: specOf(parts, served),
      artifactBytes: parts.artifactBytes,
      pinned: served.settings.pinned,
      idleUnloadS: served.settings.idleUnloadS,
      warmUp: async (replica) => {
        await warmUp(replica, served.signature, this.#warmUpSizes());
        await this.#tryRows(replica);
      },
      pending: () => this.pending,
      onUnloaded: () => {
        if (this.#engine?.pending === 0) this.#engine = undefined;
      },
    });
  }

  engine(): Engine {
    this.#engine ??= this.#newBatcher();
    return this.#engine;
  }

  get pending(): number {
    let pending = this.#engine?.pending ?? 0;
    for (const engine of this.#draining) pending += engine.pending;
    return pending;
  }

  get statistics(): ModelStatistics | undefined {
    return this.#statistics;
  }

  get answers(): boolean {
    return this.#resident.answers;
  }

  get state(): LoadState {
    return this.#resident.state;
  }

  async load(): Promise<void> {
    const { failure, state } = this.#resident;
    this.#resident.failure = undefined;
    if (failure || state.state === 'quarantined') await this.#parts.pardon(this.#served.versionId);
    await this.#parts.residency.load(this.#resident);
  }

  /** False: somebody waits for it, or it is not in memory. */
  async unload(): Promise<boolean> {
    if (this.pending > 0 || !this.#resident.replica) return false;
    await this.#parts.residency.unload(this.#resident);
    return true;
  }

  used(): void {
    this.#parts.residency.used(this.#resident);
  }

  /** Only settings that the replica does not depend on (see `sameReplica`). */
  apply(served: ServedVersion): void {
    this.#served = served;
    const { pinned, idleUnloadS } = served.settings;
    this.#parts.residency.keep(this.#resident, { pinned, idleUnloadS });
    const old = this.#engine;
    this.#engine = undefined;
    if (!old || old.pending === 0) return;
    this.#draining.add(old);
    void old.drained().then(() => this.#draining.delete(old));
  }

  async drained(): Promise<void> {
    const engines = [...this.#draining, ...(this.#engine ? [this.#engine] : [])];
    await Promise.all(engines.map((engine) => engine.drained()));
  }

  async discard(): Promise<void> {
    await this.drained();
    await this.#parts.residency.discard(this.#resident);
  }

  holds() {
    const { replica, heldBytes } = this.#resident;
    const pids = replica?.runnerPids ?? [];
    const mayAccelerate = this.#served.settings.executionProviders.some((name) => name !== 'cpu');
    return pids.map((runnerPid) => ({ runnerPid, memoryBytes: heldBytes / pids.length, mayAccelerate }));
  }

  /** Once: what a version does with rows does not change. */
  async #tryRows(replica: Replica): Promise<void> {
    const { format, signature, deterministic } = this.#served;
    // Pipelines take each text or picture by itself; what is drawn at random is never alike.
    if (this.#mixesRows !== undefined || format === 'pipeline' || !deterministic) return;
    if (!isBatchable(signature)) return;
    this.#mixesRows = await mixesRows(replica, signature);
    if (!this.#mixesRows) return;
    const { use, log } = this.#parts;
    log?.warn(
      { model: `${use.model}:${use.version}` },
      'what this model answers for a row depends on the rows beside it: its requests are computed one by one',
    );
  }

  #warmUpSizes(): number[] {
    const { warmUpBatchSizes, maxBatchSize = this.#parts.maxBatchSize } = this.#served.settings;
    return warmUpBatchSizes.filter((rows) => rows <= maxBatchSize);
  }

  #newBatcher(): Batcher {
    const { residency, use } = this.#parts;
    const { settings, signature, versionId, deterministic } = this.#served;
    this.#statistics ??= emptyStatistics();
    const resident = this.#resident;
    const place = this;
    const target: BatchTarget = {
      use,
      get batchable() {
        return place.#mixesRows !== true && isBatchable(signature);
      },
      settings,
      versionId,
      deterministic,
      get parallelism() {
        return Math.max(1, resident.replica?.parallelism ?? 1);
      },
      awake: () => residency.wake(resident),
      run: async (inputs, admit) => (resident.replica ?? (await residency.load(resident))).run(inputs, admit),
      runAlone: async (inputs, admit) =>
        (resident.replica ?? (await residency.load(resident))).runAlone(inputs, admit),
    };
    return new Batcher(target, { ...this.#parts, statistics: this.#statistics });
  }
}

/** False: the change needs another replica, loaded before the old one goes. */
export function sameReplica(one: ServedVersion, other: ServedVersion): boolean {
  const [a, b] = [one.settings, other.settings];
  return (
    a.threads === b.threads &&
    a.replicas === b.replicas &&
    a.executionProviders.join() === b.executionProviders.join()
  );
}

function specOf({ use, bytes }: ReplicaPlaceParts, { versionId, settings }: ServedVersion): ReplicaSpec {
  return {
    versionId,
    name: `${use.model}:${use.version}`,
    bytes,
    threads: settings.threads,
    executionProviders: settings.executionProviders,
    replicas: settings.replicas,
  };
}

function isBatchable({ inputs, outputs }: ModelSignature): boolean {
  return [...inputs, ...outputs].every(({ shape }) => shape[0] === -1);
}
