import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { UsageSource } from '../energy/energy.ts';
import { unmetered } from '../energy/footprint.ts';
import type { GramsCo2e, Joules } from '../energy/units.ts';
import { corrections, type UsageListener, type Use, useOf as useOfItem } from '../energy/usage-counts.ts';
import type { ReadOptions, UsageReading } from '../energy/usage-reading.ts';
import { Limits, type Place } from './limits.ts';
import { amountOf, type Limit, type SubjectKind, type Unit } from './limits-use.ts';

const owner = { organisationId: 'acme', organisation: 'acme' };
const model = { modelId: 'digits', model: 'acme/digits', version: 1, owner };

function headOf(keyId: string) {
  const kind = 'inference' as const;
  return { kind, consumer: owner, keyId, memberId: 'ada', grantId: null, jobId: null, use: model };
}

function useOf(keyId: string, atMs: number, rows: number, joulesPerRow: number): Use {
  const energyJ = rows * joulesPerRow;
  return { head: headOf(keyId), atMs, requests: 1, rows, energyJ, carbonG: energyJ / 9000, call: null };
}

function isOf({ head }: Use, { keyId, modelId, organisationId }: ReadOptions['subject']): boolean {
  return (
    (keyId === undefined || head.keyId === keyId) &&
    (modelId === undefined || head.use?.modelId === modelId) &&
    (organisationId === undefined || head.consumer.organisationId === organisationId)
  );
}

/** Books at once, and settles at other figures later; who reads meanwhile is told to read again. */
class Book implements UsageSource {
  listener: UsageListener | undefined;
  #open: Use[] = [];
  #settled: Use[] = [];
  #settlements = 0;

  listen(listener: UsageListener): void {
    this.listener = listener;
  }

  add(use: Use): void {
    this.#open.push(use);
    if (this.listener?.listening) this.listener.used(use);
  }

  settle(factor: number): void {
    const told = this.#open;
    const settled = told.map((use) => ({
      ...use,
      energyJ: use.energyJ * factor,
      carbonG: use.carbonG * factor,
    }));
    this.#open = [];
    this.#settled.push(...settled);
    this.#settlements++;
    if (this.listener?.listening) this.listener.settled(corrections(told, settled));
  }

  read({ subject, sinceMs }: ReadOptions): UsageReading {
    const own = (uses: Use[]) => uses.filter((use) => isOf(use, subject) && use.atMs >= sinceMs);
    const usage = { modelId: null, ownerId: null, ...sumOf(own(this.#settled)) };
    const before = this.#settlements;
    const settled = new Promise<(typeof usage)[] | null>((resolve) => {
      setImmediate(() => resolve(this.#settlements === before ? [usage] : null));
    });
    return { unsettled: own(this.#open), settled };
  }

  used({ subject: { kind, id }, ...limit }: Limit, sinceMs: number): number {
    const subject =
      kind === 'key' ? { keyId: id } : kind === 'model' ? { modelId: id } : { organisationId: id };
    const uses = [...this.#open, ...this.#settled].filter((use) => isOf(use, subject) && use.atMs >= sinceMs);
    return amountOf({ ...limit, subject: { kind, id } }, sumOf(uses), { modelId: null, ownerId: null });
  }
}

function sumOf(uses: readonly Use[]) {
  const sum = { requests: 0, rows: 0, energyJ: 0, carbonG: 0 };
  for (const { requests, rows, energyJ, carbonG } of uses) {
    sum.requests += requests;
    sum.rows += rows;
    sum.energyJ += energyJ;
    sum.carbonG += carbonG;
  }
  return sum;
}

function limit(
  kind: SubjectKind,
  id: string,
  unit: Unit,
  amount: number,
  change: Partial<Limit> = {},
): Limit {
  return {
    id: `${kind} ${id} ${unit}`,
    subject: { kind, id },
    unit,
    amount,
    period: 'hour',
    mode: 'hard',
    warnAt: null,
    stopsJobs: false,
    refusal: (used) => ({ message: `${used} of ${amount}`, hint: '' }),
    ...change,
  };
}

const hourMs = 3600_000;
const wh = (joules: number) => joules / 3600;
const hard = [
  limit('organisation', 'acme', 'requests', 12),
  limit('organisation', 'acme', 'carbonGCo2e', 60 / 9000),
  limit('model', 'digits', 'energyWh', wh(40)),
  limit('key', 'first', 'rows', 25),
  limit('key', 'second', 'energyWh', wh(15)),
  limit('key', 'second', 'money', 9, { prices: [{ perRequest: 0.5, perRow: 0.1, perWh: 3600 * 0.2 }] }),
];
const applyingTo = (keyId: string) =>
  hard.filter(({ subject: { kind, id } }) => kind !== 'key' || id === keyId);

type Step =
  | { do: 'ask'; keyId: string; rows: number }
  | { do: 'book'; at: number; joulesPerRow: number }
  | { do: 'release'; at: number }
  | { do: 'close'; factor: number }
  | { do: 'wait' }
  | { do: 'next hour' };

function steps(joulesPerRow: fc.Arbitrary<number>, factor: fc.Arbitrary<number>): fc.Arbitrary<Step[]> {
  const at = fc.nat(20);
  const step: fc.Arbitrary<Step> = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant('ask' as const),
        keyId: fc.constantFrom('first', 'second'),
        rows: fc.integer({ min: 1, max: 5 }),
      }),
    },
    { weight: 4, arbitrary: fc.record({ do: fc.constant('book' as const), at, joulesPerRow }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('release' as const), at }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('close' as const), factor }) },
    { weight: 2, arbitrary: fc.constant({ do: 'wait' as const }) },
    { weight: 1, arbitrary: fc.constant({ do: 'next hour' as const }) },
  );
  return fc.array(step, { minLength: 80, maxLength: 160 });
}

interface Held {
  place: Place;
  keyId: string;
  rows: number;
}

/** Goes through a schedule; `look` sees every state on the way. */
async function go(
  schedule: readonly Step[],
  look: (state: { limit: Limit; used: number; reserved: number; inFlight: number }) => void,
) {
  const book = new Book();
  let nowMs = Date.UTC(2026, 5, 1, 10);
  // What a row takes is known from the day before.
  for (let past = 0; past < 20; past++) book.add(useOf('first', nowMs - 2 * hourMs, 1, 1));
  book.settle(1);
  const limits = new Limits({ usage: book, now: () => nowMs });
  const held: Held[] = [];
  const asking = new Set<Promise<void>>();
  let refused = 0;
  let mostInFlight = 0;

  async function ask(keyId: string, rows: number): Promise<void> {
    const work = { modelId: 'digits', ownerId: 'acme', ownsModel: true };
    const place = await limits.take(applyingTo(keyId), work);
    try {
      place.expect(rows);
      held.push({ place, keyId, rows });
    } catch (error) {
      place.release();
      throw error;
    }
  }

  function finish(at: number, joulesPerRow: number): void {
    const [one] = held.splice(at % held.length, 1);
    if (!one) return;
    const use = useOf(one.keyId, nowMs, one.rows, joulesPerRow);
    book.add(use);
    one.place.booked(use);
    one.place.settle();
  }

  async function check(): Promise<void> {
    mostInFlight = Math.max(mostInFlight, held.length + asking.size);
    const startMs = Math.floor(nowMs / hourMs) * hourMs;
    for (const each of hard) {
      const { used, reserved, periodEndMs } = await limits.state(each);
      if (used === null) throw new Error(`${each.id} is metered`);
      expect(periodEndMs).toBe(startMs + hourMs);
      expect(Math.abs(used - book.used(each, startMs))).toBeLessThanOrEqual(1e-9 * each.amount);
      expect(reserved).toBeGreaterThanOrEqual(-1e-9 * each.amount);
      look({ limit: each, used, reserved, inFlight: mostInFlight });
    }
  }

  for (const step of schedule) {
    switch (step.do) {
      case 'ask': {
        const asked = ask(step.keyId, step.rows)
          .catch((error: { code?: string }) => {
            expect(error).toMatchObject({ code: 'LIMIT_EXCEEDED' });
            refused++;
          })
          .finally(() => asking.delete(asked));
        asking.add(asked);
        break;
      }
      case 'book':
        if (held.length > 0) finish(step.at, step.joulesPerRow);
        break;
      case 'release':
        if (held.length > 0) held.splice(step.at % held.length, 1)[0]?.place.release();
        break;
      case 'close':
        book.settle(step.factor);
        break;
      case 'wait':
        await Promise.all(asking);
        await check();
        break;
      case 'next hour':
        nowMs += hourMs;
        // What is under way ends in the period that it is booked in.
        await Promise.all(asking);
        for (const { place } of held.splice(0)) place.release();
    }
  }
  await Promise.all(asking);
  while (held.length > 0) finish(0, 1);
  book.settle(1);
  await check();
  for (const each of hard) expect((await limits.state(each)).reserved).toBe(0);
  return { refused };
}

describe('limits that hold together', () => {
  it('are never passed where a row takes what it is known to take, whatever happens at once', async () => {
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(steps(fc.constant(1), fc.constant(1)), async (schedule) => {
        const outcome = await go(schedule, ({ limit: { id, amount }, used, reserved }) => {
          expect({ id, over: used + reserved > amount * (1 + 1e-9) }).toEqual({ id, over: false });
        });
        refused += outcome.refused;
      }),
      { numRuns: 60 },
    );
    expect(refused).toBeGreaterThan(100);
  });

  it('are passed by no more than what was in flight took, where figures vary and settle at less', async () => {
    const joulesPerRow = fc.double({ min: 0, max: 3, noNaN: true });
    await fc.assert(
      fc.asyncProperty(
        steps(joulesPerRow, fc.double({ min: 0.2, max: 1, noNaN: true })),
        async (schedule) => {
          await go(schedule, ({ limit: each, used, inFlight }) => {
            const largest = amountOf(
              each,
              { requests: 0, rows: 0, energyJ: 15, carbonG: 15 / 9000 },
              { modelId: null, ownerId: null },
            );
            expect(used).toBeLessThanOrEqual(each.amount * (1 + 1e-9) + inFlight * largest);
          });
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe('a charge', () => {
  it('of nonsense gives no room back, and fills none', async () => {
    const strange = fc.constantFrom(Number.NaN, Number.NEGATIVE_INFINITY, -5, -1e300);
    await fc.assert(
      fc.asyncProperty(fc.array(strange, { minLength: 1, maxLength: 20 }), async (charges) => {
        const book = new Book();
        const nowMs = Date.UTC(2026, 5, 1, 10, 30);
        const limits = new Limits({ usage: book, now: () => nowMs });
        const own = limit('key', 'first', 'energyWh', wh(10));
        await limits.state(own);
        const head = headOf('first');
        for (const charge of charges) {
          const footprint = { ...unmetered, energyJ: charge as Joules, carbonGCo2e: charge as GramsCo2e };
          const item = { context: { ...head, requestId: 'r-1' }, rows: 1 };
          book.add(useOfItem(head, item, footprint, nowMs));
        }
        expect((await limits.state(own)).used).toBe(0);
        book.add(useOf('first', nowMs, 1, 11));
        await expect(limits.check([own])).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
      }),
      { numRuns: 50 },
    );
  });
});

describe('where nothing is metered', () => {
  it('what is used of energy, carbon and money per Wh is not known; of requests and rows it is', async () => {
    const book = new Book();
    const limits = new Limits({ usage: book, now: () => Date.UTC(2026, 5, 1, 10, 30), unmetered: true });
    const free = { perRequest: 0, perRow: 0, perWh: 0 };
    const own = [
      limit('key', 'first', 'energyWh', 1),
      limit('key', 'first', 'carbonGCo2e', 1),
      limit('key', 'first', 'money', 1, { prices: [{ ...free, perWh: 0.2 }] }),
      limit('key', 'first', 'money', 8, { id: 'flat', prices: [{ ...free, perRequest: 2 }] }),
      limit('key', 'first', 'requests', 10),
      limit('key', 'first', 'rows', 6),
    ];
    limits.watch(own);
    book.add(useOf('first', Date.UTC(2026, 5, 1, 10, 30), 3, 0));
    const states = await Promise.all(own.map((each) => limits.state(each)));
    expect(states.map(({ used }) => used)).toEqual([null, null, null, 2, 1, 3]);
    expect(limits.levels()).toEqual([
      { id: 'flat', level: 2 / 8 },
      { id: 'key first requests', level: 0.1 },
      { id: 'key first rows', level: 0.5 },
    ]);
    await limits.check(own);
  });
});
