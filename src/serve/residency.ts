/**
 * Who is in memory. A model loads when it is first asked for (once, however many ask) and leaves by least recent
 * use when its place is wanted, or after an idle time of its own; pinned ones stay, and none leaves while it has a
 * request. Sizes are estimates: what the runner grew by or the bytes of the model, whichever is more.
 *
 * In: residents, each with how it is loaded. Out: their replicas. Promise: what is held stays within the budget.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { CommonwattError } from '../errors.ts';
import { ReadOnce } from './read-once.ts';
import type { Replica, ReplicaSpec } from './runner/replica.ts';
import type { LoadState } from './serve.ts';

export interface ResidencyOptions {
  runners: { load(spec: ReplicaSpec): Promise<Replica> };
  budgetBytes: number;
  /** How long a request waits for its model to be loaded. */
  loadTimeoutMs: number;
  log: { info(fields: object, message: string): void; error(fields: object, message: string): void };
  /** Somebody came, went, or could not come. */
  onChange(): void;
}

/** How long it stays when nobody uses it. */
export interface Keeping {
  pinned: boolean;
  idleUnloadS: number | null;
}

/** How one version is brought into memory and kept there. */
export interface Stay extends Keeping {
  spec: ReplicaSpec;
  artifactBytes: number;
  /** Computes before anybody is answered. A failure is one of loading. */
  warmUp(replica: Replica): Promise<void>;
  /** Requests that wait or are being computed. */
  pending(): number;
  /** Its copy is gone: whatever only serves a loaded model may be let go. */
  onUnloaded(): void;
}

interface Failure {
  error: unknown;
  retryAtMs: number;
  times: number;
}

export class Resident {
  stay: Stay;
  replica: Replica | undefined;
  loading: Promise<Replica> | undefined;
  failure: Failure | undefined;
  /** Bytes of the budget it has. */
  heldBytes = 0;
  measuredBytes = 0;
  /** As many as the settings ask for, or as there are runners for them. */
  copies: number;
  /** Counts upwards over all residents: the smallest is the one least recently used. */
  lastUse = 0;
  /** While its copies are being unloaded: its bytes are counted until then. */
  leaving: Promise<void> | undefined;
  /** `lastUse` when it was last looked at, and since when it is the same. */
  seenUse = -1;
  idleSinceMs = 0;

  constructor(stay: Stay) {
    this.stay = stay;
    this.copies = stay.spec.replicas;
  }

  get estimateBytes(): number {
    return Math.max(this.stay.artifactBytes * this.copies, this.measuredBytes);
  }

  /** A request sent now would be answered, at once or when this has been loaded for it. */
  get answers(): boolean {
    return this.replica ? this.replica.ready : this.failure === undefined;
  }

  get state(): LoadState {
    if (this.replica) return { ...this.replica.load, memoryBytes: this.heldBytes };
    if (this.loading) return { state: 'loading', reason: null, memoryBytes: 0 };
    if (!this.failure) return { state: 'unloaded', reason: null, memoryBytes: 0 };
    const { error } = this.failure;
    const quarantined = error instanceof CommonwattError && error.code === 'QUARANTINED';
    return {
      state: quarantined ? 'quarantined' : 'failed',
      reason: error instanceof Error ? error.message : String(error),
      memoryBytes: 0,
    };
  }
}

const sweepMs = 1000;
const roomPollMs = 20;
const firstRetryMs = 1000;
const lastRetryMs = 60_000;

export class Residency {
  readonly #options: ResidencyOptions;
  readonly #loaded = new Set<Resident>();
  #heldBytes = 0;
  #uses = 0;
  #sweeper: NodeJS.Timeout | undefined;
  #closed = false;
  /** Since the start. */
  readonly counts = { loads: 0, unloads: 0, failures: 0 };

  constructor(options: ResidencyOptions) {
    this.#options = options;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  get budgetBytes(): number {
    return this.#options.budgetBytes;
  }

  get loaded(): ReadonlySet<Resident> {
    return this.#loaded;
  }

  /** Cheap: called for every request. */
  used(resident: Resident): void {
    resident.lastUse = ++this.#uses;
  }

  keep(resident: Resident, keeping: Keeping): void {
    resident.stay = { ...resident.stay, ...keeping };
    this.#sweepLater();
  }

  /** For a request: undefined when it can be computed now, else what to wait for. Rejects with why it cannot be. */
  wake(resident: Resident): Promise<void> | undefined {
    if (resident.replica) return undefined;
    const { failure } = resident;
    if (failure && !resident.loading && performance.now() < failure.retryAtMs)
      return Promise.reject(failure.error);
    return this.#atMost(this.load(resident), resident);
  }

  /** Throws CORRUPT_MODEL, QUARANTINED, INVALID_CONFIG, PAYLOAD_TOO_LARGE (never fits), NOT_READY (not now), and why its bytes cannot be read. */
  load(resident: Resident): Promise<Replica> {
    if (resident.replica) return Promise.resolve(resident.replica);
    resident.loading ??= this.#load(resident).finally(() => {
      resident.loading = undefined;
      this.#options.onChange();
    });
    return resident.loading;
  }

  /** Takes it out of memory; it is loaded again when it is asked for. Nothing may wait for it. */
  async unload(resident: Resident): Promise<void> {
    const { replica } = resident;
    if (!replica) return resident.leaving;
    resident.replica = undefined;
    this.#loaded.delete(resident);
    resident.stay.onUnloaded();
    this.counts.unloads++;
    resident.leaving = replica.unload().finally(() => {
      resident.leaving = undefined;
      this.#give(resident, 0);
      this.#options.onChange();
    });
    await resident.leaving;
  }

  /** For good: what is still being loaded leaves as soon as it is there. */
  async discard(resident: Resident): Promise<void> {
    await resident.loading?.catch(() => undefined);
    await this.unload(resident);
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#sweeper);
  }

  async #load(resident: Resident): Promise<Replica> {
    const { stay } = resident;
    // Who comes back while he leaves is counted anew only when he is gone: else the one would undo the other.
    await resident.leaving?.catch(() => undefined);
    await this.#makeRoom(resident);
    const began = performance.now();
    const reading = new ReadOnce(stay.spec.bytes);
    try {
      const replica = await this.#options.runners.load({ ...stay.spec, bytes: reading.bytes });
      reading.loaded(replica.runnerPids.length);
      try {
        await stay.warmUp(replica);
        this.#measure(resident, replica);
      } catch (error) {
        await replica.unload();
        throw error;
      }
      this.#loaded.add(resident);
      resident.replica = replica;
      resident.failure = undefined;
      resident.seenUse = -1;
      this.used(resident);
      this.counts.loads++;
      this.#options.log.info(
        { model: stay.spec.name, bytes: resident.heldBytes, ms: Math.round(performance.now() - began) },
        'model loaded',
      );
      this.#sweepLater();
      return replica;
    } catch (error) {
      reading.failed();
      this.#give(resident, 0);
      this.#failed(resident, error);
      throw error;
    }
  }

  #failed(resident: Resident, error: unknown): void {
    const times = (resident.failure?.times ?? 0) + 1;
    const passing = error instanceof CommonwattError && error.status === 503;
    const waitMs = passing
      ? Math.min(lastRetryMs, firstRetryMs * 2 ** (times - 1))
      : Number.POSITIVE_INFINITY;
    resident.failure = { error, times, retryAtMs: performance.now() + waitMs };
    this.counts.failures++;
    this.#options.log.error({ err: error, model: resident.stay.spec.name, times }, 'model did not load');
  }

  /** What the runner grew by is known now; if that is more than was reckoned with, others leave. */
  #measure(resident: Resident, replica: Replica): void {
    resident.measuredBytes = replica.load.memoryBytes;
    resident.copies = Math.max(1, replica.runnerPids.length);
    this.#give(resident, resident.estimateBytes);
    void this.#trim(resident);
  }

  async #trim(except: Resident): Promise<void> {
    while (this.#heldBytes > this.#options.budgetBytes) {
      const victim = this.#leastRecentlyUsed(except);
      if (!victim) return;
      await this.#evict(victim);
    }
  }

  /** Reserves its part of the budget; others that nobody uses leave for it. */
  async #makeRoom(resident: Resident): Promise<void> {
    const { budgetBytes, loadTimeoutMs } = this.#options;
    const wanted = resident.estimateBytes;
    const pinned = this.#pinnedBytes();
    if (wanted + pinned > budgetBytes) throw this.#neverFits(resident, wanted, pinned);
    const until = performance.now() + loadTimeoutMs;
    while (this.#heldBytes + wanted > budgetBytes) {
      const victim = this.#leastRecentlyUsed(resident);
      if (victim) await this.#evict(victim);
      else if (performance.now() > until || this.#closed) throw this.#noRoom(resident, wanted);
      else await sleep(roomPollMs);
    }
    this.#give(resident, wanted);
  }

  #pinnedBytes(): number {
    let bytes = 0;
    for (const { stay, heldBytes } of this.#loaded) if (stay.pinned) bytes += heldBytes;
    return bytes;
  }

  #leastRecentlyUsed(except: Resident): Resident | undefined {
    let least: Resident | undefined;
    for (const resident of this.#loaded) {
      if (resident === except || resident.stay.pinned || resident.stay.pending() > 0) continue;
      if (!least || resident.lastUse < least.lastUse) least = resident;
    }
    return least;
  }

  async #evict(victim: Resident): Promise<void> {
    this.#options.log.info(
      { model: victim.stay.spec.name, bytes: victim.heldBytes },
      'model unloaded for another',
    );
    await this.unload(victim).catch((error: unknown) =>
      this.#options.log.error({ err: error, model: victim.stay.spec.name }, 'model was not unloaded'),
    );
  }

  #give(resident: Resident, bytes: number): void {
    this.#heldBytes += bytes - resident.heldBytes;
    resident.heldBytes = bytes;
  }

  #atMost(loading: Promise<unknown>, { stay }: Resident): Promise<void> {
    const { loadTimeoutMs } = this.#options;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () =>
          reject(
            new CommonwattError(
              'NOT_READY',
              `${stay.spec.name} was not loaded within ${loadTimeoutMs / 1000} s`,
              {
                hint: 'it goes on being loaded; send the request again, or pin the deployment',
                retryAfterS: 5,
              },
            ),
          ),
        loadTimeoutMs,
      );
      loading.then(() => resolve(), reject).finally(() => clearTimeout(timer));
    });
  }

  #sweepLater(): void {
    if (this.#closed) return;
    this.#sweeper ??= setInterval(() => this.#sweep(), sweepMs).unref();
  }

  /** Unloads whoever has had no request for its idle time. */
  #sweep(): void {
    const now = performance.now();
    let waiting = false;
    for (const resident of this.#loaded) {
      const { pinned, idleUnloadS, spec } = resident.stay;
      if (pinned || idleUnloadS === null) continue;
      waiting = true;
      if (resident.lastUse !== resident.seenUse || resident.stay.pending() > 0) {
        resident.seenUse = resident.lastUse;
        resident.idleSinceMs = now;
      } else if (now - resident.idleSinceMs >= idleUnloadS * 1000) {
        this.#options.log.info({ model: spec.name, idleS: idleUnloadS }, 'model unloaded for want of use');
        this.unload(resident).catch((error: unknown) =>
          this.#options.log.error({ err: error, model: spec.name }, 'model was not unloaded'),
        );
      }
    }
    if (waiting) return;
    clearInterval(this.#sweeper);
    this.#sweeper = undefined;
  }

  #neverFits({ stay }: Resident, wanted: number, pinned: number): CommonwattError {
    const others = pinned > 0 ? `, of which pinned models hold ${mib(pinned)}` : '';
    return new CommonwattError(
      'PAYLOAD_TOO_LARGE',
      `${stay.spec.name} needs about ${mib(wanted)}; the memory budget for models is ${mib(this.budgetBytes)}${others}`,
      { hint: 'raise memoryBudgetBytes, unpin or remove other deployments, or deploy a smaller model' },
    );
  }

  #noRoom({ stay }: Resident, wanted: number): CommonwattError {
    return new CommonwattError(
      'NOT_READY',
      `${stay.spec.name} needs about ${mib(wanted)}, and the models in use hold ${mib(this.#heldBytes)} of ${mib(this.budgetBytes)}`,
      { hint: 'send it again later, or raise memoryBudgetBytes', retryAfterS: 5 },
    );
  }
}

function mib(bytes: number): string {
  const value = bytes / 2 ** 20;
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} MiB`;
}
