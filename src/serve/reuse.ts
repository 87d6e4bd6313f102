/**
 * Do not compute twice: a request that is the same as one under way is joined to it, and one whose answer is kept
 * is answered from there. Only for versions that always answer the same, and never across policies or, unless the
 * model's owner says otherwise, organisations.
 *
 * An answer is kept from the second time on that its request is seen: what comes once costs a fingerprint of its
 * bytes (less than 1 % of a request) and no memory. A fingerprint only says where to look; the bytes decide.
 */
import type { Tensor } from '../runtimes/tensor.ts';
import { fingerprintOf, requestKey, sameInputs, seedOf } from './request-key.ts';
import type { InferCall } from './serve.ts';
import type { DeploymentSettings } from './settings.ts';
import type { Waiting } from './waiting.ts';

/** What an entry costs besides its key and its values. */
const entryBytes = 400;
const tensorBytes = 250;
/** No answer may take more than this part of the whole. */
const largestPart = 1 / 8;
const seenSlots = 1 << 16;

interface KeptAnswer {
  outputs: readonly Tensor[];
  /** The computing that using it again avoids. */
  computeNs: number;
  bytes: number;
  atMs: number;
}

/** The answers of all versions, those used least recently first. */
export class AnswerCache {
  readonly #maxBytes: number;
  readonly #kept = new Map<string, KeptAnswer>();
  /** Fingerprints seen lately; a newer one takes the place of an older. */
  readonly #seen: Int32Array;
  bytes = 0;

  /** 0: nothing is kept. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
    this.#seen = new Int32Array(maxBytes > 0 ? seenSlots : 1);
  }

  get size(): number {
    return this.#kept.size;
  }

  get enabled(): boolean {
    return this.#maxBytes > 0;
  }

  /** Whether it was seen lately; from now on it was. */
  seen(fingerprint: number): boolean {
    const slot = fingerprint % seenSlots;
    if (this.#seen[slot] === fingerprint) return true;
    this.#seen[slot] = fingerprint;
    return false;
  }

  get(key: string, maxAgeMs: number, now: number): KeptAnswer | undefined {
    const kept = this.#kept.get(key);
    if (!kept) return undefined;
    this.#kept.delete(key);
    if (now - kept.atMs > maxAgeMs) {
      this.bytes -= kept.bytes;
      return undefined;
    }
    this.#kept.set(key, kept);
    return kept;
  }

  /** Keeps a copy: neither the batch it came with nor its caller holds on to it. */
  put(key: string, outputs: readonly Tensor[], computeNs: number, now: number): void {
    let bytes = entryBytes + key.length;
    for (const { data } of outputs) bytes += tensorBytes + data.byteLength;
    if (bytes > this.#maxBytes * largestPart) return;
    this.#drop(key);
    this.#kept.set(key, { outputs: copyTensors(outputs), computeNs, bytes, atMs: now });
    this.bytes += bytes;
    for (const oldest of this.#kept.keys()) {
      if (this.bytes <= this.#maxBytes) break;
      this.#drop(oldest);
    }
  }

  #drop(key: string): void {
    const kept = this.#kept.get(key);
    if (!kept) return;
    this.#kept.delete(key);
    this.bytes -= kept.bytes;
  }
}

export function copyTensors(tensors: readonly Tensor[]): Tensor[] {
  return tensors.map(({ name, datatype, shape, data }) => ({
    name,
    datatype,
    shape: [...shape],
    data: data.slice(),
  }));
}

/** Reuse as one deployed version allows it. */
export class Reuse {
  readonly #cache: AnswerCache;
  readonly #versionId: string;
  readonly #maxAgeMs: number;
  readonly #everyone: boolean;
  readonly #seeds = new Map<string, number>();
  /** Requests under way, by fingerprint. */
  readonly #underWay = new Map<number, Waiting>();
  #lastScope: string | undefined;
  #lastSeed = 0;

  constructor(cache: AnswerCache, versionId: string, { cache: settings }: DeploymentSettings) {
    this.#cache = cache;
    this.#versionId = versionId;
    this.#maxAgeMs = settings.maxAgeS * 1000;
    this.#everyone = settings.scope === 'everyone';
  }

  /** Undefined: this call is neither answered by nor kept for another. */
  fingerprint({ context, options, inputs }: InferCall): number | undefined {
    if (context.kind !== 'inference' || options.reuse === false || options.policyVersion === undefined)
      return undefined;
    return fingerprintOf(this.#seed(this.#scope(context)) ^ options.policyVersion, inputs);
  }

  /** The same request under way that this one can wait for. */
  underWay(fingerprint: number, waiting: Waiting): Waiting | undefined {
    const leader = this.#underWay.get(fingerprint);
    if (!leader) return undefined;
    // Who is more urgent does not wait behind who is less.
    if (!leader.sent && leader.level > waiting.level) return undefined;
    const same =
      leader.call.options.policyVersion === waiting.call.options.policyVersion &&
      this.#scope(leader.context) === this.#scope(waiting.context) &&
      sameInputs(leader.inputs, waiting.inputs);
    return same ? leader : undefined;
  }

  /** The key of an answer that is worth keeping: its request was seen before. */
  key(fingerprint: number, { context, options, inputs }: InferCall): string | undefined {
    if (!this.#cache.enabled || !this.#cache.seen(fingerprint)) return undefined;
    return requestKey([this.#scope(context), String(options.policyVersion), this.#versionId], inputs);
  }

  kept(key: string, now: number): KeptAnswer | undefined {
    return this.#cache.get(key, this.#maxAgeMs, now);
  }

  /** From now on others may join it, until it has `ended`. */
  began(waiting: Waiting, fingerprint: number, key: string | undefined): void {
    waiting.shareable = { fingerprint, key };
    if (!this.#underWay.has(fingerprint)) this.#underWay.set(fingerprint, waiting);
  }

  ended(waiting: Waiting): void {
    if (waiting.shareable && this.#underWay.get(waiting.shareable.fingerprint) === waiting)
      this.#underWay.delete(waiting.shareable.fingerprint);
  }

  computed({ shareable }: Waiting, outputs: readonly Tensor[], computeNs: number, now: number): void {
    if (shareable?.key !== undefined) this.#cache.put(shareable.key, outputs, computeNs, now);
  }

  #scope({ consumer }: InferCall['context']): string {
    return this.#everyone ? '' : consumer.organisationId;
  }

  #seed(scope: string): number {
    if (scope === this.#lastScope) return this.#lastSeed;
    let seed = this.#seeds.get(scope);
    if (seed === undefined) {
      if (this.#seeds.size >= 10_000) this.#seeds.clear();
      seed = seedOf(`${this.#versionId} ${scope}`);
      this.#seeds.set(scope, seed);
    }
    this.#lastScope = scope;
    this.#lastSeed = seed;
    return seed;
  }
}
