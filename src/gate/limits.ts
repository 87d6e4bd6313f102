/**
 * Places under the limits of grants. A place is taken before anything is computed and given back when nothing
 * was, so that requests in flight together can never pass a limit that each alone would respect.
 */
import { CommonwattError } from '../errors.ts';
import type { GrantRecord } from '../models/models.ts';
import { type Period, periodAt } from './periods.ts';

export interface Place {
  settle(): void;
  release(): void;
}

/** Requests booked on a grant since a moment: where counting starts after a start of the server. */
export type RequestsOfGrant = (grantId: string, sinceMs: number) => Promise<number>;

interface Counter {
  endMs: number;
  used: number;
}

const nothing = () => {};
const unlimited: Place = { settle: nothing, release: nothing };

export class Limits {
  readonly #requestsOfGrant: RequestsOfGrant;
  readonly #now: () => number;
  readonly #counters = new Map<string, Counter>();
  readonly #starting = new Map<string, Promise<Counter>>();

  constructor(requestsOfGrant: RequestsOfGrant, now: () => number) {
    this.#requestsOfGrant = requestsOfGrant;
    this.#now = now;
  }

  /** A plain value once the period's counter is known. Throws LIMIT_EXCEEDED. */
  take(grant: GrantRecord, model: string): Place | Promise<Place> {
    if (!grant.limit) return unlimited;
    const counter = this.#counters.get(grant.id);
    if (counter && this.#now() < counter.endMs) return takePlace(counter, grant, model, this.#now());
    return this.#takeAtStart(grant, model);
  }

  /** Requests of the current period, including those in flight; null when the grant has no limit. */
  async used(grant: GrantRecord): Promise<number | null> {
    return grant.limit ? (await this.#counter(grant.id, grant.limit.period)).used : null;
  }

  async #takeAtStart(grant: GrantRecord, model: string): Promise<Place> {
    if (!grant.limit) return unlimited;
    const counter = await this.#counter(grant.id, grant.limit.period);
    // The period may have ended while its counter was read; then the next one counts.
    if (this.#now() >= counter.endMs) return this.#takeAtStart(grant, model);
    return takePlace(counter, grant, model, this.#now());
  }

  #counter(grantId: string, period: Period): Promise<Counter> {
    const known = this.#counters.get(grantId);
    if (known && this.#now() < known.endMs) return Promise.resolve(known);
    const starting = this.#starting.get(grantId);
    if (starting) return starting;
    const start = this.#start(grantId, period).finally(() => this.#starting.delete(grantId));
    this.#starting.set(grantId, start);
    return start;
  }

  async #start(grantId: string, period: Period): Promise<Counter> {
    const { startMs, endMs } = periodAt(period, this.#now());
    const counter = { endMs, used: await this.#requestsOfGrant(grantId, startMs) };
    this.#dropEnded();
    this.#counters.set(grantId, counter);
    return counter;
  }

  /** An ended counter is needed by nobody: whoever still holds a place of it has it by reference. */
  #dropEnded() {
    if (this.#counters.size < 1024) return;
    const now = this.#now();
    for (const [grantId, { endMs }] of this.#counters) if (endMs <= now) this.#counters.delete(grantId);
  }
}

function takePlace(counter: Counter, grant: GrantRecord, model: string, nowMs: number): Place {
  const { limit } = grant;
  if (limit && counter.used + 1 > limit.requests) {
    throw new CommonwattError(
      'LIMIT_EXCEEDED',
      `the grant of ${model} to ${grant.granteeOrganisation} allows ${limit.requests} ${limit.requests === 1 ? 'request' : 'requests'} a ${limit.period}, and all are used`,
      {
        hint: `the next ${limit.period} begins at ${new Date(counter.endMs).toISOString()}; the owner of the model can share it with a higher limit`,
        retryAfterS: Math.max(1, Math.ceil((counter.endMs - nowMs) / 1000)),
      },
    );
  }
  counter.used += 1;
  let open = true;
  return {
    settle: () => {
      open = false;
    },
    release: () => {
      if (!open) return;
      open = false;
      counter.used -= 1;
    },
  };
}
