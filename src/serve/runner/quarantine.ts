/**
 * Which versions keep crashing their runner, and for how long they are kept out for it.
 *
 * A strike is a death of a runner while it loaded or computed the version. Three within five minutes are a quarantine
 * of a minute, and of twice as long each time it follows another. A death among others is no strike when all that it
 * cost was then answered alone: it was an accident. A death in the version's own runner (`alone`) is forgotten when a
 * later request is answered: then the request was at fault. After a quarantine the first strike is enough, until the
 * version has answered.
 */
import { CommonwattError } from '../../errors.ts';

const strikesAllowed = 3;
const withinMs = 5 * 60_000;
const firstMs = 60_000;
const longestMs = 60 * 60_000;

interface Strike {
  at: number;
  alone: boolean;
  /** What became of its requests when they were tried again alone. */
  answered: boolean;
  diedAgain: boolean;
}

interface Case {
  strikes: Strike[];
  /** Its last death was while it was being loaded. */
  diedLoading: boolean;
  why: string;
  since: number;
  until: number;
  /** Quarantines one after another. */
  times: number;
  probation: boolean;
}

export interface Quarantined {
  why: string;
  since: Date;
  until: Date;
}

export class Quarantine {
  readonly #cases = new Map<string, Case>();
  readonly #now: () => number;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** A runner died of this version. True when that was once too often. */
  strike(versionId: string, why: string, { alone = false, loading = false } = {}): boolean {
    const now = this.#now();
    this.#forgetOld(now);
    const found = this.#cases.get(versionId) ?? newCase();
    this.#cases.set(versionId, found);
    found.strikes = found.strikes.filter(({ at }) => at > now - withinMs);
    const cause = alone && !loading ? found.strikes.findLast((strike) => !strike.alone) : undefined;
    // The first request that dies again is the one that the death before was about: one strike, not two.
    if (cause && !cause.diedAgain) cause.diedAgain = true;
    else found.strikes.push({ at: now, alone, answered: false, diedAgain: false });
    found.why = why;
    found.diedLoading = loading;
    const count = found.strikes.filter(({ answered, diedAgain }) => !answered || diedAgain).length;
    if (found.until > now || (count < strikesAllowed && !found.probation)) return false;
    found.since = now;
    found.until = now + Math.min(longestMs, firstMs * 2 ** found.times);
    found.times++;
    found.probation = true;
    found.strikes = [];
    return true;
  }

  /** The version answered a request, in a runner of its own or among others. Cheap: called for every batch. */
  answered(versionId: string, alone: boolean): void {
    if (this.#cases.size === 0) return;
    const found = this.#cases.get(versionId);
    if (!found) return;
    found.diedLoading = false;
    found.probation = false;
    found.strikes = found.strikes.filter((strike) => !strike.alone);
    const last = found.strikes.at(-1);
    if (alone && last) last.answered = true;
  }

  /** Undefined: it may be served. */
  of(versionId: string): Quarantined | undefined {
    const found = this.#cases.get(versionId);
    if (!found || found.until <= this.#now()) return undefined;
    return { why: found.why, since: new Date(found.since), until: new Date(found.until) };
  }

  /** Load it where it can hurt nobody first. */
  suspect(versionId: string): boolean {
    const found = this.#cases.get(versionId);
    return found !== undefined && (found.diedLoading || found.probation);
  }

  pardon(versionId: string): void {
    this.#cases.delete(versionId);
  }

  #forgetOld(now: number) {
    for (const [id, { strikes, until }] of this.#cases) {
      const last = Math.max(until, strikes.at(-1)?.at ?? 0);
      if (last < now - longestMs) this.#cases.delete(id);
    }
  }
}

function newCase(): Case {
  return { strikes: [], diedLoading: false, why: '', since: 0, until: 0, times: 0, probation: false };
}

export function quarantinedError(name: string, { why, since, until }: Quarantined): CommonwattError {
  return new CommonwattError(
    'QUARANTINED',
    `${name} is not served since ${since.toISOString()}: the process that computes it kept ending (${why})`,
    {
      hint: `it is tried again at ${until.toISOString()}; deploy it anew to try at once, or deploy another version`,
      retryAfterS: Math.max(1, Math.ceil((until.getTime() - Date.now()) / 1000)),
    },
  );
}
