/**
 * One runner process from its start to its end, seen from the gateway: sends it calls, matches the answers, and
 * watches that it makes progress and stays within its memory. It is never started again; a `Runner` starts another.
 *
 * The process computes in order of arrival, so when it dies, the oldest call without an answer is the one that it
 * was computing: only that one is to blame (`RunnerDied.blamed`), the others may be sent again.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
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
import { endingWithUs } from './orphan.ts';
import { type Computed, NotComputable } from './replica.ts';
import { residentBytesOf } from './resident.ts';

/** A TypeScript child cannot be started on Node 20: from the sources (tests), the built runner is used. */
const entry = fileURLToPath(
  import.meta.url.endsWith('.ts')
    ? new URL('../../../dist/serve/runner/main.js', import.meta.url)
    : new URL('./main.js', import.meta.url),
);
/** What the runtimes need of the environment; no secret of the gateway's is handed on. */
const inherited = ['PATH', 'HOME', 'TMPDIR', 'SystemRoot', 'LD_LIBRARY_PATH', 'CUDA_VISIBLE_DEVICES'];
/**
 * glibc gives blocks of 1 MiB and more back as soon as they are free. Left to itself it raises that bound to 32 MiB,
 * and a model of 100 MB that was loaded and unloaded four times leaves 200 to 400 MB behind instead of 86 (seen).
 * Elsewhere it means nothing.
 */
const allocation = { MALLOC_MMAP_THRESHOLD_: String(2 ** 20) };
/** An answer larger than this is a fault of the runner. */
const maxResultBytes = 1024 * 1024 * 1024;
/** A small heap: tensors are outside of it. Memory that loading took is given back when the runner asks. */
const nodeOptions = ['--max-semi-space-size=2', '--expose-gc'];
const watchMs = 100;
/** Without a call to compute, a living process answers a ping within this time. */
const stuckMs = 10_000;
const pingMs = 2000;
const lastWordsMs = 500;
const leastLoadMs = 30_000;

export interface RunnerLog {
  info(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface ProcessOptions {
  log: RunnerLog;
  hangMs: number;
  memoryLimitBytes: number;
}

/**
 * outside: by a signal that no fault sends and the gateway did not. unstarted: before it could do anything.
 * ended: not needed any more.
 */
type Death = 'crash' | 'hang' | 'memory' | 'broken' | 'outside' | 'unstarted' | 'ended';

/** The process ended before the answer was there. */
export class RunnerDied extends Error {
  override readonly name = 'RunnerDied';
  readonly kind: Death;
  /** This call was being computed. */
  readonly blamed: boolean;

  constructor(how: string, kind: Death, blamed: boolean) {
    super(how);
    this.kind = kind;
    this.blamed = blamed;
  }
}

/** Since its start, and for how long it has been at its present call. */
export interface RunnerTimes {
  /** Loading and unloading. */
  loadingMs: number;
  /** Computing, warm-ups included, of what it has answered. */
  answeredMs: number;
  underWayMs: number;
}

interface Call {
  limitMs: number;
  answer(frame: Frame): void;
  reject(error: Error): void;
}

export class RunnerProcess {
  readonly #options: ProcessOptions;
  readonly #child: ChildProcess;
  readonly #socket: Duplex;
  readonly #calls = new Map<number, Call>();
  readonly #watch: NodeJS.Timeout;
  #nextId = 1;
  /** When the oldest call began to be computed, as far as answers tell. */
  #progressAt = 0;
  #pingedAt = 0;
  #unansweredPing = false;
  #watchedAt = performance.now();
  /** Why the gateway ended it. */
  #ending: { kind: Death; reason: string } | undefined;
  /** Who waits until every call is answered. */
  readonly #draining: (() => void)[] = [];
  readonly exited: Promise<string>;
  alive = true;
  /** It has said that it is there. */
  #up = false;
  residentBytes = 0;
  /** Of loading and unloading, and of all that it computed and told, since its start, ms. */
  #loadingMs = 0;
  #answeredMs = 0;
  /** What it has computed since its start, ns, as it told itself when it was last asked. */
  computedNs = 0;

  constructor(options: ProcessOptions) {
    this.#options = options;
    const env = { ...Object.fromEntries(inherited.map((name) => [name, process.env[name]])), ...allocation };
    // What native code prints must not get between the lines of a command's own output.
    const stdio = ['ignore', 2, 2, 'pipe'] as const;
    const [command, args] = endingWithUs(process.execPath, [...nodeOptions, entry]);
    this.#child = spawn(command, args, { stdio: [...stdio], env });
    const socket = this.#child.stdio[3];
    if (!(socket instanceof Duplex)) throw new TypeError('the runner has no socket');
    this.#socket = socket;
    const reader = new FrameReader((frame) => this.#answer(frame), maxResultBytes);
    socket.on('data', (chunk: Buffer) => this.#guard(() => reader.push(chunk)));
    socket.on('error', () => {});
    const closed = new Promise<void>((resolve) => socket.on('close', resolve));
    // A runner that closes its socket and lives on would never answer again.
    void closed.then(() =>
      setTimeout(() => this.#kill('broken', 'it closed its connection'), lastWordsMs).unref(),
    );
    const exit = new Promise<{ how: string; signal: NodeJS.Signals | null }>((resolve) => {
      this.#child.on('error', ({ message }) => resolve({ how: message, signal: null }));
      this.#child.on('exit', (code, signal) =>
        resolve({ how: signal ? `signal ${signal}` : `exit code ${code}`, signal }),
      );
    });
    this.exited = exit.then(async ({ how, signal }) => {
      this.alive = false;
      // Answers that it had given may still be on their way.
      await Promise.race([closed, sleep(lastWordsMs)]);
      return this.#died(how, signal);
    });
    this.#watch = setInterval(() => this.#look(), watchMs).unref();
    options.log.info({ pid: this.pid }, 'runner started');
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get times(): RunnerTimes {
    const underWayMs = this.#calls.size > 0 ? Math.max(0, performance.now() - this.#progressAt) : 0;
    return { loadingMs: this.#loadingMs, answeredMs: this.#answeredMs, underWayMs };
  }

  /** Calls without an answer. */
  get busy(): number {
    return this.#calls.size;
  }

  /** Returns what memory the process grew by. Throws CORRUPT_MODEL, INVALID_CONFIG or RunnerDied. */
  async load(
    replica: number,
    bytes: Uint8Array,
    options: { threads: number; executionProviders: readonly string[] },
  ): Promise<number> {
    const before = residentBytesOf(this.pid) ?? this.residentBytes;
    // The process may only just have been started, and a large model takes long to read and optimise.
    const limitMs = Math.max(leastLoadMs, this.#options.hangMs) + bytes.byteLength / 10_000;
    const frame = await this.#loading(limitMs, (id) => {
      this.#socket.write(loadHead(id, replica, options, bytes.byteLength));
      this.#socket.write(bytes);
    });
    if (frame.kind === frameKinds.failed) throw notLoadable(frame);
    this.residentBytes = frame.number;
    return Math.max(0, frame.number - before);
  }

  async unload(replica: number): Promise<void> {
    const frame = await this.#loading(this.#options.hangMs, (id) =>
      this.#socket.write(frameHead(frameKinds.unload, id, replica, 0, 0)),
    );
    if (frame.kind === frameKinds.unloaded) this.residentBytes = frame.number;
  }

  /** Throws INVALID_TENSOR (the model cannot compute these inputs) or RunnerDied. */
  run(replica: number, inputs: readonly TensorParts[]): Promise<Computed> {
    return new Promise((resolve, reject) => {
      const answer = (frame: Frame) => {
        if (frame.kind !== frameKinds.result) {
          this.#answeredMs += frame.number / 1e6;
          reject(notComputable(frame, this.pid));
          return;
        }
        const result = readResult(frame);
        this.#answeredMs += result.computeNs / 1e6;
        resolve({ ...result, runnerPid: this.pid });
      };
      this.#send({ limitMs: this.#options.hangMs, answer, reject }, (id) =>
        this.#socket.write(runFrame(id, replica, inputs)),
      );
    });
  }

  /** Waits for the answers under way, then ends the process. */
  async end(): Promise<void> {
    if (this.#calls.size > 0) await new Promise<void>((resolve) => this.#draining.push(resolve));
    if (!this.alive) return;
    this.#ending = { kind: 'ended', reason: 'it was not needed any more' };
    this.#socket.end();
    const kill = setTimeout(() => this.#child.kill('SIGKILL'), 2000);
    await this.exited;
    clearTimeout(kill);
  }

  get endedOnPurpose(): boolean {
    return this.#ending?.kind === 'ended';
  }

  /** Ends it at once; what is in flight is lost, for this reason. */
  #kill(kind: Death, reason: string) {
    if (!this.alive) return;
    this.#ending ??= { kind, reason };
    this.#child.kill('SIGKILL');
  }

  #loading(limitMs: number, write: (id: number) => void): Promise<Frame> {
    return new Promise((resolve, reject) => {
      const answer = (frame: Frame) => {
        this.#loadingMs += performance.now() - this.#progressAt;
        resolve(frame);
      };
      this.#send({ limitMs, answer, reject }, write);
    });
  }

  #send(call: Call, write: (id: number) => void) {
    if (!this.alive) {
      call.reject(new RunnerDied('it had ended', 'crash', false));
      return;
    }
    const id = this.#nextId;
    this.#nextId = id === 0xffffffff ? 1 : id + 1;
    if (this.#calls.size === 0) this.#progressAt = performance.now();
    this.#calls.set(id, call);
    try {
      write(id);
    } catch (error) {
      this.#calls.delete(id);
      call.reject(error as Error);
    }
  }

  #answer(frame: Frame) {
    if (frame.kind === frameKinds.alive) {
      this.#unansweredPing = false;
      if (frame.payload.length === 8) this.computedNs = frame.payload.readDoubleLE(0);
      // One that is too large before it could do anything has not been started: no model is to blame.
      if (this.#mayHold(frame.number)) this.#up = true;
      return;
    }
    const call = this.#calls.get(frame.id);
    if (!call) throw new RangeError(`an answer to nothing (${frame.id})`);
    call.answer(frame);
    this.#calls.delete(frame.id);
    this.#progressAt = performance.now();
    if (this.#calls.size === 0) this.#drained();
  }

  #drained() {
    for (const resolve of this.#draining.splice(0)) resolve();
  }

  /** What a runner sends is not to be trusted once its memory may be damaged. */
  #guard(read: () => void) {
    try {
      read();
    } catch (error) {
      this.#kill('broken', `it sent a broken frame: ${(error as Error).message}`);
    }
  }

  /** False: so much is beyond its limit, and it is being ended for it. */
  #mayHold(residentBytes: number): boolean {
    this.residentBytes = residentBytes;
    const { memoryLimitBytes } = this.#options;
    if (residentBytes <= memoryLimitBytes) return true;
    const limit = megabytes(memoryLimitBytes);
    this.#kill('memory', `it grew to ${megabytes(residentBytes)} of memory; its limit is ${limit}`);
    return false;
  }

  #look() {
    const now = performance.now();
    // The gateway itself was stopped or starved: the runner had no chance to answer meanwhile.
    const asleep = now - this.#watchedAt > 20 * watchMs ? now - this.#watchedAt : 0;
    this.#watchedAt = now;
    this.#progressAt += asleep;
    this.#pingedAt += asleep;
    if (!this.#mayHold(residentBytesOf(this.pid) ?? this.residentBytes)) return;
    const [oldest] = this.#calls.values();
    if (oldest) {
      if (now - this.#progressAt > oldest.limitMs)
        this.#kill('hang', `it computed for more than ${(oldest.limitMs / 1000).toFixed(1)} s`);
    } else if (this.#unansweredPing) {
      if (now - this.#pingedAt > stuckMs) this.#kill('hang', 'it did not respond');
    } else if (now - this.#pingedAt > pingMs) {
      this.#pingedAt = now;
      this.#unansweredPing = true;
      this.#socket.write(frameHead(frameKinds.ping, 0, 0, 0, 0));
    }
    if (oldest) this.#pingedAt = now;
  }

  #died(how: string, signal: NodeJS.Signals | null): string {
    clearInterval(this.#watch);
    const { reason, kind } = this.#cause(how, signal);
    const lost = [...this.#calls.values()];
    this.#calls.clear();
    this.#socket.destroy();
    lost.forEach((call, index) => {
      call.reject(new RunnerDied(reason, kind, index === 0 && kind !== 'unstarted'));
    });
    this.#drained();
    return reason;
  }

  #cause(how: string, signal: NodeJS.Signals | null): { reason: string; kind: Death } {
    const { reason, kind } = this.#ending ?? { reason: how, kind: undefined };
    if (!this.#up && kind !== 'ended')
      return { reason: `it could not be started: ${reason}`, kind: 'unstarted' };
    if (kind) return { reason, kind };
    return { reason, kind: signal !== null && outside.has(signal) ? 'outside' : 'crash' };
  }
}

/** Signals of operators and of the kernel's memory killer, which takes whoever is large. */
const outside = new Set<NodeJS.Signals>(['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT']);

function notLoadable({ payload, number }: Frame): CommonwattError {
  const message = payload.toString();
  return number === 1
    ? new CommonwattError('INVALID_CONFIG', message, { hint: 'deploy it with --execution-providers cpu' })
    : new CommonwattError('CORRUPT_MODEL', `the runtime cannot load this model: ${message}`, {
        hint: 'check the model with `onnx.checker` and import it again',
      });
}

function notComputable({ payload, number: computeNs }: Frame, runnerPid: number): NotComputable {
  const message = `the model could not compute this input: ${payload.toString()}`;
  return new NotComputable(message, { computeNs, runnerPid });
}

export function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1e6)} MB`;
}
