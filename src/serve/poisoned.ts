/**
 * Requests that crashed the runner twice, each time alone: refused from then on, for a while. Known by a digest of
 * model version and inputs, so that nothing of the request itself is kept.
 */
import { CommonwattError } from '../errors.ts';
import type { Tensor } from '../runtimes/tensor.ts';
import { requestDigest } from './request-key.ts';

const maxRemembered = 10_000;
const rememberedMs = 10 * 60_000;

export class Poisoned {
  /** Digest → until when, oldest first. */
  readonly #until = new Map<string, number>();
  /** Versions of which some may be remembered: requests of others are not even looked at. */
  readonly #versions = new Set<string>();

  has(versionId: string, inputs: readonly Tensor[], now: number): boolean {
    if (this.#until.size === 0 || !this.#versions.has(versionId)) return false;
    for (const [digest, until] of this.#until) {
      if (until > now) break;
      this.#until.delete(digest);
    }
    if (this.#until.size === 0) this.#versions.clear();
    else return this.#until.has(requestDigest([versionId], inputs));
    return false;
  }

  add(versionId: string, inputs: readonly Tensor[], now: number): void {
    const digest = requestDigest([versionId], inputs);
    this.#versions.add(versionId);
    this.#until.delete(digest);
    this.#until.set(digest, now + rememberedMs);
    for (const oldest of this.#until.keys()) {
      if (this.#until.size <= maxRemembered) break;
      this.#until.delete(oldest);
    }
  }
}

export function poisonedError(): CommonwattError {
  return new CommonwattError(
    'POISONED',
    'this request crashed the process that computes the model twice, the second time alone; it is not computed again',
    { hint: 'change its inputs; other requests to this model are answered as before' },
  );
}
