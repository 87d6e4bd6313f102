/**
 * Time of runners that no line accounts for: loading models, warming them up, and computations that have not come to
 * their end. Its part of a runner's CPU time is not that of the lines beside it.
 */

/** By pid: since its start, and how long it has been at its present call, ms. */
export type RunnersAtWork = () => ReadonlyMap<
  number,
  { loadingMs: number; answeredMs: number; underWayMs: number }
>;

/** A computation that has been under way for so long should be in one interval with its line. */
const longMs = 250;

export class Unbooked {
  #atWork: RunnersAtWork = () => new Map();
  readonly #takenMs = new Map<number, number>();
  /** Of lines since the last interval, ns. */
  #bookedNs = new Map<number, number>();

  watch(atWork: RunnersAtWork): void {
    this.#atWork = atWork;
  }

  booked(pid: number, computeNs: number): void {
    this.#bookedNs.set(pid, (this.#bookedNs.get(pid) ?? 0) + computeNs);
  }

  /** Something long is under way: whoever can, waits for it before the interval is closed. */
  isUnderWay(): boolean {
    for (const { underWayMs } of this.#atWork().values()) if (underWayMs > longMs) return true;
    return false;
  }

  /** Since the last call, s. What is under way may have begun before that: the caller bounds it. */
  take(): Map<number, number> {
    const taken = new Map<number, number>();
    const now = this.#atWork();
    for (const pid of this.#takenMs.keys()) if (!now.has(pid)) this.#takenMs.delete(pid);
    for (const [pid, { loadingMs, answeredMs, underWayMs }] of now) {
      const allMs = loadingMs + answeredMs;
      const sinceMs = allMs - (this.#takenMs.get(pid) ?? 0) - (this.#bookedNs.get(pid) ?? 0) / 1e6;
      this.#takenMs.set(pid, allMs);
      taken.set(pid, (Math.max(0, sinceMs) + underWayMs) / 1000);
    }
    this.#bookedNs = new Map();
    return taken;
  }
}
