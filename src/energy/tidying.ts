/** Once an hour, a step at a time with pauses between them: the ledger is tidied up (store/tidy.ts). */
import { setTimeout as sleep } from 'node:timers/promises';

const firstAfterMs = 60_000;
const everyMs = 3_600_000;
/** At least as long as the step took: it uses half of the time at most. */
const pauseMs = 20;

export class Tidying {
  readonly #step: () => Promise<boolean>;
  readonly #failed: (error: unknown) => void;
  readonly #now: () => number;
  readonly #stopped = new AbortController();
  #dueAt: number;
  #working: Promise<void> = Promise.resolve();

  /** `step`: returns false when there is nothing left to do. */
  constructor(step: () => Promise<boolean>, failed: (error: unknown) => void, now = () => performance.now()) {
    this.#step = step;
    this.#failed = failed;
    this.#now = now;
    this.#dueAt = now() + firstAfterMs;
  }

  /** Cheap: called whenever something was settled. */
  whenDue(): void {
    const now = this.#now();
    if (now < this.#dueAt || this.#stopped.signal.aborted) return;
    this.#dueAt = now + everyMs;
    this.#working = this.#work().catch((error: unknown) => this.#failed(error));
  }

  /** Waits for the step that is under way. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#working;
  }

  async #work(): Promise<void> {
    const { signal } = this.#stopped;
    for (let more = true; more && !signal.aborted; ) {
      const startedAt = performance.now();
      more = await this.#step();
      await sleep(Math.max(pauseMs, performance.now() - startedAt), undefined, { signal, ref: false }).catch(
        () => {},
      );
    }
  }
}
