/**
 * PNG and JPEG files as red, green and blue, as Pillow reads them: transparency is dropped, a JPEG is turned as its camera
 * says. The size is read before anything is decoded, so that a small file cannot ask for much memory.
 */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import decodeJpeg, { init as initJpeg } from '@jsquash/jpeg/decode.js';
import { PNG } from 'pngjs';
import type { Picture } from './resize.ts';

const mostPixels = 40_000_000;
const pngMagic = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');

/** Throws an Error that says what is wrong with the picture. */
export async function readPicture(file: Uint8Array): Promise<Picture> {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.byteLength);
  if (bytes.subarray(0, 8).equals(pngMagic)) return readPng(bytes);
  if (bytes[0] === 0xff && bytes[1] === 0xd8) return readJpeg(bytes);
  const start = bytes.subarray(0, 8).toString('hex');
  throw new Error(`it is neither PNG nor JPEG: it begins with the bytes ${start || '(none)'}`);
}

function readPng(bytes: Buffer): Picture {
  if (bytes.length < 33 || bytes.toString('latin1', 12, 16) !== 'IHDR')
    throw new Error('the PNG has no header');
  checkSize(bytes.readUInt32BE(16), bytes.readUInt32BE(20));
  let png: PNG;
  try {
    png = PNG.sync.read(bytes);
  } catch (cause) {
    throw new Error(`the PNG is damaged: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
  return withoutAlpha(png.width, png.height, png.data);
}

let jpegReady: Promise<unknown> | undefined;

async function readJpeg(bytes: Buffer): Promise<Picture> {
  const { width, height, components } = jpegHeader(bytes);
  checkSize(width, height);
  if (components === 4) throw new Error('the JPEG is CMYK; save it as RGB');
  jpegReady ??= loadJpeg();
  await jpegReady;
  try {
    // An ArrayBuffer of its own: Node's small buffers share one.
    const own = Uint8Array.from(bytes).buffer;
    const decoded = await decodeJpeg(own, { preserveOrientation: true });
    return withoutAlpha(decoded.width, decoded.height, decoded.data);
  } catch (cause) {
    // A decoder that failed may be in any state.
    jpegReady = undefined;
    throw new Error('the JPEG is damaged', { cause });
  }
}

/** The package looks for its WASM by a URL to fetch, which Node cannot for files. */
async function loadJpeg(): Promise<void> {
  (globalThis as { ImageData?: unknown }).ImageData ??= PlainImage;
  const path = createRequire(import.meta.url).resolve('@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm');
  await initJpeg({ wasmBinary: await readFile(path), printErr: () => {}, print: () => {} });
}

/** What browsers have and Node has not. */
class PlainImage {
  readonly data: Uint8ClampedArray;
  readonly width: number;
  readonly height: number;

  constructor(data: Uint8ClampedArray, width: number, height: number) {
    this.data = data;
    this.width = width;
    this.height = height;
  }
}

/** From the frame header (SOFn); what comes before it is skipped by its length. */
function jpegHeader(bytes: Buffer): { width: number; height: number; components: number } {
  let at = 2;
  while (at + 9 < bytes.length) {
    if (bytes[at] !== 0xff) break;
    const marker = bytes[at + 1] ?? 0;
    if (marker === 0xff) {
      at++;
      continue;
    }
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame)
      return {
        height: bytes.readUInt16BE(at + 5),
        width: bytes.readUInt16BE(at + 7),
        components: bytes[at + 9] ?? 0,
      };
    const standsAlone = marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8);
    at += standsAlone ? 2 : 2 + bytes.readUInt16BE(at + 2);
  }
  throw new Error('the JPEG has no frame header');
}

function checkSize(width: number, height: number): void {
  if (width < 1 || height < 1) throw new Error('it has no pixels');
  if (width * height > mostPixels)
    throw new Error(`it has ${width} × ${height} pixels; at most ${mostPixels} are read`);
}

function withoutAlpha(width: number, height: number, rgba: Uint8Array | Uint8ClampedArray): Picture {
  const data = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < data.length; from += 4, to += 3) {
    data[to] = rgba[from] ?? 0;
    data[to + 1] = rgba[from + 1] ?? 0;
    data[to + 2] = rgba[from + 2] ?? 0;
  }
  return { width, height, data };
}
