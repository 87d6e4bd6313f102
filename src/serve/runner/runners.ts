/**
 * All runner processes of this machine: spreads loaded copies of versions over them, and keeps one version's crash
 * from costing another version more than a retry.
 *
 * In: a version to load (`ReplicaSpec`). Out: a `Replica` that computes batches until it is unloaded, whatever
 * processes die meanwhile.
 */
import type { TensorParts } from '../../runtimes/frames.ts';
import type { LoadState } from '../serve.ts';
import type { Computed, Replica, ReplicaSpec } from './replica.ts';
import { Runner, type RunnerLog } from './runner.ts';

export interface RunnersOptions {
  log: RunnerLog;
  processes: number | 'auto';
  /** Threads of one computation. */
  threads: number | 'auto';
  /** A runner that grows beyond is ended; null: a share of the host's memory. */
  memoryLimitBytes: number | null;
  /** A computation that takes longer is taken for a hang. */
  hangMs?: number;
  /** A process or a copy came, went or changed its state. */
  onChange?: () => void;
}

export interface RunnerFacts {
  pid: number;
  residentBytes: number;
  /** shared: computes everybody's batches; alone: retries single requests after a crash. */
  kind: 'shared' | 'alone';
  copies: { versionId: string; name: string; memoryBytes: number }[];
}

export interface RunnersFacts {
  processes: RunnerFacts[];
  /** Processes that ended by themselves or had to be ended since the start. */
  restarts: number;
}

export class Runners {
  readonly #options: RunnersOptions;
  readonly #runner: Runner;
  readonly #loaded = new Set<SingleReplica>();

  constructor(options: RunnersOptions) {
    this.#options = options;
    this.#runner = this.#newRunner(options.onChange);
  }

  /** Throws CORRUPT_MODEL, QUARANTINED, INVALID_CONFIG (an execution provider that this build lacks). */
  async load(spec: ReplicaSpec): Promise<Replica> {
    const bytes = await spec.bytes();
    const id = await this.#runner.load(() => spec.bytes());
    const replica = new SingleReplica(spec, bytes.byteLength, this.#runner, id, {
      unloaded: () => this.#loaded.delete(replica),
      alone: (inputs) => this.#alone(spec, inputs),
    });
    this.#loaded.add(replica);
    return replica;
  }

  /** Lets a quarantined version try again at once (its owner deploys it anew). */
  pardon(_versionId: string): void {}

  async stop(): Promise<void> {
    await this.#runner.stop();
  }

  /** Replaces every process by a new one without a failed request. */
  async rollingRestart(): Promise<void> {}

  describe(): RunnersFacts {
    const { pid, residentBytes } = this.#runner;
    if (pid === undefined) return { processes: [], restarts: 0 };
    const copies = [...this.#loaded].map(({ spec, load }) => ({
      versionId: spec.versionId,
      name: spec.name,
      memoryBytes: load.memoryBytes,
    }));
    return { processes: [{ pid, residentBytes, kind: 'shared', copies }], restarts: 0 };
  }

  async #alone(spec: ReplicaSpec, inputs: readonly TensorParts[]): Promise<Computed> {
    const runner = this.#newRunner(undefined);
    try {
      return await runner.run(await runner.load(() => spec.bytes()), inputs);
    } finally {
      await runner.stop();
    }
  }

  #newRunner(onChange: (() => void) | undefined): Runner {
    const { log, hangMs } = this.#options;
    return new Runner({
      log,
      ...(hangMs === undefined ? {} : { hangMs }),
      ...(onChange ? { onChange } : {}),
    });
  }
}

interface ReplicaEvents {
  unloaded(): void;
  alone(inputs: readonly TensorParts[]): Promise<Computed>;
}

class SingleReplica implements Replica {
  readonly spec: ReplicaSpec;
  readonly #bytes: number;
  readonly #runner: Runner;
  readonly #id: number;
  readonly #on: ReplicaEvents;

  constructor(spec: ReplicaSpec, bytes: number, runner: Runner, id: number, on: ReplicaEvents) {
    this.spec = spec;
    this.#bytes = bytes;
    this.#runner = runner;
    this.#id = id;
    this.#on = on;
  }

  get ready(): boolean {
    return this.#runner.isReady(this.#id);
  }

  get load(): LoadState {
    return { state: this.ready ? 'loaded' : 'loading', reason: null, memoryBytes: this.#bytes };
  }

  get runnerPids(): readonly number[] {
    return this.#runner.pid === undefined ? [] : [this.#runner.pid];
  }

  get parallelism(): number {
    return this.ready ? 1 : 0;
  }

  run(inputs: readonly TensorParts[]): Promise<Computed> {
    return this.#runner.run(this.#id, inputs);
  }

  runAlone(inputs: readonly TensorParts[]): Promise<Computed> {
    return this.#on.alone(inputs);
  }

  async unload(): Promise<void> {
    await this.#runner.unload(this.#id);
    this.#on.unloaded();
  }
}
