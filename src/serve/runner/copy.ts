/** One version's loaded copy in one runner; it outlives the processes that hold it. */
import type { TensorParts } from '../../runtimes/frames.ts';
import type { RunnerProcess } from './process.ts';
import type { Computed } from './replica.ts';

export interface CopySource {
  versionId: string;
  /** `org/model:version`, for logs. */
  name: string;
  bytes(): Promise<Uint8Array>;
  threads: number;
  executionProviders: readonly string[];
}

let ids = 0;

export class Copy {
  readonly id = ++ids % 0xffffffff;
  readonly source: CopySource;
  /** The process that holds it now. */
  process: RunnerProcess | undefined;
  lastUsedAt = 0;
  /** What it takes: the process's growth as it was loaded, at least the bytes of the model. An estimate. */
  memoryBytes = 0;
  /** Why it could not be brought back; it is tried again. */
  failure: Error | undefined;

  constructor(source: CopySource) {
    this.source = source;
  }

  get ready(): boolean {
    return this.process?.alive === true;
  }

  /** How much is before a batch that comes now: the process computes one at a time, whoever's they are. */
  get busy(): number {
    return this.process?.busy ?? 0;
  }

  /** Loads it into a process, without moving there yet. Throws CORRUPT_MODEL, INVALID_CONFIG or RunnerDied. */
  async loadInto(process: RunnerProcess, bytes: Uint8Array): Promise<void> {
    this.memoryBytes = Math.max(bytes.byteLength, await process.load(this.id, bytes, this.source));
  }

  /** Throws INVALID_TENSOR or RunnerDied. */
  run(process: RunnerProcess, inputs: readonly TensorParts[]): Promise<Computed> {
    this.lastUsedAt = performance.now();
    return process.run(this.id, inputs);
  }
}
