import { sql } from 'kysely';
import { beforeAll, describe, expect, it } from 'vitest';
import { bookInterval } from '../settlement.ts';
import { archiveStep } from './archive.ts';
import { readHeads } from './heads.ts';
import { findLine, readLines } from './lines.ts';
import { hourMs, type Line, requestOfLine } from './tally.ts';
import { type Booked, type Books, makeBooks, parties } from './testing/books.ts';
import { tidyStep } from './tidy.ts';
import { usageSince } from './usage.ts';
import { countOnce, readWindow } from './window.ts';

const dayMs = 24 * hourMs;
const start = Date.UTC(2026, 2, 28);
/** Long after everything: days are over, lines are old. */
const later = start + 30 * dayMs;
let books: Books;

/** Three days, on one of which clocks are put forward somewhere: hours are of UTC. An explanation over midnight. */
beforeAll(async () => {
  books = await makeBooks();
  for (let hour = 0; hour < 60; hour += 3)
    for (const minute of [0, 17, 59.99]) {
      const calls = hour === 21 && minute > 0 ? ['e-1'] : hour === 24 ? ['e-1', 'e-2'] : [];
      await books.add(start + hour * hourMs + minute * 60_000, 25, calls);
    }
});

async function tidy(): Promise<void> {
  while (await tidyStep(books.db, later, { detailDays: 7, keepDays: null }));
}

/** What a window must hold, from the list of what was booked. */
function expected(
  { fromMs, toMs }: { fromMs: number; toMs: number },
  of: (one: Booked) => boolean = () => true,
) {
  const own = books.booked.filter(
    (one) => one.interval.start_ms >= fromMs && one.interval.start_ms < toMs && of(one),
  );
  const inferences = own.filter(({ entry }) => entry.kind === 'inference').length;
  const calls = new Set(
    own.filter(({ entry }) => entry.kind === 'explanation').map(({ id }) => requestOfLine(id)),
  );
  return {
    entries: own.length,
    requests: inferences + calls.size,
    energyJ: own.reduce((sum, { entry }) => sum + entry.energyJ, 0),
    allocatedJ: own.reduce((sum, { entry }) => sum + entry.allocated.energyJ, 0),
  };
}

async function counted(window: { fromMs: number; toMs: number }) {
  const { sums, repeats } = await readWindow(books.db, window);
  const total = (pick: 'entries' | 'requests' | 'energy_j' | 'allocated_j') =>
    [...sums.values()].reduce((sum, own) => sum + own[pick], 0);
  return {
    entries: total('entries'),
    requests: total('requests') - countOnce(repeats, () => true),
    energyJ: total('energy_j'),
    allocatedJ: total('allocated_j'),
  };
}

const windows = [
  { fromMs: 0, toMs: later },
  { fromMs: start + dayMs, toMs: start + 2 * dayMs },
  { fromMs: start + 3 * hourMs + 1, toMs: start + 3 * hourMs + 20 * 60_000 },
  { fromMs: start + 21 * hourMs + 60_000, toMs: start + 24 * hourMs + 60_000 },
  { fromMs: start + 21 * hourMs, toMs: start + 48 * hourMs + 17 * 60_000 },
  { fromMs: start - dayMs, toMs: start },
];

async function expectTotals(): Promise<void> {
  for (const window of windows) {
    const [is, should] = [await counted(window), expected(window)];
    expect({ entries: is.entries, requests: is.requests }).toEqual({
      entries: should.entries,
      requests: should.requests,
    });
    for (const figure of ['energyJ', 'allocatedJ'] as const)
      expect(Math.abs(is[figure] - should[figure])).toBeLessThanOrEqual(1e-9 * Math.max(1, should[figure]));
  }
}

async function allLines(): Promise<Line[]> {
  const lines: Line[] = [];
  for await (const batch of readLines(books.db, { fromMs: 0, toMs: later, heads: null }))
    lines.push(...batch.lines);
  return lines;
}

describe('the sums of a window', () => {
  it('are those of its lines, whatever its edges; an explanation over midnight counts once', expectTotals);

  it('are those of a key, person, organisation or grant since any time', async () => {
    for (const sinceMs of [
      0,
      start + 24 * hourMs,
      start + 24 * hourMs + 500,
      start + 48 * hourMs + 17 * 60_000 + 501,
    ]) {
      for (const { organisationId, organisation } of parties) {
        const should = books.booked.filter(
          ({ entry }) => entry.atMs >= sinceMs && entry.head?.consumer.organisationId === organisationId,
        );
        const ids = should.map(({ id, entry }) => (entry.kind === 'inference' ? id : requestOfLine(id)));
        const usage = await usageSince(
          books.db,
          { organisationId, keyId: `key-of-${organisation}` },
          sinceMs,
        );
        expect(usage.requests).toBe(new Set(ids).size);
        expect(usage.rows).toBe(2 * should.length);
        expect(usage.energyJ).toBeCloseTo(
          should.reduce((sum, { entry }) => sum + entry.energyJ, 0),
          9,
        );
      }
    }
    expect(await usageSince(books.db, { keyId: 'nobody' }, 0)).toEqual({
      requests: 0,
      rows: 0,
      energyJ: 0,
      carbonG: 0,
    });
  });

  it('leave out what the caller counts itself', async () => {
    const [first, last] = [books.booked[0]?.interval.id ?? '', books.booked.at(-1)?.interval.id ?? ''];
    const should = books.booked.filter(
      ({ entry, interval }) =>
        entry.head?.grantId === 'grant-of-globex' && ![first, last, 'unknown'].includes(interval.id),
    );
    const ids = should.map(({ id, entry }) => (entry.kind === 'inference' ? id : requestOfLine(id)));
    const usage = await usageSince(books.db, { grantId: 'grant-of-globex' }, 0, [first, last, 'unknown']);
    expect(usage.requests).toBe(new Set(ids).size);
  });
});

describe('packing what is old', () => {
  it('goes on where it was killed, at any point: no line is lost or there twice, no total changes', async () => {
    const before = await allLines();
    expect(before.length).toBe(books.booked.length);
    // Each step ends in one transaction; a crash in one is as if it had not begun.
    await sql`create trigger crash before insert on ledger_garbage begin select raise(abort, 'crashed'); end`.execute(
      books.db,
    );
    await expect(archiveStep(books.db, later)).rejects.toThrow(/crashed/);
    await sql`drop trigger crash`.execute(books.db);
    for (let step = 0, more = true; more; step++) {
      more = await tidyStep(books.db, later, { detailDays: 7, keepDays: null });
      if (step % 7 === 0) {
        await expectTotals();
        expect(await allLines()).toEqual(before);
      }
    }
    expect(await allLines()).toEqual(before);
    await expectTotals();
    for (const table of ['ledger_lines', 'ledger_intervals', 'ledger_garbage'] as const)
      expect(await books.db.selectFrom(table).selectAll().execute()).toEqual([]);
    expect((await books.db.selectFrom('ledger_folded').selectAll().execute()).length).toBe(3);
  });

  it('keeps every line within reach, of requests, explanations and idle, by its id', async () => {
    await tidy();
    for (const { id, entry, interval } of books.booked.filter(
      (_, index) => index % 97 === 0 || index % 26 > 23,
    )) {
      const found = await findLine(books.db, id);
      expect(found?.line).toMatchObject({ id, energy_j: entry.energyJ, at_ms: entry.atMs });
      expect(found?.interval).toEqual(interval);
      expect(found?.head).toMatchObject({
        kind: entry.kind,
        key_id: entry.head?.keyId ?? null,
        node: 'here',
      });
    }
    expect(await findLine(books.db, 'r-99999999')).toBeUndefined();
    const own = books.booked.filter(({ id }) => id.startsWith('e-1~'));
    const explanation = await findLine(books.db, 'e-1');
    expect(explanation?.line.energy_j).toBeCloseTo(
      own.reduce((sum, { entry }) => sum + entry.energyJ, 0),
      12,
    );
    expect(explanation?.line).toMatchObject({ id: 'e-1', interval_id: own.at(-1)?.interval.id });
  });

  it('does not book an interval again that is packed already, and adds a late one to its day', async () => {
    await tidy();
    const [{ interval, entry } = { interval: undefined, entry: undefined }] = books.booked;
    if (!interval || !entry) throw new Error('nothing was booked');
    expect(await bookInterval(books.db, interval, [entry])).toBe(false);
    await books.add(start + 4 * hourMs, 40);
    await expectTotals();
    await tidy();
    await expectTotals();
    const ids = (await allLines()).map(({ id }) => id);
    expect(new Set(ids).size).toBe(books.booked.length);
    expect(ids.length).toBe(books.booked.length);
  });

  it('lets a reader go on where it was, though the lines were packed meanwhile', async () => {
    for (let minute = 1; minute < 6; minute++) await books.add(start + 70 * hourMs + minute * 60_000, 30);
    const window = { fromMs: start + 69 * hourMs, toMs: later, heads: null };
    const seen: string[] = [];
    for await (const { lines } of readLines(books.db, window)) {
      for (const { id } of lines) seen.push(id);
      if (seen.length < 40) await tidy();
    }
    const should = books.booked
      .filter(({ interval }) => interval.start_ms >= window.fromMs)
      .map(({ id }) => id);
    expect(seen).toEqual(should);
  });

  it('drops lines for good if it is told to, and never their sums', async () => {
    await tidy();
    while (await tidyStep(books.db, later, { detailDays: 7, keepDays: 28.5 }));
    const lines = await allLines();
    expect(lines.length).toBeGreaterThan(0);
    expect(lines.length).toBeLessThan(books.booked.length);
    const all = { fromMs: 0, toMs: later };
    expect((await counted(all)).energyJ).toBeCloseTo(expected(all).energyJ, 9);
    const { plan } = await readWindow(books.db, { fromMs: start + 60_000, toMs: start + 10 * hourMs });
    expect(plan.rounded).toEqual([start / hourMs]);
  });
});

it('has a head for each combination, with the names of that time', async () => {
  const { sums } = await readWindow(books.db, { fromMs: 0, toMs: later });
  const heads = await readHeads(books.db, sums.keys());
  expect([...heads.values()]).toContainEqual(
    expect.objectContaining({
      kind: 'inference',
      consumer: 'globex',
      owner: 'acme',
      model: 'acme/model-1',
      runner_pid: 77,
      attribution_method: 'shared step',
      outcome: 'finished',
    }),
  );
});
