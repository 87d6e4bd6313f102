/**
 * Adaptive delay: whether a batch that could leave now should wait for one more request.
 *
 * Waiting for the next arrival costs each of the n that wait the usual gap g between arrivals; leaving without it
 * costs a batch more, whose fixed part (its time without any row) is a. So it waits while n·g < a, never longer than
 * 2 ms nor than a, and not for a request that is overdue (2·g since the last one). A client alone is never kept
 * waiting: its next request comes after its answer, so that its g is longer than any a. Both are learned, g from
 * the last 16 or so arrivals, a as the intercept of time over rows of the last 32 or so batches. Pure but for its memory.
 */
const boundMs = 2;
const gapWeight = 1 / 16;
const batchWeight = 1 / 32;

export class Pace {
  #lastAt = -Infinity;
  #gapMs = Infinity;
  #batches = 0;
  #rows = 0;
  #ms = 0;
  #rowsVariance = 0;
  #covariance = 0;
  #fixedMs = 0;

  arrived(now: number): void {
    const gap = now - this.#lastAt;
    this.#lastAt = now;
    // A pause tells nothing about the arrivals after it but that they begin anew.
    this.#gapMs =
      gap > 100
        ? Infinity
        : Number.isFinite(this.#gapMs)
          ? this.#gapMs + gapWeight * (gap - this.#gapMs)
          : gap;
  }

  /** How long a batch of so many rows was away, ms. */
  computed(rows: number, ms: number): void {
    const weight = Math.max(batchWeight, 1 / ++this.#batches);
    const rowsOff = rows - this.#rows;
    const msOff = ms - this.#ms;
    this.#rows += weight * rowsOff;
    this.#ms += weight * msOff;
    this.#rowsVariance += weight * ((1 - weight) * rowsOff * rowsOff - this.#rowsVariance);
    this.#covariance += weight * ((1 - weight) * rowsOff * msOff - this.#covariance);
    const perRow = this.#rowsVariance > 0 ? Math.max(0, this.#covariance / this.#rowsVariance) : 0;
    this.#fixedMs = Math.max(0, this.#ms - perRow * this.#rows);
  }

  /** Milliseconds that a batch should still wait when `waiting` requests wait, the oldest since `oldestAt`; 0: go. */
  wait(waiting: number, oldestAt: number, now: number): number {
    if (!this.worthWaiting(waiting)) return 0;
    const until = Math.min(oldestAt + Math.min(boundMs, this.#fixedMs), this.#lastAt + 2 * this.#gapMs);
    return Math.max(0, until - now);
  }

  worthWaiting(waiting: number): boolean {
    return waiting * this.#gapMs < this.#fixedMs;
  }
}
