/**
 * Blobs: encrypted bytes under opaque names, on local disk. Names are random ids and never a hash of the content,
 * so that nobody learns from a name, or from a quick answer, what another organisation stores.
 */
import type { Dirent } from 'node:fs';
import { access, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { CommonwattError } from '../errors.ts';
import { isTemporary, makeFolder, onDisk, sweepTemporary, syncFolder, writeDurably } from './durable.ts';

export interface BlobStore {
  /**
   * Resolves when the blob survives a power cut. Throws STORE_FAILED when the disk refuses, and whatever `bytes`
   * throws; then nothing is stored.
   */
  put(name: string, bytes: AsyncIterable<Uint8Array>): Promise<void>;
  /** Throws NOT_FOUND or STORE_FAILED while it is read. */
  open(name: string): AsyncIterable<Uint8Array>;
  exists(name: string): Promise<boolean>;
  /** Does nothing when there is none. */
  delete(name: string): Promise<void>;
  names(): AsyncIterable<string>;
}

const readBytes = 1 << 20;

/**
 * Opens the store in `<data folder>/blobs` and removes what an interrupted write left. A blob lies in
 * `blobs/<first two characters>/<name>`. One process at a time (it holds the data folder).
 */
export async function openDiskBlobs(dataFolder: string): Promise<BlobStore> {
  const root = join(dataFolder, 'blobs');
  await makeFolder(root, 'the blob folder');
  for (const { name } of await foldersOf(root))
    await onDisk('the blob folder', () => sweepTemporary(join(root, name)));
  return new DiskBlobs(root);
}

class DiskBlobs implements BlobStore {
  readonly #root: string;
  /** Folders known to survive a power cut. A failed sync of one blob says nothing of another: each has its own. */
  readonly #folders = new Map<string, Promise<void>>();

  constructor(root: string) {
    this.#root = root;
  }

  async put(name: string, bytes: AsyncIterable<Uint8Array>): Promise<void> {
    const file = this.#file(name);
    await this.#folder(name);
    await writeDurably(file, bytes, 'the artifact');
  }

  async *open(name: string): AsyncGenerator<Buffer, void, undefined> {
    const file = this.#file(name);
    if (!(await this.exists(name)))
      throw new CommonwattError('NOT_FOUND', `blob ${name} does not exist`, {
        hint: 'restore the blobs folder from a backup',
      });
    const handle = await onDisk('the artifact', () => open(file, 'r'));
    try {
      for (;;) {
        const buffer = Buffer.allocUnsafe(readBytes);
        const { bytesRead } = await onDisk('the artifact', () => handle.read(buffer, 0, readBytes, null));
        if (bytesRead === 0) return;
        yield buffer.subarray(0, bytesRead);
      }
    } finally {
      await handle.close();
    }
  }

  async exists(name: string): Promise<boolean> {
    try {
      await access(this.#file(name));
      return true;
    } catch (cause) {
      if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return false;
      return onDisk('the artifact', () => Promise.reject(cause));
    }
  }

  async delete(name: string): Promise<void> {
    if (!(await this.exists(name))) return;
    await onDisk('the artifact', () => rm(this.#file(name), { force: true }));
    await syncFolder(join(this.#root, name.slice(0, 2)), 'the artifact');
  }

  async *names(): AsyncGenerator<string, void, undefined> {
    for (const folder of await foldersOf(this.#root))
      for (const name of await onDisk('the blob folder', () => readdir(join(this.#root, folder.name))))
        if (!isTemporary(name)) yield name;
  }

  #file(name: string): string {
    // Ids of our own; checked all the same, because a name becomes a path.
    if (!/^[0-9a-f]{2}[0-9a-f-]{6,62}$/.test(name))
      throw new CommonwattError('INTERNAL', `${JSON.stringify(name)} is not a blob name`);
    return join(this.#root, name.slice(0, 2), name);
  }

  #folder(name: string): Promise<void> {
    const folder = name.slice(0, 2);
    let made = this.#folders.get(folder);
    if (!made) {
      made = makeFolder(join(this.#root, folder), 'the blob folder');
      this.#folders.set(folder, made);
      made.catch(() => this.#folders.delete(folder));
    }
    return made;
  }
}

async function foldersOf(root: string): Promise<Dirent[]> {
  const entries = await onDisk('the blob folder', () => readdir(root, { withFileTypes: true }));
  return entries.filter((entry) => entry.isDirectory() && /^[0-9a-f]{2}$/.test(entry.name));
}
