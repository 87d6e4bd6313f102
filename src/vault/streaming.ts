/**
 * Encryption of artifacts: the published Tink streaming AEAD format AES256_GCM_HKDF_1MB on node:crypto, so that
 * anyone with the key can read what we store with a library that is not ours.
 *
 *     ciphertext = header ‖ segment 0 ‖ segment 1 ‖ …      (segment 0 and the header together fill one MiB)
 *     header     = 40 ‖ salt (32 bytes) ‖ nonce prefix (7 bytes)
 *     key        = HKDF-SHA256(data key, salt, info = associated data), 32 bytes
 *     nonce      = nonce prefix ‖ segment number (4 bytes, big-endian) ‖ 1 for the last segment, else 0
 *
 * Source: Tink, "AES-GCM-HKDF Streaming AEAD" (developers.google.com/tink/streaming-aead).
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { CommonwattError } from '../errors.ts';

/** Bytes of a whole ciphertext segment, of the header, and of the tag that ends each segment. */
export const SEGMENT_BYTES = 1_048_576;
export const HEADER_BYTES = 40;
export const TAG_BYTES = 16;

const KEY_BYTES = 32;
const SALT_BYTES = 32;
const PREFIX_BYTES = 7;

type Bytes = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/** Encrypts as the bytes come. `key` has 32 bytes; `associatedData` is not stored and must be given again to decrypt. */
export async function* encrypt(
  key: Uint8Array,
  associatedData: Uint8Array | string,
  source: Bytes,
): AsyncGenerator<Buffer, void, undefined> {
  const salt = randomBytes(SALT_BYTES);
  const prefix = randomBytes(PREFIX_BYTES);
  const segmentKey = deriveKey(key, salt, associatedData);
  yield Buffer.concat([Buffer.of(HEADER_BYTES), salt, prefix]);
  const whole = SEGMENT_BYTES - TAG_BYTES;
  for await (const { bytes, index, last } of segmentsOf(source, whole - HEADER_BYTES, whole)) {
    const cipher = createCipheriv('aes-256-gcm', segmentKey, nonceOf(prefix, index, last), {
      authTagLength: TAG_BYTES,
    });
    yield Buffer.concat([cipher.update(bytes), cipher.final(), cipher.getAuthTag()]);
  }
}

/**
 * Decrypts as the bytes come. A segment is given out only after it was verified, but that nothing is missing is
 * known only at the end: act on the plaintext when the iteration has finished. Throws STORE_FAILED for bytes that
 * were changed, cut, reordered or joined, and for another key or other associated data.
 */
export async function* decrypt(
  key: Uint8Array,
  associatedData: Uint8Array | string,
  source: Bytes,
): AsyncGenerator<Buffer, void, undefined> {
  let segmentKey: Buffer | undefined;
  let prefix: Buffer = Buffer.alloc(0);
  for await (const { bytes, index, last } of segmentsOf(source, SEGMENT_BYTES, SEGMENT_BYTES)) {
    let segment = bytes;
    if (!segmentKey) {
      if (bytes.length < HEADER_BYTES + TAG_BYTES || bytes[0] !== HEADER_BYTES)
        throw damaged('the header is missing or of another format');
      segmentKey = deriveKey(key, bytes.subarray(1, 1 + SALT_BYTES), associatedData);
      prefix = Buffer.from(bytes.subarray(1 + SALT_BYTES, HEADER_BYTES));
      segment = bytes.subarray(HEADER_BYTES);
    }
    if (segment.length < TAG_BYTES) throw damaged(`segment ${index} is cut short`);
    const decipher = createDecipheriv('aes-256-gcm', segmentKey, nonceOf(prefix, index, last), {
      authTagLength: TAG_BYTES,
    });
    decipher.setAuthTag(segment.subarray(segment.length - TAG_BYTES));
    const plaintext = decipher.update(segment.subarray(0, segment.length - TAG_BYTES));
    try {
      decipher.final();
    } catch (cause) {
      throw damaged(`segment ${index} does not verify`, cause);
    }
    yield plaintext;
  }
}

export async function encryptBuffer(
  key: Uint8Array,
  associatedData: Uint8Array | string,
  plaintext: Uint8Array,
): Promise<Buffer> {
  return collect(encrypt(key, associatedData, [plaintext]));
}

/** Throws STORE_FAILED, as `decrypt` does. */
export async function decryptBuffer(
  key: Uint8Array,
  associatedData: Uint8Array | string,
  ciphertext: Uint8Array,
): Promise<Buffer> {
  return collect(decrypt(key, associatedData, [ciphertext]));
}

interface Segment {
  bytes: Buffer;
  index: number;
  last: boolean;
}

/** Cuts a stream into segments. A full one is held back until more bytes come, because the last is marked as such. */
async function* segmentsOf(source: Bytes, first: number, rest: number): AsyncGenerator<Segment> {
  let size = first;
  let index = 0;
  let filled = 0;
  let segment: Buffer = Buffer.alloc(0);
  for await (const chunk of source) {
    let offset = 0;
    while (offset < chunk.length) {
      if (filled === size) {
        yield { bytes: segment, index, last: false };
        index++;
        size = rest;
        filled = 0;
        segment = Buffer.alloc(0);
      }
      const left = chunk.length - offset;
      if (filled === 0 && left >= size) {
        // A blob is read in chunks of a segment's size: nothing is copied then.
        segment = Buffer.from(chunk.buffer, chunk.byteOffset + offset, size);
        filled = size;
        offset += size;
        continue;
      }
      const taken = Math.min(size - filled, left);
      if (filled + taken > segment.length) segment = grown(segment, filled, filled + taken, size);
      segment.set(chunk.subarray(offset, offset + taken), filled);
      filled += taken;
      offset += taken;
    }
  }
  yield { bytes: segment.subarray(0, filled), index, last: true };
}

/** Small artifacts do not pay for a whole MiB. */
function grown(segment: Buffer, filled: number, needed: number, size: number): Buffer {
  const larger = Buffer.allocUnsafe(Math.min(size, Math.max(needed, segment.length * 4)));
  segment.copy(larger, 0, 0, filled);
  return larger;
}

function deriveKey(key: Uint8Array, salt: Uint8Array, associatedData: Uint8Array | string): Buffer {
  if (key.length !== KEY_BYTES) throw new RangeError(`a data key has ${KEY_BYTES} bytes, not ${key.length}`);
  const info = typeof associatedData === 'string' ? Buffer.from(associatedData) : associatedData;
  return Buffer.from(hkdfSync('sha256', key, salt, info, KEY_BYTES));
}

function nonceOf(prefix: Buffer, index: number, last: boolean): Buffer {
  const nonce = Buffer.alloc(PREFIX_BYTES + 5);
  prefix.copy(nonce);
  nonce.writeUInt32BE(index, PREFIX_BYTES);
  nonce.writeUInt8(last ? 1 : 0, PREFIX_BYTES + 4);
  return nonce;
}

async function collect(chunks: AsyncIterable<Buffer>): Promise<Buffer> {
  const all: Buffer[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return Buffer.concat(all);
}

function damaged(what: string, cause?: unknown): CommonwattError {
  return new CommonwattError('STORE_FAILED', `stored bytes are not what was written: ${what}`, {
    hint: 'restore the data folder (blobs, keys and database together) from a backup',
    cause,
  });
}
