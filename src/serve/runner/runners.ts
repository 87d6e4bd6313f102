/**
 * All runner processes of this machine: spreads loaded copies of versions over them, and keeps one version's crash
 * from costing another version more than a moment.
 *
 * In: a version to load (`ReplicaSpec`). Out: a `Replica` that computes batches until it is unloaded, whatever
 * processes die meanwhile. A version that keeps killing its runner is quarantined (`quarantine.ts`); what may kill
 * a runner is tried in one of its own first (`alone.ts`).
 */
import { Alone } from './alone.ts';
import { type Capacity, planCapacity } from './capacity.ts';
import { Copy, type CopySource } from './copy.ts';
import {
  type ProcessOptions,
  RunnerDied,
  type RunnerLog,
  type RunnerProcess,
  type RunnerTimes,
} from './process.ts';
import { Quarantine, quarantinedError } from './quarantine.ts';
import type { Replica, ReplicaSpec } from './replica.ts';
import { Runner } from './runner.ts';
import { runnerFailed, Version } from './version.ts';

export interface RunnersOptions {
  log: RunnerLog;
  processes: number | 'auto';
  /** Threads of one computation; never more over all processes than the host has cores. */
  threads: number | 'auto';
  /** A runner that grows beyond is ended; null: four fifths of the memory of the host or its container. */
  memoryLimitBytes: number | null;
  /** A computation that takes longer is taken for a hang. */
  hangMs?: number;
  /** A process or a copy came, went or changed its state. */
  onChange?: () => void;
}

export interface RunnerFacts {
  pid: number;
  residentBytes: number;
  /** By its own account; it is asked while it has nothing to do. */
  computedS: number;
  /** shared: computes everybody's batches; alone: retries single requests after a crash. */
  kind: 'shared' | 'alone';
  copies: { versionId: string; name: string; memoryBytes: number }[];
}

export interface RunnersFacts {
  processes: RunnerFacts[];
  /** Processes that ended by themselves or had to be ended since the start. */
  restarts: number;
  /** Threads of one computation where a deployment names none, and what each process may grow to. */
  threads: number;
  memoryLimitBytes: number;
}

const loadAttempts = 3;
const retryMs = 5000;
/** How long a batch waits for a runner that is coming back. */
const leastPatienceMs = 30_000;

export class Runners {
  readonly #log: RunnerLog;
  readonly #onChange: () => void;
  readonly #capacity: Capacity;
  readonly #hangMs: number;
  readonly #quarantine = new Quarantine();
  readonly #runners: Runner[];
  /** Those that copies may go to. */
  #used: ReadonlySet<Runner>;
  readonly #alone: Alone;
  readonly #versions = new Map<string, Set<Version>>();
  readonly #specs = new Map<Version, ReplicaSpec>();
  readonly #returns = new Map<string, NodeJS.Timeout>();

  constructor(options: RunnersOptions) {
    this.#log = options.log;
    this.#onChange = options.onChange ?? (() => {});
    this.#capacity = planCapacity(options);
    this.#hangMs = options.hangMs ?? 30_000;
    const process: ProcessOptions = {
      log: options.log,
      hangMs: this.#hangMs,
      memoryLimitBytes: this.#capacity.memoryLimitBytes,
    };
    this.#alone = new Alone({ ...process, onChange: this.#onChange });
    this.#runners = Array.from({ length: this.#capacity.processes }, () => this.#newRunner(process));
    this.#used = new Set(this.#runners);
  }

  /**
   * Throws CORRUPT_MODEL, QUARANTINED, INVALID_CONFIG (an execution provider that this build lacks),
   * PAYLOAD_TOO_LARGE or OVERLOADED (no room in memory), RUNNER_FAILED (its runner died as it was loaded).
   */
  async load(spec: ReplicaSpec): Promise<Replica> {
    const version = this.#newVersion(spec);
    try {
      await this.#fill(version, spec);
    } catch (error) {
      await version.unload();
      throw error;
    }
    return version;
  }

  /** Lets a quarantined version try again at once (its owner deploys it anew). Throws as `load`. */
  async pardon(versionId: string): Promise<void> {
    if (!this.#quarantine.of(versionId)) return;
    this.#quarantine.pardon(versionId);
    await this.#bringBack(versionId);
  }

  /** Answers what is in flight, then ends every process. */
  async stop(): Promise<void> {
    for (const timer of this.#returns.values()) clearTimeout(timer);
    await Promise.all([...this.#runners.map((runner) => runner.stop()), this.#alone.stop()]);
  }

  /**
   * Brings every copy into so many processes, one after another, without a failed request; the others end when they
   * have been empty for a while. With more than before, copies spread as they are loaded anew.
   */
  async gather(processes: number): Promise<void> {
    const fullest = [...this.#runners].sort((a, b) => b.heldBytes - a.heldBytes);
    this.#used = new Set(fullest.slice(0, Math.max(1, processes)));
    for (const version of [...this.#versions.values()].flatMap((versions) => [...versions]))
      for (const [copy, runner] of version.copies)
        if (!this.#used.has(runner)) await this.#move(version, copy, runner);
    this.#changed();
  }

  /** Where another copy of the version is already, this one only goes. */
  async #move(version: Version, copy: Copy, from: Runner): Promise<void> {
    const taken = new Set(version.copies.values());
    const [to] = this.#byRoom().filter((runner) => !taken.has(runner));
    if (to) {
      const fresh = new Copy(copy.source);
      await this.#place(fresh, to);
      version.copies.set(fresh, to);
    } else if (![...taken].some((runner) => this.#used.has(runner))) return;
    version.copies.delete(copy);
    version.changed();
    await from.remove(copy);
  }

  #byRoom(): Runner[] {
    return [...this.#used].sort((a, b) => a.heldBytes - b.heldBytes || a.copies.size - b.copies.size);
  }

  /** Replaces every process by a new one, one after another, without a failed request. */
  async rollingRestart(): Promise<void> {
    for (const runner of this.#runners) await runner.replace();
  }

  /** Of each process, by pid. */
  times(): Map<number, RunnerTimes> {
    const shared = this.#runners.flatMap(({ process }) => (process?.alive ? [process] : []));
    const alone = [...this.#alone.running()].map(({ process }) => process);
    return new Map([...shared, ...alone].map((process) => [process.pid, process.times]));
  }

  describe(): RunnersFacts {
    const processes: RunnerFacts[] = [];
    for (const { process, copies } of this.#runners)
      if (process?.alive) processes.push(factsOf(process, 'shared', [...copies]));
    for (const { process, copy } of this.#alone.running()) processes.push(factsOf(process, 'alone', [copy]));
    const { threads, memoryLimitBytes } = this.#capacity;
    const restarts = this.#runners.reduce((sum, { deaths }) => sum + deaths, 0);
    return { processes, restarts, threads, memoryLimitBytes };
  }

  #newRunner(process: ProcessOptions): Runner {
    return new Runner({
      ...process,
      onChange: () => this.#changed(),
      onDiedLoading: (copy, died) => this.#strike(copy.source, died, { loading: true }),
      isSuspect: ({ source }) => this.#quarantine.suspect(source.versionId),
      tryFirst: ({ source }) => this.#tryAlone(source),
    });
  }

  #newVersion(spec: ReplicaSpec): Version {
    const { versionId, name } = spec;
    const source = this.#sourceOf(spec);
    const version = new Version({
      name,
      versionId,
      quarantine: this.#quarantine,
      patienceMs: Math.max(leastPatienceMs, this.#hangMs),
      onStrike: (died, alone) => this.#strike(source, died, { alone }),
      computeAlone: (inputs, admit) => this.#alone.run(source, inputs, admit),
      alonePid: () => this.#alone.pidOf(versionId),
      onUnload: () => {
        this.#specs.delete(version);
        const others = this.#versions.get(versionId);
        others?.delete(version);
        if (others?.size === 0) this.#versions.delete(versionId);
      },
    });
    this.#specs.set(version, spec);
    const others = this.#versions.get(versionId) ?? new Set();
    this.#versions.set(versionId, others.add(version));
    return version;
  }

  #sourceOf({ versionId, name, bytes, threads, executionProviders }: ReplicaSpec): CopySource {
    return {
      versionId,
      name,
      bytes,
      executionProviders,
      threads: Math.min(threads ?? this.#capacity.threads, this.#capacity.maxThreads),
    };
  }

  /** Loads the copies of a version that has none, where there is most room. */
  async #fill(version: Version, spec: ReplicaSpec): Promise<void> {
    // A second copy in one process would wait for the first: it computes one batch at a time.
    const places = this.#byRoom().slice(0, spec.replicas);
    const source = this.#sourceOf(spec);
    const placed = await Promise.allSettled(
      places.map(async (runner) => {
        const copy = new Copy(source);
        await this.#place(copy, runner);
        version.copies.set(copy, runner);
      }),
    );
    const failed = placed.find((place) => place.status === 'rejected');
    if (failed) {
      await version.expel();
      throw failed.reason;
    }
    version.changed();
  }

  async #place(copy: Copy, runner: Runner): Promise<void> {
    const { versionId, name } = copy.source;
    for (let attempt = 1; ; attempt++) {
      const quarantined = this.#quarantine.of(versionId);
      if (quarantined) throw quarantinedError(name, quarantined);
      try {
        if (this.#quarantine.suspect(versionId)) await this.#tryAlone(copy.source);
        return await runner.add(copy);
      } catch (error) {
        if (!(error instanceof RunnerDied)) throw error;
        if (attempt === loadAttempts && !this.#quarantine.of(versionId)) throw runnerFailed(error);
      }
    }
  }

  async #tryAlone(source: CopySource): Promise<void> {
    try {
      await this.#alone.tryLoad(source);
    } catch (error) {
      if (error instanceof RunnerDied) this.#strike(source, error, { alone: true, loading: true });
      throw error;
    }
  }

  #strike(
    { versionId, name }: CopySource,
    died: RunnerDied,
    where: { alone?: boolean; loading?: boolean },
  ): void {
    // Who ended a shared runner from outside did not mean the version that it was computing just then.
    if (!died.blamed || (died.kind === 'outside' && !where.alone && !where.loading)) return;
    if (!this.#quarantine.strike(versionId, died.message, where)) return;
    this.#log.error({ model: name, why: died.message }, 'version quarantined: it kept ending its runner');
    for (const version of this.#versions.get(versionId) ?? []) void version.expel();
    const until = this.#quarantine.of(versionId)?.until.getTime() ?? 0;
    this.#returnAfter(versionId, Math.max(0, until - Date.now()) + 1);
    this.#onChange();
  }

  #returnAfter(versionId: string, ms: number) {
    clearTimeout(this.#returns.get(versionId));
    this.#returns.set(versionId, setTimeout(() => this.#bringBack(versionId).catch(() => {}), ms).unref());
  }

  /** Loads what was taken out of the runners again. Throws as `load`; tried again later all the same. */
  async #bringBack(versionId: string): Promise<void> {
    clearTimeout(this.#returns.get(versionId));
    this.#returns.delete(versionId);
    for (const version of this.#versions.get(versionId) ?? []) {
      const spec = this.#specs.get(version);
      if (!spec || version.copies.size > 0) continue;
      try {
        await this.#fill(version, spec);
      } catch (error) {
        this.#log.error({ err: error, model: spec.name }, 'quarantined version did not come back');
        if (!this.#quarantine.of(versionId)) this.#returnAfter(versionId, retryMs);
        throw error;
      }
    }
  }

  #changed() {
    for (const versions of this.#versions.values()) for (const version of versions) version.changed();
    this.#onChange();
  }
}

function factsOf(process: RunnerProcess, kind: RunnerFacts['kind'], copies: Copy[]): RunnerFacts {
  return {
    pid: process.pid,
    residentBytes: process.residentBytes,
    computedS: process.computedNs / 1e9,
    kind,
    copies: copies.map(({ source: { versionId, name }, memoryBytes }) => ({ versionId, name, memoryBytes })),
  };
}
