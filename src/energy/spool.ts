/**
 * The spool: ledger lines of the open interval, on disk before the answers leave. One segment (a file) for each
 * interval, one plain write for each batch, deleted when the interval is settled in the database. Lines survive
 * kill -9; a power cut may cost the last second of them.
 */
import {
  closeSync,
  fdatasync,
  fdatasyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { CommonwattError } from '../errors.ts';

const suffix = '.ndjson';
const sync = promisify(fdatasync);

/** What the spool needs of the file system; tests put a full or failing disk here. */
export interface SpoolDisk {
  write(fd: number, text: string): number;
  sync(fd: number): Promise<void>;
}

const realDisk: SpoolDisk = { write: (fd, text) => writeSync(fd, text), sync };

export interface Segment {
  id: string;
  fd: number;
  file: string;
}

export class Spool {
  readonly #folder: string;
  readonly #disk: SpoolDisk;
  #open: Segment | undefined;
  #failure: CommonwattError | undefined;

  constructor(dataFolder: string, disk: SpoolDisk = realDisk) {
    this.#folder = join(dataFolder, 'spool');
    this.#disk = disk;
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
  }

  /** Set after a write or sync failed: nothing is acknowledged until `rewrite` has succeeded. */
  get failure(): CommonwattError | undefined {
    return this.#failure;
  }

  /** True once the interval `id` has a segment; its first write must then begin with the segment's head. */
  isOpen(): boolean {
    return this.#open !== undefined;
  }

  /** Appends whole lines to the segment of this interval. Throws STORE_FAILED; then nothing was acknowledged. */
  append(id: string, text: string): void {
    if (this.#failure) throw this.#failure;
    try {
      this.#open ??= this.#create(id);
      this.#writeAll(this.#open.fd, text);
    } catch (cause) {
      throw this.#fail(cause);
    }
  }

  /** Ends the segment of the interval, if it has one. */
  rotate(): Segment | undefined {
    const segment = this.#open;
    this.#open = undefined;
    return segment;
  }

  /** Syncs a segment. After a failure the spool refuses until it has been written anew and verified. */
  async sync(segment: Segment | undefined = this.#open): Promise<void> {
    if (!segment || this.#failure) return;
    try {
      await this.#disk.sync(segment.fd);
    } catch (cause) {
      this.#fail(cause);
    }
  }

  /**
   * Writes the open interval's lines to a new segment, syncs it, reads it back and only then takes lines again.
   * Returns whether it succeeded.
   */
  rewrite(id: string, text: string): boolean {
    const failed = this.#open;
    let fresh: Segment | undefined;
    try {
      fresh = this.#create(id);
      this.#writeAll(fresh.fd, text);
      fdatasyncSync(fresh.fd);
      if (readFileSync(fresh.file, 'utf8') !== text)
        throw new Error('the spool reads back other than written');
    } catch {
      if (fresh) this.remove(fresh);
      return false;
    }
    this.#open = fresh;
    this.#failure = undefined;
    if (failed) this.remove(failed);
    return true;
  }

  remove(segment: Segment): void {
    try {
      closeSync(segment.fd);
    } catch {
      // Closed already, or the disk is failing: the file is what matters.
    }
    rmSync(segment.file, { force: true });
  }

  /** Segments a process left behind, oldest first. */
  leftovers(): { id: string; file: string }[] {
    return readdirSync(this.#folder)
      .filter((name) => name.endsWith(suffix))
      .sort()
      .map((name) => ({ id: name.slice(0, -suffix.length), file: join(this.#folder, name) }));
  }

  removeLeftover(file: string): void {
    rmSync(file, { force: true });
  }

  #create(id: string): Segment {
    const file = join(this.#folder, `${id}${suffix}`);
    return { id, file, fd: openSync(file, 'wx', 0o600) };
  }

  #writeAll(fd: number, text: string): void {
    const expected = Buffer.byteLength(text);
    if (this.#disk.write(fd, text) !== expected) throw new Error('the disk took only a part of the lines');
  }

  #fail(cause: unknown): CommonwattError {
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

/** The whole JSON lines of a segment. A torn last line was never acknowledged; any other broken line is counted. */
export function readSegment(file: string): { values: unknown[]; broken: number } {
  const lines = readFileSync(file, 'utf8').split('\n');
  const values: unknown[] = [];
  let broken = 0;
  for (const [index, line] of lines.entries()) {
    if (line === '') continue;
    try {
      values.push(JSON.parse(line));
    } catch {
      if (index < lines.length - 1) broken++;
    }
  }
  return { values, broken };
}
