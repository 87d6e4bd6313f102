/**
 * Requests that crashed the runner twice, each time alone: refused from then on, for a while. Known by a digest of
 * model version and inputs, so that nothing of the request itself is kept.
 */
import { createHash } from 'node:crypto';
import { CommonwattError } from '../errors.ts';
import type { Tensor } from '../runtimes/tensor.ts';
import { inputParts, lengthPrefix } from './request-key.ts';

const maxRemembered = 10_000;
const rememberedMs = 10 * 60_000;

export class Poisoned {
  readonly #versionId: string;
  /** Digest → until when, oldest first. */
  readonly #until = new Map<string, number>();

  constructor(versionId: string) {
    this.#versionId = versionId;
  }

  /** Free while nothing is remembered. */
  has(inputs: readonly Tensor[], now: number): boolean {
    if (this.#until.size === 0) return false;
    const digest = this.#digest(inputs);
    const until = this.#until.get(digest);
    if (until === undefined || until > now) return until !== undefined;
    this.#until.delete(digest);
    return false;
  }

  add(inputs: readonly Tensor[], now: number): void {
    const digest = this.#digest(inputs);
    this.#until.delete(digest);
    this.#until.set(digest, now + rememberedMs);
    for (const oldest of this.#until.keys()) {
      if (this.#until.size <= maxRemembered) break;
      this.#until.delete(oldest);
    }
  }

  #digest(inputs: readonly Tensor[]): string {
    const hash = createHash('sha256');
    for (const part of [this.#versionId, ...inputParts(inputs)]) hash.update(lengthPrefix(part)).update(part);
    return hash.digest('base64');
  }
}

export function poisonedError(): CommonwattError {
  return new CommonwattError(
    'POISONED',
    'this request crashed the process that computes the model twice, the second time alone; it is not computed again',
    { hint: 'change its inputs; other requests to this model are answered as before' },
  );
}
