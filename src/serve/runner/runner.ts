/**
 * A place for one runner process at a time: starts it when there is something to hold, starts another with back-off
 * when it dies and loads its copies again (those in use first, suspects last), and replaces it without a pause.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { CommonwattError } from '../../errors.ts';
import type { Copy } from './copy.ts';
import { megabytes, type ProcessOptions, RunnerDied, RunnerProcess } from './process.ts';

export type { RunnerLog } from './process.ts';

export interface RunnerOptions extends ProcessOptions {
  /** A process or a copy came, went or changed. */
  onChange(): void;
  /** The process died while it loaded this copy. */
  onDiedLoading(copy: Copy, died: RunnerDied): void;
  /** Its version has to be tried elsewhere (`tryFirst`, which throws when it cannot be loaded) before it is loaded here. */
  isSuspect(copy: Copy): boolean;
  tryFirst(copy: Copy): Promise<void>;
}

const firstDelayMs = 50;
const longestDelayMs = 10_000;
const retryMs = 5000;
/** A process that holds nothing is ended after this time, which gives all of its memory back. */
const emptyMs = 60_000;

export class Runner {
  readonly copies = new Set<Copy>();
  readonly #options: RunnerOptions;
  #process: RunnerProcess | undefined;
  #failures = 0;
  readonly #stopping = new AbortController();
  #turns: Promise<unknown> = Promise.resolve();
  #emptyTimer: NodeJS.Timeout | undefined;
  /** Processes that died here. */
  deaths = 0;

  constructor(options: RunnerOptions) {
    this.#options = options;
  }

  get process(): RunnerProcess | undefined {
    return this.#process;
  }

  get heldBytes(): number {
    let bytes = 0;
    for (const { memoryBytes } of this.copies) bytes += memoryBytes;
    return bytes;
  }

  /** Loads a copy and keeps it. Throws CORRUPT_MODEL, INVALID_CONFIG, PAYLOAD_TOO_LARGE, OVERLOADED or RunnerDied. */
  add(copy: Copy): Promise<void> {
    clearTimeout(this.#emptyTimer);
    return this.#exclusively(async () => {
      await this.#load(copy, this.#running());
      this.copies.add(copy);
      this.#options.onChange();
    });
  }

  remove(copy: Copy): Promise<void> {
    this.copies.delete(copy);
    return this.#exclusively(async () => {
      const { process } = copy;
      copy.process = undefined;
      if (process?.alive) await process.unload(copy.id).catch(ignoreDeath);
      if (this.copies.size === 0) this.#emptyTimer = setTimeout(() => this.#endIfEmpty(), emptyMs).unref();
      this.#options.onChange();
    });
  }

  /** Something was computed: the process works. */
  worked(): void {
    this.#failures = 0;
  }

  /** Starts and loads a new process first, moves the traffic, lets the old one finish. Throws when that fails. */
  replace(): Promise<void> {
    return this.#exclusively(async () => {
      const old = this.#process;
      if (!old?.alive) return;
      const next = this.#start();
      try {
        for (const copy of this.copies) await copy.loadInto(next, await copy.source.bytes());
      } catch (error) {
        await next.end();
        throw error;
      }
      this.#process = next;
      for (const copy of this.copies) copy.process = next;
      this.#options.onChange();
      await old.end();
      this.#options.onChange();
    });
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    clearTimeout(this.#emptyTimer);
    await this.#process?.end();
    await this.#turns;
    await this.#process?.end();
  }

  async #load(copy: Copy, process: RunnerProcess): Promise<void> {
    const bytes = await copy.source.bytes();
    checkRoom(copy, bytes.byteLength, process.residentBytes, this.#options.memoryLimitBytes);
    try {
      await copy.loadInto(process, bytes);
    } catch (error) {
      if (error instanceof RunnerDied && error.blamed) this.#options.onDiedLoading(copy, error);
      throw error;
    }
    copy.failure = undefined;
    if (process.alive) copy.process = process;
  }

  #running(): RunnerProcess {
    if (this.#stopping.signal.aborted)
      throw new CommonwattError('NOT_READY', 'the server is being stopped', { retryAfterS: 1 });
    if (!this.#process?.alive) this.#process = this.#start();
    return this.#process;
  }

  #start(): RunnerProcess {
    const process = new RunnerProcess(this.#options);
    void process.exited.then((how) => this.#ended(process, how));
    this.#options.onChange();
    return process;
  }

  #ended(process: RunnerProcess, how: string) {
    for (const copy of this.copies) if (copy.process === process) copy.process = undefined;
    if (this.#process !== process) return;
    this.#process = undefined;
    if (process.endedOnPurpose || this.#stopping.signal.aborted) return;
    this.deaths++;
    const delayMs = this.#failures === 0 ? 0 : Math.min(longestDelayMs, firstDelayMs * 2 ** this.#failures);
    this.#failures++;
    this.#options.log.error({ pid: process.pid, how, restartInMs: delayMs }, 'runner died');
    this.#options.onChange();
    void this.#exclusively(() => this.#reload(delayMs)).catch(() => {});
  }

  async #reload(delayMs: number): Promise<void> {
    await sleep(delayMs, undefined, { signal: this.#stopping.signal });
    const missing = [...this.copies].filter(({ ready }) => !ready);
    missing.sort((a, b) => b.lastUsedAt - a.lastUsedAt);
    for (const copy of missing) {
      // What must be tried elsewhere first holds up nobody.
      if (this.#options.isSuspect(copy)) void this.#bringBack(copy);
      else if (!(await this.#loadAgain(copy))) return;
    }
  }

  async #bringBack(copy: Copy): Promise<void> {
    const tried = await this.#options.tryFirst(copy).then(
      () => true,
      () => false,
    );
    // When it died there, too, it is quarantined, or tried again later.
    if (!tried) this.#retryLater(copy);
    else await this.#exclusively(() => this.#loadAgain(copy)).catch(() => {});
  }

  /** False when the process died meanwhile: its end has put another reload in the queue. */
  async #loadAgain(copy: Copy): Promise<boolean> {
    if (!this.copies.has(copy) || copy.ready) return true;
    try {
      await this.#load(copy, this.#running());
    } catch (error) {
      if (error instanceof RunnerDied) return false;
      copy.failure = error as Error;
      this.#options.log.error({ err: error, model: copy.source.name }, 'model did not come back');
      this.#retryLater(copy);
    }
    this.#options.onChange();
    return true;
  }

  #retryLater(copy: Copy) {
    sleep(retryMs, undefined, { signal: this.#stopping.signal, ref: false }).then(
      () => {
        if (this.copies.has(copy) && !copy.ready) return this.#bringBack(copy);
      },
      () => {},
    );
  }

  #endIfEmpty() {
    void this.#exclusively(async () => {
      if (this.copies.size > 0) return;
      await this.#process?.end();
      this.#options.onChange();
    });
  }

  /** Loading, unloading and replacing happen one after another. */
  #exclusively<T>(task: () => Promise<T>): Promise<T> {
    const turn = this.#turns.then(task);
    this.#turns = turn.catch(() => {});
    return turn;
  }
}

function checkRoom(copy: Copy, modelBytes: number, residentBytes: number, limitBytes: number) {
  const { name } = copy.source;
  const runnerLimit = `a runner may grow to ${megabytes(limitBytes)}`;
  if (modelBytes > limitBytes)
    throw new CommonwattError('PAYLOAD_TOO_LARGE', `${name} has ${megabytes(modelBytes)}; ${runnerLimit}`, {
      hint: 'raise the memory limit of runners, or deploy a smaller model',
    });
  if (residentBytes + modelBytes > limitBytes)
    throw new CommonwattError(
      'OVERLOADED',
      `${name} has ${megabytes(modelBytes)} and its runner holds ${megabytes(residentBytes)} already; ${runnerLimit}`,
      { hint: 'remove a deployment, let idle ones unload, or raise the memory limit of runners' },
    );
}

function ignoreDeath(error: unknown) {
  if (!(error instanceof RunnerDied)) throw error;
}
