/**
 * Do not compute twice: a request that is the same as one under way is joined to it, and one whose answer is kept
 * is answered from there. Only for versions that always answer the same, and never across policies or, unless the
 * model's owner says otherwise, organisations.
 *
 * An answer is kept from the second time on that its request is seen: what comes once costs a fingerprint of its
 * bytes (less than 1 % of a request) and no memory. A fingerprint only says where to look; the bytes decide.
 */
import type { Tensor } from '../runtimes/tensor.ts';
import { fingerprintOf, requestDigest, sameInputs, seedOf } from './request-key.ts';
import type { InferCall } from './serve.ts';
import type { DeploymentSettings } from './settings.ts';
import type { Waiting } from './waiting.ts';

/** What an entry costs besides its values. */
const entryBytes = 500;
const tensorBytes = 250;
/** Inputs up to here are kept and compared; of larger ones the SHA-256. */
const exactBytes = 1024;
/** No answer may take more than this part of the whole. */
const largestPart = 1 / 8;
const seenSlots = 1 << 16;
/** An answer counts as used just now for so long: it is not moved again with each use. */
const sameUseMs = 1000;

/** What an answer depends on or is bound to besides its inputs. */
interface Bond {
  versionId: string;
  /** The organisation; empty: everyone. */
  scope: string;
  policyVersion: number;
}

interface KeptAnswer extends Bond {
  /** Of its request: a copy, or the digest. */
  inputs: readonly Tensor[] | string;
  outputs: readonly Tensor[];
  /** The computing that using it again avoids. */
  computeNs: number;
  bytes: number;
  atMs: number;
  usedMs: number;
}

/** The answers of all versions, those used least recently (to a second) first. */
export class AnswerCache {
  readonly #maxBytes: number;
  /** By the fingerprint of the request: of those that share one, the newest. */
  readonly #kept = new Map<number, KeptAnswer>();
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

  get(fingerprint: number, bond: Bond, inputs: readonly Tensor[], maxAgeMs: number, now: number) {
    const kept = this.#kept.get(fingerprint);
    if (!kept || !isAnswerTo(kept, bond, inputs)) return undefined;
    if (now - kept.atMs > maxAgeMs) {
      this.#drop(fingerprint);
      return undefined;
    }
    if (now - kept.usedMs >= sameUseMs) {
      kept.usedMs = now;
      this.#kept.delete(fingerprint);
      this.#kept.set(fingerprint, kept);
    }
    return kept;
  }

  /** Keeps copies: neither the batch it came with nor its caller holds on to them. */
  put(
    fingerprint: number,
    { versionId, scope, policyVersion }: Bond,
    inputs: readonly Tensor[],
    { outputs, computeNs }: Pick<KeptAnswer, 'outputs' | 'computeNs'>,
    now: number,
  ): void {
    const exact = sizeOf(inputs) <= exactBytes;
    const bytes = entryBytes + heldBytes(outputs) + (exact ? heldBytes(inputs) : 0);
    if (bytes > this.#maxBytes * largestPart) return;
    this.#drop(fingerprint);
    this.#kept.set(fingerprint, {
      versionId,
      scope,
      policyVersion,
      inputs: exact ? copyTensors(inputs) : requestDigest([], inputs),
      outputs: copyTensors(outputs),
      computeNs,
      bytes,
      atMs: now,
      usedMs: now,
    });
    this.bytes += bytes;
    for (const oldest of this.#kept.keys()) {
      if (this.bytes <= this.#maxBytes) break;
      this.#drop(oldest);
    }
  }

  #drop(fingerprint: number): void {
    const kept = this.#kept.get(fingerprint);
    if (!kept) return;
    this.#kept.delete(fingerprint);
    this.bytes -= kept.bytes;
  }
}

function isAnswerTo(kept: KeptAnswer, bond: Bond, inputs: readonly Tensor[]): boolean {
  if (
    kept.versionId !== bond.versionId ||
    kept.scope !== bond.scope ||
    kept.policyVersion !== bond.policyVersion
  )
    return false;
  return typeof kept.inputs === 'string'
    ? kept.inputs === requestDigest([], inputs)
    : sameInputs(kept.inputs, inputs);
}

function sizeOf(tensors: readonly Tensor[]): number {
  let bytes = 0;
  for (const { data } of tensors) bytes += data.byteLength;
  return bytes;
}

function heldBytes(tensors: readonly Tensor[]): number {
  return tensors.length * tensorBytes + sizeOf(tensors);
}

export function copyTensors(tensors: readonly Tensor[]): Tensor[] {
  const copies: Tensor[] = [];
  for (const { name, datatype, shape, data } of tensors) {
    // A Buffer's `slice` would be a view.
    const own = Buffer.isBuffer(data) ? Uint8Array.from(data) : data.slice();
    copies.push({ name, datatype, shape: shape.slice(), data: own });
  }
  return copies;
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

  /** Its answer is worth keeping: the request was seen before. From now on it was. */
  worthKeeping(fingerprint: number): boolean {
    return this.#cache.enabled && this.#cache.seen(fingerprint);
  }

  kept(fingerprint: number, call: InferCall, now: number): KeptAnswer | undefined {
    return this.#cache.get(fingerprint, this.#bond(call), call.inputs, this.#maxAgeMs, now);
  }

  /** From now on others may join it, until it has `ended`. */
  began(waiting: Waiting, fingerprint: number, keep: boolean): void {
    waiting.shareable = { fingerprint, keep };
    if (!this.#underWay.has(fingerprint)) this.#underWay.set(fingerprint, waiting);
  }

  ended(waiting: Waiting): void {
    if (waiting.shareable && this.#underWay.get(waiting.shareable.fingerprint) === waiting)
      this.#underWay.delete(waiting.shareable.fingerprint);
  }

  computed({ shareable, call }: Waiting, outputs: readonly Tensor[], computeNs: number, now: number): void {
    if (!shareable?.keep) return;
    this.#cache.put(shareable.fingerprint, this.#bond(call), call.inputs, { outputs, computeNs }, now);
  }

  #bond({ context, options }: InferCall): Bond {
    const policyVersion = options.policyVersion ?? Number.NaN;
    return { versionId: this.#versionId, scope: this.#scope(context), policyVersion };
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
