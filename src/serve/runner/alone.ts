/**
 * Runners of their own for what may kill its runner: requests that were in flight when one died, and versions that
 * died while they were loaded. Few at a time, one version each, one request after another; kept for a moment for
 * the next request of the same version, then ended.
 */
import { CommonwattError } from '../../errors.ts';
import type { TensorParts } from '../../runtimes/frames.ts';
import { Copy, type CopySource } from './copy.ts';
import { type ProcessOptions, RunnerProcess } from './process.ts';
import type { Computed } from './replica.ts';

const placesAtATime = 2;
const idleMs = 3000;
const mostWaiting = 512;

interface Room {
  copy: Copy;
  process: RunnerProcess | undefined;
  loaded: boolean;
  /** The last of its requests, which come one after another. */
  turns: Promise<unknown>;
  waiting: number;
  idle: NodeJS.Timeout | undefined;
}

export interface AloneOptions extends ProcessOptions {
  onChange(): void;
}

export class Alone {
  readonly #options: AloneOptions;
  readonly #rooms = new Map<string, Room>();
  /** Who waits until a place is free. */
  readonly #queue: (() => void)[] = [];
  readonly #closing = new Set<Promise<void>>();
  #places = placesAtATime;
  #waiting = 0;
  #stopping = false;

  constructor(options: AloneOptions) {
    this.#options = options;
  }

  /** Its processes, for those who watch what the house computes. */
  *running(): Generator<{ process: RunnerProcess; copy: Copy }> {
    for (const { process, copy } of this.#rooms.values()) if (process?.alive) yield { process, copy };
  }

  pidOf(versionId: string): number | undefined {
    const process = this.#rooms.get(versionId)?.process;
    return process?.alive ? process.pid : undefined;
  }

  /** `admit` is asked when its turn has come. Throws what that throws, INVALID_TENSOR, OVERLOADED or RunnerDied. */
  run(source: CopySource, inputs: readonly TensorParts[], admit: () => void): Promise<Computed> {
    return this.#inTurn(source, admit, ({ copy }, process) => copy.run(process, inputs));
  }

  /** Loads a version and lets it go. Throws CORRUPT_MODEL, INVALID_CONFIG, OVERLOADED or RunnerDied. */
  tryLoad(source: CopySource): Promise<void> {
    return this.#inTurn(
      source,
      () => {},
      async () => {},
    );
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    for (const start of this.#queue.splice(0)) start();
    const rooms = [...this.#rooms.values()];
    await Promise.all(rooms.map(({ turns }) => turns));
    for (const room of this.#rooms.values()) this.#close(room);
    await Promise.all(this.#closing);
  }

  async #inTurn<T>(
    source: CopySource,
    admit: () => void,
    compute: (room: Room, process: RunnerProcess) => Promise<T>,
  ): Promise<T> {
    if (this.#waiting >= mostWaiting || this.#stopping) throw tooMany(this.#waiting);
    const room = this.#roomOf(source);
    clearTimeout(room.idle);
    this.#waiting++;
    room.waiting++;
    const turn = room.turns.then(async () => {
      admit();
      return compute(room, await this.#open(room));
    });
    room.turns = turn.catch(() => {});
    try {
      return await turn;
    } finally {
      this.#waiting--;
      if (--room.waiting === 0) this.#leave(room);
    }
  }

  #roomOf(source: CopySource): Room {
    let room = this.#rooms.get(source.versionId);
    if (!room) {
      const copy = new Copy({ ...source, threads: 1 });
      room = {
        copy,
        process: undefined,
        loaded: false,
        turns: Promise.resolve(),
        waiting: 0,
        idle: undefined,
      };
      this.#rooms.set(source.versionId, room);
    }
    return room;
  }

  async #open(room: Room): Promise<RunnerProcess> {
    if (room.process?.alive && room.loaded) return room.process;
    if (!room.process) await this.#place();
    room.loaded = false;
    const bytes = await room.copy.source.bytes();
    if (!room.process?.alive) room.process = this.#start();
    const { process } = room;
    await room.copy.loadInto(process, bytes);
    room.loaded = true;
    return process;
  }

  #start(): RunnerProcess {
    const process = new RunnerProcess(this.#options);
    this.#options.onChange();
    void process.exited.then(() => this.#options.onChange());
    return process;
  }

  /** Waits for one of the places; a room that nobody uses gives its up. */
  async #place(): Promise<void> {
    if (this.#places > 0) {
      this.#places--;
      return;
    }
    const unused = [...this.#rooms.values()].find(({ waiting, process }) => waiting === 0 && process);
    if (unused) this.#close(unused);
    await new Promise<void>((resolve) => this.#queue.push(resolve));
    if (this.#stopping) throw tooMany(this.#waiting);
  }

  /** The last request of a room is answered. */
  #leave(room: Room) {
    const keep = room.process?.alive === true && this.#queue.length === 0 && !this.#stopping;
    if (keep) room.idle = setTimeout(() => this.#close(room), idleMs).unref();
    else this.#close(room);
  }

  #close(room: Room) {
    clearTimeout(room.idle);
    this.#rooms.delete(room.copy.source.versionId);
    const { process } = room;
    if (!process) return;
    const closing = process.end().then(() => {
      this.#closing.delete(closing);
      const next = this.#queue.shift();
      if (next) next();
      else this.#places++;
    });
    this.#closing.add(closing);
  }
}

function tooMany(waiting: number): CommonwattError {
  return new CommonwattError(
    'OVERLOADED',
    `${waiting} requests wait for a runner of their own after crashes`,
    { hint: 'send it again later', retryAfterS: 5 },
  );
}
