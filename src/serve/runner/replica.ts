/** What a batcher sees of the runners: a loaded copy (or copies) of one version, whatever processes hold it. */
import { CommonwattError } from '../../errors.ts';
import type { TensorParts } from '../../runtimes/frames.ts';
import type { Tensor } from '../../runtimes/tensor.ts';
import type { LoadState } from '../serve.ts';

export interface Computed {
  outputs: Tensor[];
  /** Wall time of the computation inside the runner, ns, and of reading its inputs and writing its outputs there. */
  computeNs: number;
  inputNs: number;
  outputNs: number;
  /** The process that computed. */
  runnerPid: number;
}

/** The model refused what it was given, after it had computed for a while: that is booked, too. */
export class NotComputable extends CommonwattError {
  /** As of `Computed`; 0: nothing was computed. */
  readonly computeNs: number;
  readonly runnerPid: number;

  constructor(message: string, { computeNs, runnerPid }: Pick<Computed, 'computeNs' | 'runnerPid'>) {
    super('INVALID_TENSOR', message);
    this.computeNs = computeNs;
    this.runnerPid = runnerPid;
  }
}

export interface ReplicaSpec {
  versionId: string;
  /** `org/model:version`, for logs. */
  name: string;
  /** Called again whenever a runner has to be started anew; decrypts into memory, never to disk. */
  bytes(): Promise<Uint8Array>;
  threads: number | undefined;
  executionProviders: readonly string[];
  replicas: number;
}

export interface Replica {
  readonly ready: boolean;
  readonly load: LoadState;
  /** The processes that hold a copy. */
  readonly runnerPids: readonly number[];
  /** Batches that can be computed at the same time: the copies that are ready. */
  readonly parallelism: number;
  /**
   * Computes one batch. Throws RUNNER_FAILED when the runner dies, hangs or runs out of memory meanwhile, and what
   * `admit` throws: it is asked each time just before the batch is sent, however long that had to wait.
   */
  run(inputs: readonly TensorParts[], admit?: () => void): Promise<Computed>;
  /**
   * Computes in a runner of its own, started for it: what was in flight when a runner died is tried again so, one
   * request at a time, where it can hurt nobody else. Throws RUNNER_FAILED when that runner dies, too.
   */
  runAlone(inputs: readonly TensorParts[], admit?: () => void): Promise<Computed>;
  unload(): Promise<void>;
}
