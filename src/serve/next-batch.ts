/** When the next batch leaves, and how large it is: by what waits, what is set, and how fast requests come. */
import type { BatchTarget } from './batcher.ts';
import type { Pace } from './pace.ts';
import type { FairQueue } from './queue.ts';

interface NextBatchOptions {
  target: Pick<BatchTarget, 'settings'>;
  computing: { readonly batchable: boolean };
  queue: Pick<FairQueue, 'size' | 'rows' | 'oldestAt'>;
  pace: Pick<Pace, 'worthWaiting' | 'wait'>;
  maxRows: number;
}

export class NextBatch {
  readonly #options: NextBatchOptions;

  constructor(options: NextBatchOptions) {
    this.#options = options;
  }

  /** The largest preferred size that what waits fills; when there is none, as much as fits. */
  get rows(): number {
    const { target, queue, maxRows } = this.#options;
    let size = maxRows;
    for (const preferred of target.settings.preferredBatchSizes)
      if (preferred <= queue.rows && preferred <= maxRows) size = preferred;
    return size;
  }

  /** Nothing that may still come would make it better. */
  get isFull(): boolean {
    const { target, computing, queue, maxRows } = this.#options;
    if (!computing.batchable || queue.rows >= maxRows) return true;
    const smallest = target.settings.preferredBatchSizes[0];
    return smallest !== undefined && queue.rows >= smallest;
  }

  get isWorthWaiting(): boolean {
    const { target, queue, pace } = this.#options;
    return target.settings.maxQueueDelayMs === 'adaptive' ? pace.worthWaiting(queue.size) : true;
  }

  /** How long it may gather from now on, until then at most; 0 or less: it leaves. */
  waitMs(now: number, until: number): number {
    const { target, queue, pace } = this.#options;
    const { maxQueueDelayMs } = target.settings;
    if (this.isFull || maxQueueDelayMs === 0 || !this.isWorthWaiting) return 0;
    const oldestAt = queue.oldestAt();
    const wait =
      maxQueueDelayMs === 'adaptive'
        ? pace.wait(queue.size, oldestAt, now)
        : oldestAt + maxQueueDelayMs - now;
    return Math.min(wait, until - now);
  }
}
