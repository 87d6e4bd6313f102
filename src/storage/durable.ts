/**
 * Files that are there, whole, after a power cut. A new file is written under a temporary name, synced, renamed,
 * and its folder synced: the name appears only with all of its bytes.
 */
import { randomBytes } from 'node:crypto';
import { access, constants, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { CommonwattError } from '../errors.ts';

const temporarySuffix = '.tmp';

/**
 * Writes a file, replacing one of that name. Resolves when it survives a power cut. Throws STORE_FAILED when the
 * disk refuses (full, broken, read-only), and whatever `source` throws; either way nothing of it remains.
 * The folder must exist durably (`makeFolder`).
 */
export async function writeDurably(
  file: string,
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  what: string,
): Promise<void> {
  const temporary = `${file}.${randomBytes(8).toString('hex')}${temporarySuffix}`;
  const handle = await onDisk(what, () => open(temporary, 'wx', 0o600));
  let renamed = false;
  try {
    try {
      for await (const chunk of source) await onDisk(what, () => handle.appendFile(chunk));
      await onDisk(what, () => handle.sync());
    } finally {
      await onDisk(what, () => handle.close());
    }
    await onDisk(what, () => rename(temporary, file));
    renamed = true;
    await syncFolder(dirname(file), what);
  } catch (error) {
    // What cannot be removed now is found at the next start: by its suffix, or as a file nobody refers to.
    await rm(renamed ? file : temporary, { force: true }).catch(() => undefined);
    throw error;
  }
}

/** Makes what a folder lists survive a power cut: names that were added, renamed or removed. */
export async function syncFolder(folder: string, what: string): Promise<void> {
  await onDisk(what, async () => {
    const handle = await open(folder, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  });
}

/**
 * Makes a folder and its parents, private to their owner, durably. The parent is synced even when the folder was
 * there: whoever made it may have been killed before that.
 */
export async function makeFolder(folder: string, what: string): Promise<void> {
  const path = resolve(folder);
  const made = await onDisk(what, () => mkdir(path, { recursive: true, mode: 0o700 }));
  const top = made === undefined ? path : resolve(made);
  for (let at = path; ; at = dirname(at)) {
    await syncParent(dirname(at), what);
    if (at === top) return;
  }
}

/** A parent that is not ours may be closed to us; then its owner made what lies in it, and not we just now. */
async function syncParent(folder: string, what: string): Promise<void> {
  try {
    await access(folder, constants.R_OK);
  } catch {
    return;
  }
  await syncFolder(folder, what);
}

/** Removes what an interrupted `writeDurably` left in a folder. Only while nothing is being written there. */
export async function sweepTemporary(folder: string): Promise<number> {
  const left = (await readdir(folder)).filter(isTemporary);
  for (const name of left) await rm(join(folder, name), { force: true });
  return left.length;
}

export function isTemporary(name: string): boolean {
  return basename(name).endsWith(temporarySuffix);
}

/** Runs one operation on the disk; its failure becomes STORE_FAILED, without the machine's paths in the message. */
export async function onDisk<T>(what: string, operation: () => Promise<T>): Promise<T> {
  try {
    return await operation();
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown error';
    throw new CommonwattError(
      'STORE_FAILED',
      `${what} could not be stored or read: the disk answered ${code}`,
      {
        hint:
          code === 'ENOSPC'
            ? 'make room on the disk of the data folder and try again'
            : 'check the disk and the permissions of the data folder, then try again',
        cause,
      },
    );
  }
}
