/**
 * What makes two requests the same: a tuple whose parts carry their lengths, so that no two different tuples have
 * one text. Small requests are known by all their bytes, large ones by the SHA-256 of them.
 */
import { createHash } from 'node:crypto';
import type { Tensor } from '../runtimes/tensor.ts';

const exactBytes = 1024;
const sampledWords = 1024;

export function lengthPrefix(part: string | Uint8Array): string {
  return `${typeof part === 'string' ? Buffer.byteLength(part) : part.length}:`;
}

/** Names, datatypes, shapes and bytes, in order. */
export function inputParts(inputs: readonly Tensor[]): (string | Uint8Array)[] {
  const parts: (string | Uint8Array)[] = [String(inputs.length)];
  for (const { name, datatype, shape, data } of inputs)
    parts.push(name, datatype, shape.join(','), bytesOf(data));
  return parts;
}

/** `who`: everything but the inputs that an answer depends on or is bound to. */
export function requestKey(who: readonly string[], inputs: readonly Tensor[]): string {
  let bytes = 0;
  for (const { data } of inputs) bytes += data.byteLength;
  const parts = [...who, ...inputParts(inputs)];
  if (bytes > exactBytes) {
    const hash = createHash('sha256');
    for (const part of parts) hash.update(lengthPrefix(part)).update(part);
    return `#${hash.digest('base64')}`;
  }
  let key = '=';
  for (const part of parts)
    key += lengthPrefix(part) + (typeof part === 'string' ? part : bufferOf(part).toString('latin1'));
  return key;
}

/** A cheap 30-bit number that is the same for the same inputs, and mostly another one for others. */
export function fingerprintOf(seed: number, inputs: readonly Tensor[]): number {
  let hash = seed;
  for (const { shape, data } of inputs) {
    for (const dimension of shape) hash = Math.imul(hash ^ dimension, 0x9e3779b1);
    const { buffer, byteOffset, byteLength } = data;
    const aligned = byteOffset % 4 === 0;
    const words = aligned
      ? new Int32Array(buffer, byteOffset, byteLength >> 2)
      : new Uint8Array(buffer, byteOffset, byteLength);
    const stride = words.length <= sampledWords ? 1 : Math.ceil(words.length / sampledWords);
    for (let index = 0; index < words.length; index += stride) {
      hash = Math.imul(hash ^ (words[index] ?? 0), 0x85ebca6b);
      hash ^= hash >>> 15;
    }
    // What does not fill a word.
    if (aligned && byteLength % 4 !== 0)
      for (const byte of new Uint8Array(buffer, byteOffset + (byteLength & ~3), byteLength & 3))
        hash = Math.imul(hash ^ byte, 0xc2b2ae35);
  }
  return (hash ^ (hash >>> 13)) & 0x3fffffff;
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

function bufferOf({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}
