/** Time of runners that no line accounts for: loading models, and computations that have not come to their end. */

/** By pid: loading since its start, and how long it has been at its present call, ms. */
export type RunnersAtWork = () => ReadonlyMap<number, { loadingMs: number; underWayMs: number }>;

/** A computation that has been under way for so long should be in one interval with its line. */
const longMs = 250;

export class Unbooked {
  #atWork: RunnersAtWork = () => new Map();
  readonly #loadedMs = new Map<number, number>();

  watch(atWork: RunnersAtWork): void {
    this.#atWork = atWork;
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
    for (const pid of this.#loadedMs.keys()) if (!now.has(pid)) this.#loadedMs.delete(pid);
    for (const [pid, { loadingMs, underWayMs }] of now) {
      const loaded = Math.max(0, loadingMs - (this.#loadedMs.get(pid) ?? 0));
      this.#loadedMs.set(pid, loadingMs);
      taken.set(pid, (loaded + underWayMs) / 1000);
    }
    return taken;
  }
}
