/**
 * All limits that hold at once: of grants and budgets, in whatever unit. A place is taken under every limit that
 * applies, or under none, before anything is computed; once the ledger has booked what was used, that stands in its
 * stead. So the limiter and the ledger say the same, and what is in flight can never pass a limit together that each
 * alone would respect.
 */
import type { Reserved, UsageSource } from '../energy/energy.ts';
import type { Subject } from '../energy/store/usage.ts';
import type { Use } from '../energy/usage-counts.ts';
import { CommonwattError } from '../errors.ts';
import { Counter, Tally } from './limits-counter.ts';
import { Estimates } from './limits-estimates.ts';
import { HeldPlace } from './limits-place.ts';
import type { Limit, Of, SubjectKind } from './limits-use.ts';
import { periodAt } from './periods.ts';

/** Of answers: budgets that are nearly used, or more than that. */
export const warningHeader = 'x-commonwatt-budget-warning';

/** A place under limits. */
export interface Place extends Reserved {
  /** How many rows it is, once that is known. Throws LIMIT_EXCEEDED. */
  expect(rows: number): void;
  /** Computed, or computing has begun: what it is will be booked. */
  settle(): void;
  /** Nothing was computed. */
  release(): void;
  /** Of budgets that are nearly used or more than that, as a header; undefined: there is none. */
  readonly warning: string | undefined;
}

/** What a place is for. */
export interface Work extends Of {
  /** The caller may be told how much of a limit of its model is used. */
  ownsModel: boolean;
}

export interface LimitState {
  /** Null: nothing meters what it limits, and it holds nobody back. */
  used: number | null;
  reserved: number;
  /** Since this period began, or the server, if that was later. */
  refused: number;
  wouldHaveRefused: number;
  periodEndMs: number;
}

interface LimitsOptions {
  usage: UsageSource;
  now(): number;
  /** Nothing is metered: energy and carbon are not known. */
  unmetered?: boolean;
  /** A hard limit that stops jobs is exhausted; told as often as that happens. */
  exhausted?(limit: Limit, refusal: CommonwattError): void;
}

/** So often the ledger is asked again when more was settled meanwhile. */
const mostReadings = 50;
/** How far back the first estimate of a model looks. */
const estimateFromMs = 24 * 3600_000;

export class Limits {
  readonly #options: LimitsOptions;
  readonly #estimates = new Estimates();
  readonly #counters = new Map<string, Counter>();
  readonly #bySubject: Readonly<Record<SubjectKind, Map<string, Set<Counter>>>> = {
    key: new Map(),
    member: new Map(),
    organisation: new Map(),
    grant: new Map(),
    model: new Map(),
  };
  readonly #starting = new Map<string, Promise<Counter>>();
  /** Of places whose computing has begun and is not booked yet. */
  readonly #unbooked = new Set<HeldPlace>();
  #refusals = { hard: 0, shadow: 0 };

  constructor(options: LimitsOptions) {
    this.#options = options;
    const self = this;
    options.usage.listen({
      get listening() {
        return self.#counters.size > 0;
      },
      used: (use) => this.#used(use),
      settled: (uses) => this.#settled(uses),
    });
  }

  /** Requests that were refused, or would have been, since the server started. */
  get refusals(): { hard: number; shadow: number } {
    return this.#refusals;
  }

  /** A plain value once all periods' counters are known. Throws LIMIT_EXCEEDED. */
  take(limits: readonly Limit[], work: Work): Place | Promise<Place> {
    const nowMs = this.#options.now();
    const counters: Counter[] = [];
    for (const limit of limits) {
      const counter = this.#current(limit, nowMs);
      if (!counter) return this.#takeAtStart(limits, work);
      counters.push(counter);
    }
    if (work.modelId !== null && !this.#estimates.knows(work.modelId)) return this.#takeAtStart(limits, work);
    return this.#place(counters, work, nowMs);
  }

  /** For work that begins later or is not to be foreseen: is anything left? Throws LIMIT_EXCEEDED. */
  async check(limits: readonly Limit[]): Promise<void> {
    const counters = await Promise.all(limits.map((limit) => this.#counter(limit)));
    for (const counter of counters)
      if (counter.limit.mode === 'hard' && counter.isExhausted) this.#refuse(counter);
    for (const counter of counters)
      if (counter.limit.mode === 'shadow' && counter.isExhausted) this.#noteShadow(counter);
  }

  async state(limit: Limit): Promise<LimitState> {
    const counter = await this.#counter(limit);
    const { reserved, refused, wouldHaveRefused, endMs } = counter;
    const used = this.#options.unmetered && countsEnergy(limit) ? null : counter.used;
    return { used, reserved, refused, wouldHaveRefused, periodEndMs: endMs };
  }

  /** Counters of this moment, for metrics: nothing is read for them. */
  levels(): { id: string; level: number }[] {
    const nowMs = this.#options.now();
    return [...this.#counters.values()]
      .filter(({ endMs, tally }) => nowMs < endMs && tally)
      .filter(({ limit }) => !(this.#options.unmetered && countsEnergy(limit)))
      .map(({ limit, used }) => ({ id: limit.id, level: used / limit.amount }));
  }

  /** Begins to count before anybody asks for a place. */
  watch(limits: readonly Limit[]): void {
    const nowMs = this.#options.now();
    for (const limit of limits) if (!this.#current(limit, nowMs)) this.#counter(limit).catch(() => {});
  }

  /** What was counted by other prices, or is not there any more, is forgotten. */
  forget(id: string): void {
    this.#drop(this.#counters.get(id));
    this.#starting.delete(id);
  }

  #current(limit: Limit, nowMs: number): Counter | undefined {
    const counter = this.#counters.get(limit.id);
    if (!counter?.tally || nowMs >= counter.endMs) return undefined;
    counter.limit = limit;
    return counter;
  }

  async #takeAtStart(limits: readonly Limit[], work: Work): Promise<Place> {
    const counters = await Promise.all(
      limits.map(async (limit) => {
        const counter = await this.#counter(limit);
        counter.limit = limit;
        return counter;
      }),
    );
    await this.#beginEstimate(work.modelId);
    const nowMs = this.#options.now();
    // A period may have ended while its counter was read; then the next one counts.
    if (counters.some(({ endMs }) => nowMs >= endMs)) return this.#takeAtStart(limits, work);
    return this.#place(counters, work, nowMs);
  }

  #place(counters: readonly Counter[], work: Work, nowMs: number): Place {
    this.#letGoOfLate(nowMs);
    return new HeldPlace({
      counters,
      work,
      perRow: work.modelId === null ? { energyJ: 0, carbonG: 0 } : this.#estimates.perRow(work.modelId),
      refuse: (counter) => this.#refuse(counter),
      noteShadow: (counter) => this.#noteShadow(counter),
      unbooked: this.#unbooked,
      now: this.#options.now,
    });
  }

  /** Throws. */
  #refuse(counter: Counter): never {
    counter.refused++;
    this.#refusals.hard++;
    throw this.#refusal(counter);
  }

  #refusal({ limit, used, endMs }: Counter): CommonwattError {
    const { message, hint } = limit.refusal(used);
    return new CommonwattError('LIMIT_EXCEEDED', message, {
      hint: `the next ${limit.period} begins at ${new Date(endMs).toISOString()}; ${hint}`,
      retryAfterS: Math.max(1, Math.ceil((endMs - this.#options.now()) / 1000)),
      ...(limit.subject.kind === 'grant' && limit.id.startsWith('grant:')
        ? {}
        : { where: `budgets.${limit.id}` }),
    });
  }

  #noteShadow(counter: Counter): void {
    counter.wouldHaveRefused++;
    this.#refusals.shadow++;
  }

  #letGoOfLate(nowMs: number): void {
    for (const place of this.#unbooked) {
      if (place.isWaitedFor(nowMs)) return;
      place.giveUp();
    }
  }

  #counter(limit: Limit): Promise<Counter> {
    const known = this.#current(limit, this.#options.now());
    if (known) return Promise.resolve(known);
    const starting = this.#starting.get(limit.id);
    if (starting) return starting;
    const start = this.#start(limit).finally(() => {
      if (this.#starting.get(limit.id) === start) this.#starting.delete(limit.id);
    });
    this.#starting.set(limit.id, start);
    return start;
  }

  async #start(limit: Limit): Promise<Counter> {
    this.#dropEnded();
    this.#drop(this.#counters.get(limit.id));
    const counter = new Counter(limit, periodAt(limit.period, this.#options.now()));
    this.#counters.set(limit.id, counter);
    const { kind, id } = limit.subject;
    const own = this.#bySubject[kind].get(id) ?? new Set();
    this.#bySubject[kind].set(id, own.add(counter));
    try {
      await this.#read(counter);
    } catch (error) {
      this.#drop(counter);
      throw error;
    }
    return counter;
  }

  /** What is booked meanwhile is counted in the new tally, too; the old one holds until that is whole. */
  async #read(counter: Counter): Promise<void> {
    const { limit, startMs } = counter;
    const subject = subjectOf(limit);
    for (let readings = 0; readings < mostReadings; readings++) {
      const tally = new Tally(limit, startMs);
      counter.beginning.add(tally);
      try {
        const byModel = limit.unit === 'money';
        const { unsettled, settled } = this.#options.usage.read({ subject, sinceMs: startMs, byModel });
        for (const use of unsettled) tally.add(use);
        const usages = await settled;
        if (usages) {
          tally.begin(usages);
          counter.tally = tally;
          return;
        }
      } finally {
        counter.beginning.delete(tally);
      }
    }
    throw new CommonwattError('OVERLOADED', 'what was used under a limit cannot be read now', {
      retryAfterS: 1,
    });
  }

  async #beginEstimate(modelId: string | null): Promise<void> {
    if (modelId === null || this.#estimates.knows(modelId)) return;
    const sinceMs = Math.floor((this.#options.now() - estimateFromMs) / 3600_000) * 3600_000;
    const { settled } = this.#options.usage.read({ subject: { modelId }, sinceMs, byModel: false });
    const [usage] = (await settled) ?? [];
    const rows = usage?.rows ?? 0;
    const mean =
      rows > 0 && usage ? { energyJ: usage.energyJ / rows, carbonG: usage.carbonG / rows } : undefined;
    this.#estimates.begin(modelId, mean ?? { energyJ: 0, carbonG: 0 });
  }

  #used(use: Use): void {
    this.#estimates.learn(use);
    this.#each(use, (counter) => counter.add(use));
  }

  #settled(uses: readonly Use[]): void {
    for (const use of uses) {
      this.#each(use, (counter) => {
        counter.add(use);
        // Its request may have been counted before: the ledger knows.
        if (use.call !== null && countsRequests(counter.limit)) this.#readAgain(counter);
      });
    }
    this.#tellExhausted();
  }

  #each({ head }: Use, visit: (counter: Counter) => void): void {
    const { key, member, organisation, grant, model } = this.#bySubject;
    const own = [
      head.keyId && key.get(head.keyId),
      head.memberId && member.get(head.memberId),
      organisation.get(head.consumer.organisationId),
      head.grantId && grant.get(head.grantId),
      head.use && model.get(head.use.modelId),
    ];
    for (const counters of own) if (counters) for (const counter of counters) visit(counter);
  }

  #readAgain(counter: Counter): void {
    counter.isStale = true;
    if (counter.isReading || !counter.tally) return;
    counter.isReading = true;
    // After all that settles in this moment.
    setImmediate(async () => {
      while (counter.isStale) {
        counter.isStale = false;
        // The next settlement tries again.
        await this.#read(counter).catch(() => {});
      }
      counter.isReading = false;
    });
  }

  #tellExhausted(): void {
    const nowMs = this.#options.now();
    for (const counter of [...this.#counters.values()]) {
      const { limit, toldExhausted, endMs } = counter;
      if (limit.mode !== 'hard' || !limit.stopsJobs || !counter.tally) continue;
      // A job may go on into the next period.
      if (endMs <= nowMs) {
        this.watch([limit]);
        continue;
      }
      counter.toldExhausted = counter.used >= limit.amount;
      if (counter.toldExhausted && !toldExhausted) this.#options.exhausted?.(limit, this.#refusal(counter));
    }
  }

  #drop(counter: Counter | undefined): void {
    if (!counter) return;
    const { id, subject } = counter.limit;
    if (this.#counters.get(id) === counter) this.#counters.delete(id);
    const own = this.#bySubject[subject.kind].get(subject.id);
    own?.delete(counter);
    if (own?.size === 0) this.#bySubject[subject.kind].delete(subject.id);
  }

  /** An ended counter is needed by nobody: whoever still holds a place of it has it by reference. */
  #dropEnded(): void {
    if (this.#counters.size < 1024) return;
    const nowMs = this.#options.now();
    for (const counter of [...this.#counters.values()]) if (counter.endMs <= nowMs) this.#drop(counter);
  }
}

function countsEnergy({ unit, prices }: Limit): boolean {
  return (
    unit === 'energyWh' ||
    unit === 'carbonGCo2e' ||
    (unit === 'money' && prices?.some(({ perWh }) => perWh > 0) === true)
  );
}

function countsRequests({ unit, prices }: Limit): boolean {
  return (
    unit === 'requests' || (unit === 'money' && prices?.some(({ perRequest }) => perRequest > 0) === true)
  );
}

function subjectOf({ subject: { kind, id } }: Limit): Subject {
  switch (kind) {
    case 'key':
      return { keyId: id };
    case 'member':
      return { memberId: id };
    case 'organisation':
      return { organisationId: id };
    case 'grant':
      return { grantId: id };
    case 'model':
      return { modelId: id };
  }
}
