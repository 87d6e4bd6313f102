/**
 * What makes two requests the same: names, datatypes, shapes and bytes of their inputs, compared one by one, or by a
 * SHA-256 over them as a tuple whose parts carry their lengths, so that no two different tuples have one text.
 */
import { createHash } from 'node:crypto';
import type { Tensor } from '../runtimes/tensor.ts';

const sampledWords = 1024;

/** `who`: what else must be the same, e.g. the version of the model. */
export function requestDigest(who: readonly string[], inputs: readonly Tensor[]): string {
  const hash = createHash('sha256');
  const add = (part: string | Uint8Array) => hash.update(`${Buffer.byteLength(part)}:`).update(part);
  add(String(who.length));
  for (const part of who) add(part);
  for (const { name, datatype, shape, data } of inputs) {
    add(name);
    add(datatype);
    add(shape.join());
    add(bytesOf(data));
  }
  return hash.digest('base64');
}

/** A cheap 30-bit number that is the same for the same inputs, and mostly another one for others. */
export function fingerprintOf(seed: number, inputs: readonly Tensor[]): number {
  let hash = seed;
  for (const { shape, data } of inputs) {
    for (const dimension of shape) hash = mix(hash, dimension);
    // Words lie at whole words only.
    const { buffer, byteOffset, byteLength } =
      data.byteOffset % 4 === 0 ? data : Uint8Array.from(bytesOf(data));
    hash = hashWords(hash, new Int32Array(buffer, byteOffset, byteLength >> 2));
    // What does not fill a word.
    const rest = byteLength & 3;
    if (rest > 0) hash = hashWords(hash, new Uint8Array(buffer, byteOffset + byteLength - rest, rest));
  }
  return (hash ^ (hash >>> 13)) & 0x3fffffff;
}

/** Of many words only some, evenly spread. Four chains, so that none waits for another's multiplication. */
function hashWords(seed: number, words: Int32Array | Uint8Array): number {
  const { length } = words;
  const stride = length <= sampledWords ? 1 : Math.ceil(length / sampledWords);
  let [a, b, c, d] = [seed, seed ^ length, seed + 1, seed + 2];
  let index = 0;
  for (const last = length - 3 * stride; index < last; index += 4 * stride) {
    a = mix(a, words[index] ?? 0);
    b = mix(b, words[index + stride] ?? 0);
    c = mix(c, words[index + 2 * stride] ?? 0);
    d = mix(d, words[index + 3 * stride] ?? 0);
  }
  for (; index < length; index += stride) a = mix(a, words[index] ?? 0);
  return mix(mix(a, b), mix(c, d));
}

/** Floats differ mostly in their upper bits, which a product would lose: so it is turned before each. */
function mix(hash: number, word: number): number {
  return Math.imul(((hash << 15) | (hash >>> 17)) ^ word, 0x85ebca6b);
}

export function seedOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++)
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return hash;
}

/** To the last bit: names, datatypes, shapes and bytes. */
export function sameInputs(a: readonly Tensor[], b: readonly Tensor[]): boolean {
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index++) {
    const x = a[index];
    const y = b[index];
    if (!x || !y || x.name !== y.name || x.datatype !== y.datatype || x.shape.length !== y.shape.length)
      return false;
    for (let d = 0; d < x.shape.length; d++) if (x.shape[d] !== y.shape[d]) return false;
    if (Buffer.compare(bytesOf(x.data), bytesOf(y.data)) !== 0) return false;
  }
  return true;
}

function bytesOf({ buffer, byteOffset, byteLength }: Tensor['data']): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
