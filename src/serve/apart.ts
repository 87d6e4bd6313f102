/**
 * What becomes of a batch that failed as a whole.
 *
 * Its runner died: each request is tried again alone, where it can hurt nobody (inference changes nothing, so doing
 * it twice does no harm). The mates are answered; the one that crashes again is refused for good (POISONED). When
 * none succeeds the version is at fault, not the requests: all get one retryable error.
 */
import { CommonwattError } from '../errors.ts';
import { gather } from './batch.ts';
import type { BatchTarget } from './batcher.ts';
import { poisonedError } from './poisoned.ts';
import { type Computed, NotComputable } from './runner/replica.ts';
import { cancelled, deadlineExceeded, type Waiting } from './waiting.ts';

/** So many crashes in a row, without any success, tell that it is the version. */
const crashesOfVersion = 3;

export interface ApartOptions {
  target: Pick<BatchTarget, 'runAlone'>;
  poison(waiting: Waiting): void;
  /** The version has answered other requests before. */
  hasAnswered: boolean;
  deliver(waiting: Waiting, computed: Computed, startedAt: number): void;
  /** It was computed, and came to nothing. */
  failed(waiting: Waiting, computed: Pick<Computed, 'computeNs' | 'runnerPid'>): void;
  /** Also for one that nobody wants any more: nobody may join it from then on. */
  fail(waiting: Waiting, error: unknown): void;
}

export async function tryApart(
  batch: readonly Waiting[],
  crash: unknown,
  { target, poison, hasAnswered, deliver, failed, fail }: ApartOptions,
): Promise<void> {
  const crashed: Waiting[] = [];
  let answered = 0;
  let last: unknown = crash;
  for (const waiting of batch) {
    if (!waiting.wanted) {
      fail(waiting, cancelled());
      continue;
    }
    if (answered === 0 && crashed.length >= crashesOfVersion) {
      crashed.push(waiting);
      continue;
    }
    const startedAt = performance.now();
    if (waiting.deadlineAt <= startedAt) {
      fail(waiting, deadlineExceeded());
      continue;
    }
    try {
      const computed = await target.runAlone(gather([waiting], waiting.rows), () => admitBatch([waiting]));
      answered++;
      deliver(waiting, computed, startedAt);
    } catch (error) {
      if (error instanceof Thinned) {
        fail(waiting, waiting.wanted ? deadlineExceeded() : cancelled());
      } else if (isCrash(error)) {
        last = error;
        crashed.push(waiting);
      } else {
        if (error instanceof NotComputable) failed(waiting, error);
        fail(waiting, error);
      }
    }
  }
  const versionIsAtFault = answered === 0 && !(crashed.length === 1 && hasAnswered);
  for (const waiting of crashed) {
    if (versionIsAtFault) fail(waiting, last);
    else {
      poison(waiting);
      fail(waiting, poisonedError());
    }
  }
}

/** Some of a batch are not to be computed any more: it goes without them. */
export class Thinned extends Error {}

/** Asked just before a batch is sent. Throws Thinned when somebody has left or expired meanwhile. */
export function admitBatch(batch: readonly Waiting[]): void {
  const now = performance.now();
  for (const waiting of batch) if (!waiting.wanted || waiting.deadlineAt <= now) throw new Thinned();
  for (const { call } of batch) call.begun = true;
}

export function isCrash(error: unknown): boolean {
  return error instanceof CommonwattError && error.code === 'RUNNER_FAILED';
}

/** The model itself refused what it was given: perhaps only one request of the batch. */
export function isRefusal(error: unknown): boolean {
  return error instanceof CommonwattError && error.code === 'INVALID_TENSOR';
}
