/** SHA-256 of bytes of any size, in slices: a hundred megabytes at once would hold up everybody for a tenth of a second. */
import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';

/** Some two milliseconds of work, between which others get their turn. */
const sliceBytes = 1024 * 1024;

/** Hex. */
export async function sha256Of(bytes: Uint8Array): Promise<string> {
  const hash = createHash('sha256');
  for (const slice of slicesOf(bytes)) {
    hash.update(slice);
    if (bytes.length > sliceBytes) await setImmediate();
  }
  return hash.digest('hex');
}

/** Views, not copies. */
export function* slicesOf(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += sliceBytes) yield bytes.subarray(at, at + sliceBytes);
}
