/** Starts, watches and ends a trainer process. Its death is an error of the job, never of the server. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { CommonwattError } from '../errors.ts';
import type {
  Backend,
  EpochResult,
  TrainedLayer,
  TrainerMessage,
  TrainerOrder,
  TrainOrder,
  TrainState,
} from './protocol.ts';

export interface TrainerLog {
  warn(fields: object, message: string): void;
}

/** Sources are compiled to dist/; run from the sources (in tests), the compiled trainer is used. */
const compiledTrainer = import.meta.url.endsWith('.ts')
  ? new URL('../../dist/training/layers.js', import.meta.url)
  : new URL('./layers.js', import.meta.url);

const errorBytes = 4096;

export class Trainer {
  readonly pid: number;
  readonly #child: ChildProcess;
  #errorOutput = '';

  private constructor(child: ChildProcess, pid: number) {
    this.#child = child;
    this.pid = pid;
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#errorOutput = (this.#errorOutput + text).slice(-errorBytes);
    });
  }

  /** Throws RUNNER_FAILED when the process cannot be started. */
  static async start(entry: URL = compiledTrainer): Promise<Trainer> {
    const child = fork(entry, {
      // Typed arrays travel as they are.
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      execArgv: [],
      // The server's environment may hold secrets that training has no use for.
      env: {},
    });
    // A process that dies while an order is being sent is reported by its exit.
    child.on('error', () => {});
    try {
      if (child.pid === undefined) await once(child, 'spawn');
    } catch (cause) {
      throw new CommonwattError('RUNNER_FAILED', 'the trainer process did not start', {
        cause,
        hint: 'the machine may be out of memory or processes; try again',
      });
    }
    return new Trainer(child, child.pid ?? 0);
  }

  /**
   * Trains. The process stays alive, and idle, after success, so that what it used can still be read; `end` it.
   * Throws the signal's reason when aborted (the process is then stopped, see `end`), INVALID_CONFIG when the
   * loss is no longer a number, and RUNNER_FAILED when the process failed or died.
   */
  train(
    order: TrainOrder,
    on: {
      signal: AbortSignal;
      started(backend: Backend, note: string | null): void;
      epoch(result: EpochResult): void;
      /** As often as the order says, and the last thing after `pause`. */
      state?(state: TrainState): void;
    },
  ): Promise<TrainedLayer[]> {
    const child = this.#child;
    return new Promise<TrainedLayer[]>((resolve, reject) => {
      const aborted = () => {
        // Stopped, not killed: it computes no more, and its processor time can still be read before it ends.
        if (process.platform !== 'win32') child.kill('SIGSTOP');
        finish(() => reject(on.signal.reason));
      };
      const exited = (code: number | null, signal: NodeJS.Signals | null) => {
        finish(() => reject(this.#death(code, signal)));
      };
      const received = (message: TrainerMessage) => {
        if (message.type === 'started') on.started(message.backend, message.note);
        else if (message.type === 'epoch') on.epoch(epochOf(message));
        else if (message.type === 'state') on.state?.(message.state);
        else if (message.type === 'done') finish(() => resolve(message.layers));
        else finish(() => reject(failure(message)));
      };
      const finish = (settle: () => void) => {
        on.signal.removeEventListener('abort', aborted);
        child.off('exit', exited);
        child.off('message', received);
        settle();
      };
      if (on.signal.aborted) return aborted();
      on.signal.addEventListener('abort', aborted);
      child.on('exit', exited);
      child.on('message', received);
      if (child.exitCode !== null || child.signalCode !== null)
        return exited(child.exitCode, child.signalCode);
      child.send({ type: 'train', order } satisfies TrainerOrder);
    });
  }

  /** At the end of this epoch it reports its state and computes no more, unless that was the last. */
  pause(): void {
    if (this.#child.connected) this.#child.send({ type: 'pause' } satisfies TrainerOrder);
  }

  /** Ends the process if it is not gone yet, and waits until it is. */
  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await gone;
  }

  #death(code: number | null, signal: NodeJS.Signals | null): CommonwattError {
    const outOfMemory = signal === 'SIGKILL' || /out of memory|allocation failed/i.test(this.#errorOutput);
    const how = signal ? `killed by ${signal}` : `exit code ${code}`;
    const last = this.#errorOutput.trim().split('\n').at(-1);
    return new CommonwattError(
      'RUNNER_FAILED',
      outOfMemory
        ? `the trainer process was ended, most likely for lack of memory (${how})`
        : `the trainer process ended unexpectedly (${how})${last ? `: ${last}` : ''}`,
      {
        hint: outOfMemory
          ? 'use fewer or smaller layers, a smaller batch or a sample of the data, or a machine with more memory'
          : 'start the training again; if it fails again, report it with the log of the server',
      },
    );
  }
}

function epochOf({ epoch, loss, accuracy, valLoss, valAccuracy }: EpochResult): EpochResult {
  return { epoch, loss, accuracy, valLoss, valAccuracy };
}

function failure(message: Extract<TrainerMessage, { type: 'failed' }>): CommonwattError {
  return message.reason === 'diverged'
    ? new CommonwattError('INVALID_CONFIG', `the training diverged: ${message.message}`, {
        where: 'learningRate',
        hint: 'use a smaller learning rate, or scale the features to about −1 … 1',
      })
    : new CommonwattError('RUNNER_FAILED', `the trainer failed: ${message.message}`, {
        hint: 'use fewer or smaller layers or a smaller batch; if it still fails, report it with the log',
      });
}
