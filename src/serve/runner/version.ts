/**
 * A loaded version as a batcher sees it: its copies, whichever of them is free computes. A death that another
 * version is to blame for costs nothing but time: the batch is computed again elsewhere or when the runner is back.
 */
import { CommonwattError } from '../../errors.ts';
import type { TensorParts } from '../../runtimes/frames.ts';
import type { LoadState } from '../serve.ts';
import type { Copy } from './copy.ts';
import { RunnerDied } from './process.ts';
import { type Quarantine, quarantinedError } from './quarantine.ts';
import type { Computed, Replica } from './replica.ts';
import type { Runner } from './runner.ts';

/** A batch that no death is its fault is sent so often before its callers are told to try again. */
const mostMoves = 3;

export interface VersionParts {
  name: string;
  versionId: string;
  quarantine: Quarantine;
  /** How long a batch waits for a runner that is coming back, ms. */
  patienceMs: number;
  onStrike(died: RunnerDied, alone: boolean): void;
  computeAlone(inputs: readonly TensorParts[], admit: () => void): Promise<Computed>;
  /** The runner of its own, while it has one. */
  alonePid(): number | undefined;
  onUnload(): void;
}

export class Version implements Replica {
  readonly parts: VersionParts;
  readonly copies = new Map<Copy, Runner>();
  #unloaded = false;
  #waiting: (() => void)[] = [];

  constructor(parts: VersionParts) {
    this.parts = parts;
  }

  get ready(): boolean {
    return this.parallelism > 0;
  }

  get parallelism(): number {
    let ready = 0;
    for (const copy of this.copies.keys()) if (copy.ready) ready++;
    return ready;
  }

  get runnerPids(): readonly number[] {
    const pids = new Set<number>();
    for (const { process } of this.copies.keys()) if (process?.alive) pids.add(process.pid);
    const alone = this.parts.alonePid();
    if (alone !== undefined) pids.add(alone);
    return [...pids];
  }

  get load(): LoadState {
    const quarantined = this.parts.quarantine.of(this.parts.versionId);
    if (quarantined) return { state: 'quarantined', reason: quarantined.why, memoryBytes: 0 };
    if (this.#unloaded) return { state: 'unloaded', reason: null, memoryBytes: 0 };
    let memoryBytes = 0;
    for (const copy of this.copies.keys()) if (copy.ready) memoryBytes += copy.memoryBytes;
    if (this.ready) return { state: 'loaded', reason: null, memoryBytes };
    const failure = this.#failure();
    return { state: failure ? 'failed' : 'loading', reason: failure?.message ?? null, memoryBytes: 0 };
  }

  async run(inputs: readonly TensorParts[], admit?: () => void): Promise<Computed> {
    for (let moves = 0; ; moves++) {
      const copy = this.#leastBusy() ?? (await this.#readyAgain());
      const { process } = copy;
      if (!process) continue;
      admit?.();
      try {
        const computed = await copy.run(process, inputs);
        this.copies.get(copy)?.worked();
        this.parts.quarantine.answered(this.parts.versionId, false);
        return computed;
      } catch (error) {
        if (!(error instanceof RunnerDied)) throw error;
        // Who kills a runner from outside seldom means what it computes just then; the second time it is no accident.
        const blamed = error.blamed && (error.kind !== 'outside' || moves > 0);
        if (blamed) this.parts.onStrike(error, false);
        if (blamed || moves >= mostMoves) throw runnerFailed(error);
      }
    }
  }

  async runAlone(inputs: readonly TensorParts[], admit?: () => void): Promise<Computed> {
    const { quarantine, versionId, name, computeAlone, onStrike } = this.parts;
    for (let moves = 0; ; moves++) {
      try {
        const computed = await computeAlone(inputs, () => {
          this.#admit();
          admit?.();
        });
        quarantine.answered(versionId, true);
        return computed;
      } catch (error) {
        if (!(error instanceof RunnerDied)) throw error;
        onStrike(error, true);
        if (error.blamed) throw runnerFailed(error);
        // The request never was at fault: it must not be taken for one that crashed twice.
        if (moves >= mostMoves) throw notReady(name);
      }
    }
  }

  async unload(): Promise<void> {
    if (this.#unloaded) return;
    this.#unloaded = true;
    this.changed();
    await this.#remove();
    this.parts.onUnload();
  }

  /** It crashed its runner too often: takes it out of the runners, and refuses who waits. */
  async expel(): Promise<void> {
    this.changed();
    await this.#remove();
  }

  /** A copy came back, or none will: who waits looks again. */
  changed(): void {
    if (this.#waiting.length === 0) return;
    for (const look of this.#waiting.splice(0)) look();
  }

  async #remove(): Promise<void> {
    const copies = [...this.copies];
    this.copies.clear();
    await Promise.all(copies.map(([copy, runner]) => runner.remove(copy)));
  }

  #leastBusy(): Copy | undefined {
    let best: Copy | undefined;
    for (const copy of this.copies.keys()) if (copy.ready && (!best || copy.busy < best.busy)) best = copy;
    return best;
  }

  async #readyAgain(): Promise<Copy> {
    const until = performance.now() + this.parts.patienceMs;
    for (;;) {
      this.#admit();
      const copy = this.#leastBusy();
      if (copy) return copy;
      const failure = this.#failure();
      if (failure instanceof CommonwattError) throw failure;
      const left = until - performance.now();
      if (left <= 0 || this.#unloaded) throw notReady(this.parts.name);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#waiting.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  #admit() {
    const { quarantine, versionId, name } = this.parts;
    const quarantined = quarantine.of(versionId);
    if (quarantined) throw quarantinedError(name, quarantined);
  }

  #failure(): Error | undefined {
    for (const { failure } of this.copies.keys()) if (failure) return failure;
    return undefined;
  }
}

export function runnerFailed(died: RunnerDied) {
  return new CommonwattError(
    'RUNNER_FAILED',
    `the process that computes this model ended (${died.message}) before the answer was there`,
    {
      hint: 'it is being started again; the request can be sent again',
      retryAfterS: 1,
      cause: died,
    },
  );
}

function notReady(name: string) {
  return new CommonwattError('NOT_READY', `${name} is being loaded`, {
    hint: 'send the request again in a moment',
    retryAfterS: 1,
  });
}
