/** Files that commands read and write. */
import { randomUUID } from 'node:crypto';
import { createWriteStream, openAsBlob } from 'node:fs';
import { access, constants, open, rename, rm } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { WrongUse } from './failure.ts';

export function fileProblem(file: string, error: unknown): WrongUse {
  const why = error instanceof Error && 'code' in error && error.code === 'ENOENT' ? 'does not exist' : '';
  return new WrongUse(
    `${file} ${why || `cannot be read: ${error instanceof Error ? error.message : error}`}`,
    'name a file that exists and that you may read',
  );
}

/** A file to send, read while it is sent. */
export async function openFile(file: string): Promise<Blob> {
  try {
    await access(file, constants.R_OK);
    return await openAsBlob(file);
  } catch (error) {
    throw fileProblem(file, error);
  }
}

/** Streams into a file that is there whole or not at all. Returns how many bytes it has. */
export async function saveStream(stream: ReadableStream<Uint8Array>, file: string): Promise<number> {
  const next = `${file}.${randomUUID()}.part`;
  try {
    await pipeline(Readable.from(chunks(stream)), createWriteStream(next, { flags: 'wx' }));
    const handle = await open(next, 'r+');
    const { size } = await handle.stat();
    await handle.sync();
    await handle.close();
    await rename(next, file);
    return size;
  } finally {
    await rm(next, { force: true });
  }
}

async function* chunks(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel();
  }
}
