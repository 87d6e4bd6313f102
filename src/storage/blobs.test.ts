import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type BlobStore, openDiskBlobs } from './blobs.ts';

const name = '0a1b2c3d-0000-4000-8000-000000000001';
let folder: string;
let blobs: BlobStore;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'blobs-'));
  blobs = await openDiskBlobs(folder);
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

describe('a blob on disk', () => {
  it('is stored under its name, read, listed and deleted', async () => {
    await blobs.put(name, chunks('abc', 'def'));
    expect(readFileSync(join(folder, 'blobs/0a', name), 'utf8')).toBe('abcdef');
    expect(await text(blobs.open(name))).toBe('abcdef');
    expect(await names()).toEqual([name]);
    expect(await blobs.exists(name)).toBe(true);
    await blobs.delete(name);
    await blobs.delete(name);
    expect(await blobs.exists(name)).toBe(false);
    await expect(text(blobs.open(name))).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('leaves nothing when its source fails, and says what the source said', async () => {
    async function* failing() {
      yield Buffer.from('half');
      throw new Error('the caller hung up');
    }
    await expect(blobs.put(name, failing())).rejects.toThrow('the caller hung up');
    expect(readdirSync(join(folder, 'blobs/0a'))).toEqual([]);
  });

  it('is not there when a killed server left it half written', async () => {
    await blobs.put(name, chunks('whole'));
    writeFileSync(join(folder, 'blobs/0a', `${name}.0011223344556677.tmp`), 'half');
    const again = await openDiskBlobs(folder);
    expect(readdirSync(join(folder, 'blobs/0a'))).toEqual([name]);
    expect(await text(again.open(name))).toBe('whole');
  });

  it('never becomes a path outside the store', async () => {
    for (const bad of ['../../../../etc/passwd', 'aa/../../x', '', 'AA000000', 'aa', '/etc/passwd'])
      await expect(blobs.put(bad, chunks('x')), bad).rejects.toMatchObject({ code: 'INTERNAL' });
  });
});

describe('a disk that fails', () => {
  it.each([
    ['EIO', /EIO/, /check the disk/],
    ['ENOSPC', /ENOSPC/, /make room/],
  ])(
    '%s in the sync of the file: refused, nothing left, and the next one is taken',
    async (code, message, hint) => {
      const probe = await open(folder, 'r');
      const prototype: FileHandle = Object.getPrototypeOf(probe);
      await probe.close();
      await blobs.put('0a000000', chunks('first'));
      for (const failingSync of [1, 2]) {
        // The first sync is that of the file, the second that of its folder.
        const real = prototype.sync;
        let syncs = 0;
        const spy = vi.spyOn(prototype, 'sync').mockImplementation(function (this: FileHandle) {
          syncs++;
          return syncs === failingSync
            ? Promise.reject(Object.assign(new Error('disk'), { code }))
            : real.call(this);
        });
        await expect(blobs.put(name, chunks('abc'))).rejects.toMatchObject({
          code: 'STORE_FAILED',
          message: expect.stringMatching(message),
          hint: expect.stringMatching(hint),
        });
        expect(syncs).toBe(failingSync);
        spy.mockRestore();
        expect(readdirSync(join(folder, 'blobs/0a'))).toEqual(['0a000000']);
      }
      await blobs.put(name, chunks('abc'));
      expect(await text(blobs.open(name))).toBe('abc');
    },
  );
});

async function* chunks(...parts: string[]): AsyncGenerator<Buffer> {
  for (const part of parts) yield Buffer.from(part);
}

async function text(source: AsyncIterable<Uint8Array>): Promise<string> {
  let all = '';
  for await (const chunk of source) all += Buffer.from(chunk).toString('utf8');
  return all;
}

async function names(): Promise<string[]> {
  const all: string[] = [];
  for await (const each of blobs.names()) all.push(each);
  return all;
}
