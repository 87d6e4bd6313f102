/**
 * Dynamic batching for one deployment: whatever waits is computed together, for all callers. While the runners
 * compute, the next batch gathers; when one is free, a batch leaves at the end of the tick or as the delay says.
 *
 * In: calls. Out: for each one answer or one error. Promises: every caller gets its own rows; what a batch used is
 * booked before its answers leave; what has expired or was given up before it was sent is never computed, and its
 * place is free at once.
 */
import type { Accountant, ModelUse } from '../energy/energy.ts';
import { CommonwattError } from '../errors.ts';
import type { TensorParts } from '../runtimes/frames.ts';
import { traces } from '../telemetry/traces.ts';
import { traceLookup } from './batch-traces.ts';
import { Computing } from './computing.ts';
import { Delivery } from './delivery.ts';
import { NextBatch } from './next-batch.ts';
import { Pace } from './pace.ts';
import { Poisoned, poisonedError } from './poisoned.ts';
import { FairQueue } from './queue.ts';
import { type AnswerCache, Reuse } from './reuse.ts';
import type { Computed } from './runner/replica.ts';
import type { Engine, InferCall, Inference } from './serve.ts';
import type { DeploymentSettings } from './settings.ts';
import { countMiss, emptyStatistics, type ModelStatistics } from './statistics.ts';
import { cancelled, deadlineExceeded, type Reject, type Resolve, Waiting } from './waiting.ts';

export interface BatchTarget {
  use: ModelUse;
  /** False: each request is computed alone. Known for certain when a copy is in memory. */
  readonly batchable: boolean;
  settings: DeploymentSettings;
  /** Which version answers: kept answers and refused requests are of this version only. */
  versionId?: string;
  /** False: its answers are never used twice. */
  deterministic?: boolean;
  /** Batches that can be computed at the same time; 1 when not given. */
  readonly parallelism?: number;
  /** Asked before a batch is taken: undefined when a copy is in memory, else what to wait for; it rejects when none can be loaded. */
  awake?(): Promise<void> | undefined;
  /** `admit` is asked just before the batch is sent, which may be after a wait; what it throws is thrown. */
  run(inputs: readonly TensorParts[], admit: () => void): Promise<Computed>;
  /** One request alone in a runner of its own, after a crash (see `Replica.runAlone`). */
  runAlone(inputs: readonly TensorParts[], admit: () => void): Promise<Computed>;
}

export interface BatcherOptions {
  /** Where the settings name none. */
  maxBatchSize: number;
  maxQueue: number;
  accountant: Pick<Accountant, 'recordBatch' | 'recordAvoided'>;
  /** Goes on counting here: a deployment whose settings change keeps its figures. */
  statistics?: ModelStatistics;
  /** The server's kept answers; without it nothing is computed once for several. */
  answers?: AnswerCache;
  /** The server's requests that are refused, so that unloading a model does not forget them. */
  poisoned?: Poisoned;
  log?: { warn(fields: object, message: string): void };
}

/** How often expired requests are looked for, at most, ms. */
const sweepMs = 2;

export class Batcher implements Engine {
  readonly statistics: ModelStatistics;
  readonly #target: BatchTarget;
  readonly #queue: FairQueue;
  readonly #limit: number;
  readonly #pace = new Pace();
  readonly #delivery: Delivery;
  readonly #computing: Computing;
  readonly #next: NextBatch;
  readonly #versionId: string;
  readonly #poisoned: Poisoned;
  readonly #reuse: Reuse | undefined;
  #inFlight = 0;
  /** Batches that may be in flight, as of the last one. */
  #slots = 1;
  /** Requests sent and not answered yet. */
  #sent = 0;
  #asleep = false;
  #immediate: NodeJS.Immediate | undefined;
  #delay: NodeJS.Timeout | undefined;
  #sweep: NodeJS.Timeout | undefined;
  #sweepAt = Infinity;
  #idle: (() => void)[] = [];

  constructor(target: BatchTarget, options: BatcherOptions) {
    const { settings } = target;
    this.#target = target;
    this.#limit = settings.queueLimit ?? options.maxQueue;
    const maxRows = settings.maxBatchSize ?? options.maxBatchSize;
    this.#queue = new FairQueue({
      limit: this.#limit,
      levels: settings.priorityLevels,
      turn: Math.ceil(maxRows / 4),
    });
    this.statistics = options.statistics ?? emptyStatistics();
    this.#versionId = target.versionId ?? `${target.use.modelId}:${target.use.version}`;
    this.#poisoned = options.poisoned ?? new Poisoned();
    this.#reuse =
      options.answers && target.deterministic === true && settings.cache.enabled
        ? new Reuse(options.answers, this.#versionId, settings)
        : undefined;
    this.#delivery = new Delivery({
      use: target.use,
      accountant: options.accountant,
      statistics: this.statistics,
      reuse: this.#reuse,
    });
    const computing = new Computing({
      target,
      pace: this.#pace,
      delivery: this.#delivery,
      log: options.log,
      fail: (waiting, error) => this.#fail(waiting, error),
      poison: ({ inputs }) => this.#poisoned.add(this.#versionId, inputs, performance.now()),
      hasAnswered: () => this.statistics.executionCount > 0,
    });
    this.#computing = computing;
    this.#next = new NextBatch({ target, computing, queue: this.#queue, pace: this.#pace, maxRows });
  }

  get pending(): number {
    return this.#queue.size + this.#sent + this.#delivery.pending;
  }

  infer(call: InferCall): Promise<Inference> {
    return new Promise((resolve, reject) => this.submit(call, resolve, reject));
  }

  /** As `infer`, for who has no use for a promise: calls either of both, once. */
  submit(call: InferCall, resolve: Resolve, reject: Reject): void {
    const now = performance.now();
    if (call.cancelled) {
      this.#refuse('cancelled', cancelled(), reject);
      return;
    }
    const waiting = new Waiting(call, this.#terms(call, now), resolve, reject);
    if (waiting.deadlineAt <= now) this.#refuse('fail', deadlineExceeded(), reject);
    else if (this.#poisoned.has(this.#versionId, call.inputs, now))
      this.#refuse('fail', poisonedError(), reject);
    else if (!this.#reused(waiting, now)) this.#enqueue(waiting, now);
  }

  /** Resolves when nothing waits and nothing is in flight. */
  drained(): Promise<void> {
    if (this.pending === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idle.push(resolve);
      // Answers that are kept leave by themselves.
      if (this.#delivery.pending > 0) setImmediate(() => this.#tellIdle());
    });
  }

  #terms({ options }: InferCall, now: number) {
    const { priorityLevels, queueTimeoutMs } = this.#target.settings;
    const level =
      options.priority === undefined
        ? priorityLevels >> 1
        : Math.min(priorityLevels - 1, Math.max(0, Math.trunc(options.priority)));
    const own = options.deadlineAtMs ?? Infinity;
    const deadlineAt = queueTimeoutMs === null ? own : Math.min(own, now + queueTimeoutMs);
    return { level, queuedAt: now, deadlineAt };
  }

  #refuse(kind: 'cancelled' | 'fail', error: CommonwattError, reject: Reject): void {
    if (kind === 'cancelled') this.statistics.cancelled++;
    else this.statistics.fail.count++;
    reject(error);
  }

  /** Answered by another's computation, kept or under way. */
  #reused(waiting: Waiting, now: number): boolean {
    const reuse = this.#reuse;
    if (!reuse) return false;
    const { call, context, rows, resolve, reject } = waiting;
    const fingerprint = reuse.fingerprint(call);
    if (fingerprint === undefined) return false;
    const leader = reuse.underWay(fingerprint, waiting);
    if (leader && (leader.joined?.size ?? 0) < this.#limit) {
      if (traces.active) traceLookup(call, now, 'joined', leader.call);
      this.#join(leader, waiting);
      return true;
    }
    const keep = reuse.worthKeeping(fingerprint);
    const kept = keep ? reuse.kept(fingerprint, call, now) : undefined;
    if (traces.active) traceLookup(call, now, kept ? 'hit' : 'miss');
    if (kept) {
      const { outputs, computeNs } = kept;
      this.#delivery.kept({ call, context, rows, at: now, outputs, computeNs, resolve, reject });
      return true;
    }
    // What was not seen before is not looked up at all.
    countMiss(this.statistics, keep ? (performance.now() - now) * 1e6 : 0);
    reuse.began(waiting, fingerprint, keep);
    return false;
  }

  #join(leader: Waiting, { call, context, rows, queuedAt, deadlineAt, resolve, reject }: Waiting): void {
    const joined = { call, context, rows, joinedAt: queuedAt, deadlineAt, resolve, reject };
    leader.joined ??= new Set();
    leader.joined.add(joined);
    call.onCancel = () => {
      if (!leader.joined?.delete(joined)) return;
      this.#refuse('cancelled', cancelled(), reject);
      if (!leader.sent && !leader.wanted) this.#forget(leader);
    };
    this.#expect(deadlineAt);
  }

  #enqueue(waiting: Waiting, now: number): void {
    this.#pace.arrived(now);
    waiting.call.onCancel = () => this.#leave(waiting, cancelled());
    const displaced = this.#queue.add(waiting);
    if (displaced) this.#fail(displaced, this.#overloaded());
    if (displaced === waiting) return;
    this.#expect(waiting.deadlineAt);
    if (this.#immediate || this.#asleep || this.#inFlight >= this.#slots) return;
    if (this.#delay) {
      if (!this.#next.isFull && this.#next.isWorthWaiting) return;
      this.#clearDelay();
    }
    this.#immediate = setImmediate(this.#pump);
  }

  /** The caller has gone or waited too long. Whoever joined it takes its place, as long as it is not sent. */
  #leave(waiting: Waiting, error: CommonwattError): void {
    if (waiting.left) return;
    waiting.left = true;
    waiting.call.onCancel = undefined;
    this.#refuse(error.code === 'CANCELLED' ? 'cancelled' : 'fail', error, waiting.reject);
    if (waiting.sent) return;
    const [heir] = waiting.joined ?? [];
    if (!heir) {
      this.#forget(waiting);
      return;
    }
    waiting.joined?.delete(heir);
    waiting.left = false;
    waiting.call = heir.call;
    waiting.context = heir.context;
    waiting.resolve = heir.resolve;
    waiting.reject = heir.reject;
    waiting.deadlineAt = heir.deadlineAt;
    heir.call.onCancel = () => this.#leave(waiting, cancelled());
  }

  /** Nobody wants it any more: its place is free. */
  #forget(waiting: Waiting): void {
    this.#queue.remove(waiting);
    this.#reuse?.ended(waiting);
    this.#tellIdle();
  }

  #fail(waiting: Waiting, error: unknown): void {
    this.#reuse?.ended(waiting);
    this.statistics.fail.count += (waiting.left ? 0 : 1) + (waiting.joined?.size ?? 0);
    waiting.fail(error);
  }

  /** Sends what may go now; leaves a timer, an immediate or a batch in flight behind that comes back here. */
  readonly #pump = (): void => {
    this.#immediate = undefined;
    this.#clearDelay();
    if (this.#asleep) return;
    this.#slots = Math.max(1, this.#target.parallelism ?? 1);
    while (this.#queue.size > 0 && this.#inFlight < this.#slots) {
      const awake = this.#target.awake?.();
      if (awake) {
        this.#sleep(awake);
        return;
      }
      const now = performance.now();
      // Nobody may expire for want of company.
      const waitMs = this.#next.waitMs(now, this.#sweepAt - 2 * sweepMs);
      if (waitMs > 0) {
        // Timers know whole milliseconds; a shorter time is looked at again after each turn of the event loop.
        if (waitMs < 1) this.#immediate = setImmediate(this.#pump);
        else this.#delay = setTimeout(this.#pump, waitMs);
        return;
      }
      const batch = this.#take(now);
      if (batch.length > 0) void this.#send(batch);
    }
    this.#tellIdle();
  };

  #sleep(awake: Promise<void>): void {
    this.#asleep = true;
    const woken = () => {
      this.#asleep = false;
      this.#pump();
    };
    awake.then(woken, (error: unknown) => {
      for (const waiting of this.#queue) {
        this.#queue.remove(waiting);
        this.#fail(waiting, error);
      }
      woken();
    });
  }

  #take(now: number): Waiting[] {
    return this.#queue.take({
      maxRows: this.#next.rows,
      batchable: this.#computing.batchable,
      now,
      expired: (waiting) => this.#expired(waiting, now),
    });
  }

  async #send(batch: readonly Waiting[]): Promise<void> {
    this.#inFlight++;
    this.#sent += batch.length;
    for (const waiting of batch) waiting.sent = true;
    let crash: unknown;
    try {
      await this.#computing.compute(batch);
    } catch (error) {
      crash = error;
    }
    this.#inFlight--;
    if (this.#queue.size > 0) this.#pump();
    // The runner is free for others meanwhile.
    if (crash !== undefined) await this.#computing.tryApart(batch, crash);
    this.#sent -= batch.length;
    this.#tellIdle();
  }

  #expired(waiting: Waiting, now: number): void {
    this.#leave(waiting, deadlineExceeded());
    // Somebody else may want it: back to a place, if that one has time.
    if (!waiting.left && waiting.deadlineAt <= now) this.#expired(waiting, now);
    if (waiting.left || waiting.lane) return;
    const displaced = this.#queue.add(waiting);
    if (displaced) this.#fail(displaced, this.#overloaded());
  }

  /** Makes sure that a request with this deadline is told when it has passed, even if no runner ever is free. */
  #expect(deadlineAt: number): void {
    if (deadlineAt >= this.#sweepAt) return;
    clearTimeout(this.#sweep);
    this.#sweepAt = deadlineAt;
    this.#sweep = setTimeout(this.#sweepExpired, Math.max(sweepMs, deadlineAt - performance.now()));
    this.#sweep.unref();
  }

  readonly #sweepExpired = (): void => {
    const now = performance.now();
    this.#sweepAt = Infinity;
    let next = Infinity;
    for (const waiting of this.#queue) {
      for (const other of waiting.joined ?? []) {
        if (other.deadlineAt > now) next = Math.min(next, other.deadlineAt);
        else {
          waiting.joined?.delete(other);
          other.call.onCancel = undefined;
          this.#refuse('fail', deadlineExceeded(), other.reject);
        }
      }
      if (waiting.deadlineAt <= now) this.#leave(waiting, deadlineExceeded());
      if (!waiting.left) next = Math.min(next, waiting.deadlineAt);
    }
    this.#expect(next);
  };

  #overloaded(): CommonwattError {
    return new CommonwattError('OVERLOADED', `${this.#queue.size} requests wait for this model already`, {
      hint: 'send it again later',
      retryAfterS: 1,
    });
  }

  #clearDelay(): void {
    if (!this.#delay) return;
    clearTimeout(this.#delay);
    this.#delay = undefined;
  }

  #tellIdle(): void {
    if (this.#idle.length === 0 || this.pending > 0) return;
    // Not in the middle of taking a batch, when some of it is neither in the queue nor sent.
    queueMicrotask(() => {
      if (this.pending === 0) for (const resolve of this.#idle.splice(0)) resolve();
    });
  }
}
