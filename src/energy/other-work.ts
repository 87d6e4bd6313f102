/**
 * What the gateway computes besides answering requests: importing, deploying, explaining, pages. Nobody can tell whose
 * turn of an event loop it is; so CPU time is read when the first such work begins and when the last of it ends, and
 * requests that were computed meanwhile are counted: of that time they carry what a request costs otherwise.
 */
import type { OtherWork } from './attribution.ts';

const cpuOfThisProcess = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

export class OtherWorkMeter {
  readonly #cpuS: () => number;
  #underWay = 0;
  #since = 0;
  #usedS = 0;
  #requests = 0;

  constructor(cpuS: () => number = cpuOfThisProcess) {
    this.#cpuS = cpuS;
  }

  /** Gives what to call, once or more often, when it has ended. */
  begin(): () => void {
    if (this.#underWay++ === 0) this.#since = this.#cpuS();
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      if (--this.#underWay === 0) this.#usedS += Math.max(0, this.#cpuS() - this.#since);
    };
  }

  computed(requests: number): void {
    if (this.#underWay > 0) this.#requests += requests;
  }

  /** Since the last call; undefined: there was none. */
  take(): Omit<OtherWork, 'cpuSPerRequest'> | undefined {
    if (this.#underWay > 0) {
      const now = this.#cpuS();
      this.#usedS += Math.max(0, now - this.#since);
      this.#since = now;
    }
    const taken = { cpuS: this.#usedS, requests: this.#requests };
    this.#usedS = 0;
    this.#requests = 0;
    return taken.cpuS > 0 ? taken : undefined;
  }
}
