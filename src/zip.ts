/**
 * Zip archives, within bounds: entries are found by the central directory, nothing is written to disk, names cannot
 * leave the archive, every entry is checked against its CRC, and no more is inflated than was announced and allowed.
 */
import { crc32, inflateRawSync } from 'node:zlib';
import { CommonwattError } from './errors.ts';

export interface ZipLimits {
  maxEntries: number;
  /** Of all entries together, inflated. */
  maxBytes: number;
}

export type ZipFiles = Map<string, ZipFile>;

interface ZipFile {
  /** Inflated. */
  sizeBytes: number;
  /** A view of the archive where the entry is stored as it is. Throws CORRUPT_MODEL. */
  read(): Uint8Array;
}

const sizes = { local: 30, central: 46, end: 22 };
const signatures = { local: 0x04034b50, central: 0x02014b50, end: 0x06054b50 };

/** By name, folders left out. Throws CORRUPT_MODEL, UNSAFE_MODEL. */
export function readZip(archive: Uint8Array, limits: ZipLimits): ZipFiles {
  const bytes = Buffer.from(archive.buffer, archive.byteOffset, archive.byteLength);
  const end = endOfDirectory(bytes);
  const count = bytes.readUInt16LE(end + 10);
  let at = bytes.readUInt32LE(end + 16);
  if (count === 0xffff || at === 0xffffffff)
    throw damaged('it is a Zip64 archive', end, 'pack less than 4 GiB and 65,535 files');
  if (count > limits.maxEntries) throw bomb(`it has ${count} entries; at most ${limits.maxEntries} are read`);
  const files: ZipFiles = new Map();
  let total = 0;
  for (let index = 0; index < count; index++) {
    if (at + sizes.central > end || bytes.readUInt32LE(at) !== signatures.central)
      throw damaged('its directory is cut off', at);
    const nameBytes = bytes.readUInt16LE(at + 28);
    const next = at + sizes.central + nameBytes + bytes.readUInt16LE(at + 30) + bytes.readUInt16LE(at + 32);
    if (next > end) throw damaged('its directory is cut off', at);
    const name = bytes.toString('utf8', at + sizes.central, at + sizes.central + nameBytes);
    if (!name.endsWith('/')) {
      checkName(name, bytes.readUInt32LE(at + 38));
      if (files.has(name)) throw damaged(`two entries are named ${JSON.stringify(name)}`, at);
      const entry = readEntry(bytes, at, name);
      total += entry.sizeBytes;
      if (total > limits.maxBytes) throw bomb(`it inflates to more than ${limits.maxBytes} bytes`);
      files.set(name, entry);
    }
    at = next;
  }
  return files;
}

/** A comment may follow the end record. */
function endOfDirectory(bytes: Buffer): number {
  const least = Math.max(0, bytes.length - sizes.end - 0xffff);
  for (let at = bytes.length - sizes.end; at >= least; at--) {
    if (
      bytes.readUInt32LE(at) === signatures.end &&
      at + sizes.end + bytes.readUInt16LE(at + 20) <= bytes.length
    )
      return at;
  }
  throw damaged('it has no directory; the file may be truncated', bytes.length);
}

function checkName(name: string, attributes: number): void {
  const shown = JSON.stringify(name.slice(0, 80));
  const parts = name.split('/');
  if (
    name.includes('\\') ||
    name.includes('\0') ||
    /^[a-z]:/i.test(name) ||
    parts.some((part) => part === '' || part === '.' || part === '..')
  )
    throw unsafe(`the entry ${shown} has a path that leaves the archive`, name, 'use plain relative names');
  // The upper half holds Unix file modes: a link would stand for a file of whoever unpacks it.
  if (((attributes >>> 16) & 0xf000) === 0xa000)
    throw unsafe(
      `the entry ${shown} is a symbolic link`,
      name,
      'pack the file itself (zip follows links by default)',
    );
}

function readEntry(bytes: Buffer, at: number, name: string): ZipFile {
  const flags = bytes.readUInt16LE(at + 8);
  const method = bytes.readUInt16LE(at + 10);
  const crc = bytes.readUInt32LE(at + 16);
  const packed = bytes.readUInt32LE(at + 20);
  const sizeBytes = bytes.readUInt32LE(at + 24);
  const local = bytes.readUInt32LE(at + 42);
  if (flags & 1) throw damaged(`${name} is encrypted`, at, 'pack it without a password');
  if (method !== 0 && method !== 8)
    throw damaged(`${name} is packed by method ${method}`, at, 'pack it with deflate');
  if (sizeBytes === 0xffffffff || packed === 0xffffffff) throw damaged(`${name} has 4 GiB or more`, at);
  if (method === 0 && packed !== sizeBytes) throw damaged(`${name} has two different sizes`, at);
  return {
    sizeBytes,
    read() {
      if (local + sizes.local > bytes.length || bytes.readUInt32LE(local) !== signatures.local)
        throw damaged(`${name} is not where the directory says`, local);
      const start = local + sizes.local + bytes.readUInt16LE(local + 26) + bytes.readUInt16LE(local + 28);
      const data = bytes.subarray(start, start + packed);
      if (data.length !== packed) throw damaged(`${name} is cut off`, start);
      const content = method === 0 ? data : inflate(data, sizeBytes, name, start);
      if (content.length !== sizeBytes || crc32(content) !== crc)
        throw damaged(`${name} does not have the announced content`, start);
      return content;
    },
  };
}

function inflate(data: Buffer, sizeBytes: number, name: string, start: number): Buffer {
  try {
    return inflateRawSync(data, { maxOutputLength: Math.max(1, sizeBytes) });
  } catch (cause) {
    throw damaged(`${name} cannot be inflated to the ${sizeBytes} bytes announced`, start, undefined, cause);
  }
}

export interface ZipContent<Content> {
  name: string;
  sizeBytes: number;
  crc: number;
  content: Content;
}

/** An archive of stored entries, as the parts that make it up, laid one after another. */
export function zipParts<Content>(
  entries: readonly ZipContent<Content>[],
): (Content | Uint8Array<ArrayBuffer>)[] {
  const parts: (Content | Uint8Array<ArrayBuffer>)[] = [];
  const directory: Uint8Array<ArrayBuffer>[] = [];
  let at = 0;
  for (const { name, sizeBytes, crc, content } of entries) {
    const local = header(sizes.local, signatures.local, name, sizeBytes, crc, 4);
    const central = header(sizes.central, signatures.central, name, sizeBytes, crc, 6);
    new DataView(central.buffer).setUint32(42, at, true);
    parts.push(local, content);
    directory.push(central);
    at += local.length + sizeBytes;
  }
  const directoryBytes = directory.reduce((sum, { length }) => sum + length, 0);
  if (entries.length >= 0xffff || at + directoryBytes >= 0xffffffff)
    throw new CommonwattError(
      'PAYLOAD_TOO_LARGE',
      `the files have ${at} bytes together; less than 4 GiB fit in one archive`,
    );
  const end = new Uint8Array(sizes.end);
  const view = new DataView(end.buffer);
  view.setUint32(0, signatures.end, true);
  view.setUint16(8, entries.length, true);
  view.setUint16(10, entries.length, true);
  view.setUint32(12, directoryBytes, true);
  view.setUint32(16, at, true);
  return [...parts, ...directory, end];
}

/** `version` is where "version needed" lies; flags (names are UTF-8), method, time and date follow it. */
function header(
  size: number,
  signature: number,
  name: string,
  sizeBytes: number,
  crc: number,
  version: number,
): Uint8Array<ArrayBuffer> {
  const encoded = new TextEncoder().encode(name);
  const bytes = new Uint8Array(size + encoded.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, signature, true);
  view.setUint16(version, 20, true);
  view.setUint16(version + 2, 0x800, true);
  // 1980-01-01: the same files always make the same archive.
  view.setUint16(version + 8, 0x21, true);
  view.setUint32(version + 10, crc, true);
  view.setUint32(version + 14, sizeBytes, true);
  view.setUint32(version + 18, sizeBytes, true);
  view.setUint16(version + 22, encoded.length, true);
  bytes.set(encoded, size);
  return bytes;
}

/** In memory. */
export function writeZip(files: Iterable<[name: string, content: Uint8Array]>): Buffer {
  const entries = [...files].map(([name, content]) => ({
    name,
    sizeBytes: content.length,
    crc: crc32(content),
    content,
  }));
  return Buffer.concat(zipParts(entries));
}

function damaged(message: string, at: number, hint = 'pack it again', cause?: unknown): CommonwattError {
  return new CommonwattError('CORRUPT_MODEL', `the zip archive is damaged: ${message}`, {
    where: `byte ${at}`,
    hint,
    cause,
  });
}

function bomb(message: string): CommonwattError {
  return unsafe(message, 'archive', 'pack only what the model needs');
}

function unsafe(message: string, where: string, hint: string): CommonwattError {
  return new CommonwattError('UNSAFE_MODEL', `the zip archive is refused: ${message}`, {
    where: where.slice(0, 200),
    hint,
  });
}
