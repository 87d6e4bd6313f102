/**
 * The spool: ledger lines on disk before the answers leave. One segment (a file) for each interval, one plain write
 * for each batch, synced when the interval closes, deleted when it is settled in the database. Lines survive
 * kill -9; a power cut may cost the last second of them.
 */
import {
  closeSync,
  fdatasync,
  fdatasyncSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { CommonwattError } from '../errors.ts';

const suffix = '.ndjson';
/** A segment that is being written anew; it counts for nothing until it has its name. */
const unfinished = '.new';
const sync = promisify(fdatasync);

/** What the spool needs of the file system; tests put a full or failing disk here. */
export interface SpoolDisk {
  write(fd: number, text: string): number;
  sync(fd: number): Promise<void>;
}

const realDisk: SpoolDisk = { write: (fd, text) => writeSync(fd, text), sync };

export interface Segment {
  readonly id: string;
  readonly file: string;
  fd: number;
  /** What was acknowledged, until it is synced: a segment that failed is written anew from it. */
  texts: string[];
}

export class Spool {
  readonly #folder: string;
  readonly #disk: SpoolDisk;
  readonly #damaged = new Set<Segment>();
  readonly #syncing = new Map<Segment, Promise<boolean>>();
  #open: Segment | undefined;
  #flushing: Promise<void> | undefined;
  #failure: CommonwattError | undefined;

  constructor(dataFolder: string, disk: SpoolDisk = realDisk) {
    this.#folder = join(dataFolder, 'spool');
    this.#disk = disk;
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
  }

  /** Set after a write or sync failed: nothing is acknowledged until `repair` has succeeded. */
  get failure(): CommonwattError | undefined {
    return this.#failure;
  }

  /** True once the interval has a segment; its first write must begin with the segment's start. */
  isOpen(): boolean {
    return this.#open !== undefined;
  }

  /** Appends whole lines to the segment of this interval. Throws STORE_FAILED; then nothing was acknowledged. */
  append(id: string, text: string): void {
    if (this.#failure) throw this.#failure;
    try {
      this.#open ??= this.#create(id);
      this.#write(this.#open.fd, text);
      this.#open.texts.push(text);
    } catch (cause) {
      throw this.#fail(cause, this.#open);
    }
  }

  /** Syncs what the open segment has so far, when its interval is a long one. */
  flush(): void {
    const segment = this.#open;
    if (!segment || this.#flushing || this.#damaged.has(segment)) return;
    this.#flushing = this.#disk
      .sync(segment.fd)
      .catch((cause: unknown) => void this.#fail(cause, segment))
      .finally(() => {
        this.#flushing = undefined;
      });
  }

  /** Ends the segment of the interval, if it has one. */
  rotate(): Segment | undefined {
    const segment = this.#open;
    this.#open = undefined;
    return segment;
  }

  /**
   * Ends a segment with what was metered in its interval, so that a server that is killed before it settles finds
   * the meter's own joules again. Not promised: without it the lines are booked at the figures of their answers.
   */
  conclude(segment: Segment, interval: object): void {
    if (this.#damaged.has(segment) || segment.fd === closed) return;
    const text = `${JSON.stringify({ interval })}\n`;
    try {
      this.#write(segment.fd, text);
      segment.texts.push(text);
    } catch {
      // A torn last line counts for nothing; the next sync or write tells that the disk fails.
    }
  }

  /** Syncs an ended segment. Gives false when it could not be, now or before: then it waits for `repair`. */
  sync(segment: Segment): Promise<boolean> {
    const syncing = this.#syncing.get(segment);
    if (syncing) return syncing;
    const started = this.#sync(segment).finally(() => this.#syncing.delete(segment));
    this.#syncing.set(segment, started);
    return started;
  }

  async #sync(segment: Segment): Promise<boolean> {
    // It would otherwise lose its file in the middle.
    await this.#flushing;
    if (this.#damaged.has(segment)) return false;
    if (segment.fd === closed) return true;
    try {
      await this.#disk.sync(segment.fd);
    } catch (cause) {
      this.#fail(cause, segment);
      return false;
    }
    this.#synced(segment);
    return true;
  }

  /**
   * Writes what was acknowledged of each damaged segment to a new file, syncs it, reads it back, and puts it in the
   * place of the old one in one step, so that a crash finds either of them and never both. Returns whether lines
   * are taken again.
   */
  repair(): boolean {
    try {
      for (const segment of this.#damaged) {
        this.#rewrite(segment);
        this.#damaged.delete(segment);
      }
    } catch {
      return false;
    }
    this.#failure = undefined;
    return true;
  }

  remove(segment: Segment): void {
    close(segment);
    this.removeFile(segment.file);
  }

  /** Segments a process left behind, oldest first. */
  leftovers(): { id: string; file: string }[] {
    const names = readdirSync(this.#folder).sort();
    for (const name of names) if (name.endsWith(unfinished)) this.removeFile(join(this.#folder, name));
    return names
      .filter((name) => name.endsWith(suffix))
      .map((name) => ({ id: name.slice(0, -suffix.length), file: join(this.#folder, name) }));
  }

  removeFile(file: string): void {
    rmSync(file, { force: true });
  }

  #create(id: string): Segment {
    const file = join(this.#folder, `${id}${suffix}`);
    return { id, file, fd: openSync(file, 'wx', 0o600), texts: [] };
  }

  #write(fd: number, text: string): void {
    const expected = Buffer.byteLength(text);
    if (this.#disk.write(fd, text) !== expected) throw new Error('the disk took only a part of the lines');
  }

  #rewrite(segment: Segment): void {
    const text = segment.texts.join('');
    if (text === '') {
      // Nothing of it was ever acknowledged.
      if (this.#open === segment) this.#open = undefined;
      this.remove(segment);
      return;
    }
    const file = `${segment.file}${unfinished}`;
    this.removeFile(file);
    const fd = openSync(file, 'ax', 0o600);
    try {
      this.#write(fd, text);
      fdatasyncSync(fd);
      if (readFileSync(file, 'utf8') !== text) throw new Error('the spool reads back other than written');
      renameSync(file, segment.file);
      this.#syncFolder();
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    close(segment);
    segment.fd = fd;
    if (this.#open !== segment) this.#synced(segment);
  }

  #synced(segment: Segment): void {
    segment.texts = [];
    close(segment);
  }

  #syncFolder(): void {
    const fd = openSync(this.#folder, 'r');
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  }

  #fail(cause: unknown, segment: Segment | undefined): CommonwattError {
    if (segment) this.#damaged.add(segment);
    this.#failure ??= new CommonwattError(
      'STORE_FAILED',
      `the ledger cannot be written: ${cause instanceof Error ? cause.message : String(cause)}`,
      {
        where: this.#folder,
        hint: 'free or repair the disk of the data folder; the server goes on by itself when it can write again',
        retryAfterS: 2,
        cause,
      },
    );
    return this.#failure;
  }
}

const closed = -1;

function close(segment: Segment): void {
  if (segment.fd === closed) return;
  try {
    closeSync(segment.fd);
  } catch {
    // The disk is failing: the file is what matters.
  }
  segment.fd = closed;
}

export interface SegmentContent {
  values: unknown[];
  broken: number;
  /** What `conclude` wrote; undefined when the server ended before. */
  interval: unknown;
}

/** The whole JSON lines of a segment. A torn last line was never acknowledged; any other broken line is counted. */
export function readSegment(file: string): SegmentContent {
  const lines = readFileSync(file, 'utf8').split('\n');
  const content: SegmentContent = { values: [], broken: 0, interval: undefined };
  for (const [index, line] of lines.entries()) {
    if (line === '') continue;
    try {
      const value: unknown = JSON.parse(line);
      if (isConclusion(value)) content.interval = value.interval;
      else content.values.push(value);
    } catch {
      if (index < lines.length - 1) content.broken++;
    }
  }
  return content;
}

function isConclusion(value: unknown): value is { interval: unknown } {
  return typeof value === 'object' && value !== null && 'interval' in value;
}
