/**
 * A supervised runner process, seen from the gateway: starts it, loads replicas into it, sends it batches, and
 * starts it again with back-off when it dies. What was in flight then fails once with a clear retryable error.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { CommonwattError } from '../../errors.ts';
import {
  type Frame,
  FrameReader,
  frameHead,
  frameKinds,
  loadHead,
  readResult,
  runFrame,
  type TensorParts,
} from '../../runtimes/frames.ts';
import type { Computed } from './replica.ts';

/** A TypeScript child cannot be started on Node 20: from the sources (tests), the built runner is used. */
const entry = fileURLToPath(
  import.meta.url.endsWith('.ts')
    ? new URL('../../../dist/serve/runner/main.js', import.meta.url)
    : new URL('./main.js', import.meta.url),
);

export interface RunnerLog {
  info(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface RunnerOptions {
  log: RunnerLog;
  /** A computation that takes longer is taken for a hang: the runner is killed. */
  hangMs?: number;
  /** The runner started, died or came back. */
  onChange?: () => void;
}

interface Pending {
  resolve(frame: Frame): void;
  reject(error: CommonwattError): void;
  deadline: number;
}

interface Replica {
  id: number;
  bytes: () => Promise<Uint8Array>;
  state: 'loading' | 'ready' | 'failed';
}

export class Runner {
  readonly #options: RunnerOptions;
  readonly #pending = new Map<number, Pending>();
  readonly #replicas = new Map<number, Replica>();
  #child: ChildProcess | undefined;
  #socket: Duplex | undefined;
  #nextId = 1;
  #nextReplica = 1;
  #failures = 0;
  #stopping = false;
  #watchdog: NodeJS.Timeout | undefined;
  #restart: NodeJS.Timeout | undefined;
  /** Resident bytes as the runner last told. */
  residentBytes = 0;

  constructor(options: RunnerOptions) {
    this.#options = options;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Loads a model; `bytes` is called again when the runner has to be started anew. Throws CORRUPT_MODEL. */
  async load(bytes: () => Promise<Uint8Array>): Promise<number> {
    const replica: Replica = { id: this.#nextReplica++, bytes, state: 'loading' };
    this.#replicas.set(replica.id, replica);
    try {
      await this.#loadReplica(replica);
    } catch (error) {
      this.#replicas.delete(replica.id);
      throw error;
    }
    return replica.id;
  }

  async unload(replicaId: number): Promise<void> {
    if (!this.#replicas.delete(replicaId) || !this.#socket) return;
    await this.#call((id) => [frameHead(frameKinds.unload, id, replicaId, 0, 0)]);
  }

  isReady(replicaId: number): boolean {
    return this.#replicas.get(replicaId)?.state === 'ready';
  }

  /** Computes one batch. Throws RUNNER_FAILED (retryable) when the runner dies or hangs meanwhile. */
  async run(replicaId: number, inputs: readonly TensorParts[]): Promise<Computed> {
    if (!this.isReady(replicaId)) throw notReady();
    const runnerPid = this.pid ?? 0;
    const frame = await this.#call((id) => [runFrame(id, replicaId, inputs)]);
    return { ...readResult(frame), runnerPid };
  }

  /** Waits for what is in flight, then ends the process. */
  async stop(): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#restart);
    clearInterval(this.#watchdog);
    const child = this.#child;
    if (!child || child.exitCode !== null) return;
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    this.#socket?.end();
    const kill = setTimeout(() => child.kill('SIGKILL'), 2000);
    await gone;
    clearTimeout(kill);
  }

  async #loadReplica(replica: Replica): Promise<void> {
    this.#start();
    const bytes = await replica.bytes();
    const options = { threads: 1, executionProviders: ['cpu'] };
    const head = (id: number) => loadHead(id, replica.id, options, bytes.byteLength);
    try {
      const loaded = await this.#call((id) => [head(id), bytes]);
      this.residentBytes = loaded.number;
      replica.state = 'ready';
      this.#options.onChange?.();
    } catch (cause) {
      replica.state = 'failed';
      if (cause instanceof CommonwattError && cause.code === 'RUNNER_FAILED') throw cause;
      throw new CommonwattError(
        'CORRUPT_MODEL',
        `the runtime cannot load this model: ${(cause as Error).message}`,
        {
          hint: 'check the model with `onnx.checker` and import it again',
          cause,
        },
      );
    }
  }

  #start() {
    if (this.#child || this.#stopping) return;
    const child = spawn(process.execPath, ['--max-semi-space-size=2', '--expose-gc', entry], {
      stdio: ['ignore', 'inherit', 'inherit', 'pipe'],
      env: { PATH: process.env.PATH, HOME: process.env.HOME, LD_LIBRARY_PATH: process.env.LD_LIBRARY_PATH },
    });
    this.#child = child;
    const socket = child.stdio[3];
    if (!(socket instanceof Duplex)) throw new TypeError('the runner has no socket');
    this.#socket = socket;
    const reader = new FrameReader((frame) => this.#answer(frame));
    socket.on('data', (chunk: Buffer) => {
      try {
        reader.push(chunk);
      } catch (error) {
        this.#options.log.error({ err: error }, 'runner sent a broken frame');
        child.kill('SIGKILL');
      }
    });
    socket.on('error', () => {});
    child.on('error', (error) => this.#died(child, error.message));
    child.on('exit', (code, signal) => this.#died(child, signal ? `signal ${signal}` : `exit code ${code}`));
    this.#watchdog ??= setInterval(() => this.#watch(), 1000).unref();
    this.#options.log.info({ pid: child.pid }, 'runner started');
    this.#options.onChange?.();
  }

  #call(frame: (id: number) => Uint8Array[]): Promise<Frame> {
    const socket = this.#socket;
    if (!socket || socket.destroyed) return Promise.reject(notReady());
    const id = this.#nextId;
    this.#nextId = id === 0xffffffff ? 1 : id + 1;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, {
        resolve,
        reject,
        deadline: performance.now() + (this.#options.hangMs ?? 30_000),
      });
      for (const part of frame(id)) socket.write(part);
    });
  }

  #answer(frame: Frame) {
    const pending = this.#pending.get(frame.id);
    this.#pending.delete(frame.id);
    if (!pending) return;
    if (frame.kind !== frameKinds.failed) {
      this.#failures = 0;
      pending.resolve(frame);
      return;
    }
    pending.reject(
      new CommonwattError(
        'INVALID_TENSOR',
        `the model could not compute this input: ${frame.payload.toString()}`,
      ),
    );
  }

  #died(child: ChildProcess, how: string) {
    if (this.#child !== child) return;
    this.#child = undefined;
    this.#socket = undefined;
    for (const replica of this.#replicas.values()) replica.state = 'loading';
    const lost = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject } of lost) reject(runnerFailed(how));
    this.#options.onChange?.();
    if (this.#stopping) return;
    const delayMs = Math.min(10_000, 100 * 2 ** this.#failures++);
    this.#options.log.error({ how, lost: lost.length, restartInMs: delayMs }, 'runner died');
    if (this.#replicas.size > 0) this.#restart = setTimeout(() => this.#reload(), delayMs);
  }

  #reload() {
    for (const replica of this.#replicas.values()) {
      this.#loadReplica(replica).catch((error: unknown) =>
        this.#options.log.error({ err: error }, 'replica did not come back'),
      );
    }
  }

  #watch() {
    const now = performance.now();
    for (const { deadline } of this.#pending.values()) {
      if (deadline < now) {
        this.#options.log.error({ pid: this.pid }, 'runner hangs: killed');
        this.#child?.kill('SIGKILL');
        return;
      }
    }
  }
}

function runnerFailed(how: string) {
  return new CommonwattError(
    'RUNNER_FAILED',
    `the process that computes this model ended (${how}) before the answer was there`,
    {
      hint: 'it is being started again; the request can be sent again',
      retryAfterS: 1,
    },
  );
}

function notReady() {
  return new CommonwattError('NOT_READY', 'the model is being loaded', {
    hint: 'send the request again in a moment',
    retryAfterS: 1,
  });
}
