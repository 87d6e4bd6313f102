/** A request between the door and its answer: where it waits, for whom, and who else wants the same. */
import type { WorkContext } from '../energy/energy.ts';
import { CommonwattError } from '../errors.ts';
import type { Tensor } from '../runtimes/tensor.ts';
import type { Lane } from './queue.ts';
import type { InferCall, Inference } from './serve.ts';

export type Resolve = (inference: Inference) => void;
export type Reject = (error: unknown) => void;

/** Another caller with the very same request, answered when it is. */
export interface Joined {
  call: InferCall;
  rows: number;
  context: WorkContext;
  joinedAt: number;
  deadlineAt: number;
  resolve: Resolve;
  reject: Reject;
}

/** What is remembered of a request whose answer others may use (see `reuse.ts`). */
export interface Shareable {
  fingerprint: number;
  /** False: the answer is only shared with who asks meanwhile. */
  keep: boolean;
}

export class Waiting {
  call: InferCall;
  context: WorkContext;
  resolve: Resolve;
  reject: Reject;
  deadlineAt: number;
  readonly inputs: readonly Tensor[];
  readonly rows: number;
  readonly level: number;
  readonly queuedAt: number;
  /** Taken out of the queue: from now on it is computed and booked for `context`, even if the caller leaves. */
  sent = false;
  /** The caller has its error already; joined callers may still wait. */
  left = false;
  /** Nobody waited for it any more when it had been computed. */
  outcome: 'aborted' | undefined;
  joined: Set<Joined> | undefined;
  shareable: Shareable | undefined;
  /** Where it waits; kept by the queue. */
  lane: Lane | undefined;
  before: Waiting | undefined;
  behind: Waiting | undefined;

  constructor(
    call: InferCall,
    { level, queuedAt, deadlineAt }: { level: number; queuedAt: number; deadlineAt: number },
    resolve: Resolve,
    reject: Reject,
  ) {
    this.call = call;
    this.context = call.context;
    this.inputs = call.inputs;
    this.rows = rowsOf(call);
    this.level = level;
    this.queuedAt = queuedAt;
    this.deadlineAt = deadlineAt;
    this.resolve = resolve;
    this.reject = reject;
  }

  /** Somebody still waits for the answer. */
  get wanted(): boolean {
    return !this.left || (this.joined !== undefined && this.joined.size > 0);
  }

  /** Fails everybody who still waits for it. */
  fail(error: unknown): void {
    if (!this.left) {
      this.left = true;
      this.call.onCancel = undefined;
      this.reject(error);
    }
    const { joined } = this;
    if (!joined) return;
    this.joined = undefined;
    for (const other of joined) {
      other.call.onCancel = undefined;
      other.reject(error);
    }
  }
}

function rowsOf({ inputs }: InferCall): number {
  return inputs[0]?.shape[0] ?? 1;
}

export function cancelled(): CommonwattError {
  return new CommonwattError('CANCELLED', 'the caller left before the answer was there');
}

export function deadlineExceeded(): CommonwattError {
  return new CommonwattError(
    'DEADLINE_EXCEEDED',
    'the request waited longer than it may, and was not computed',
    { hint: 'send it again later, or allow it to wait longer', retryAfterS: 1 },
  );
}
