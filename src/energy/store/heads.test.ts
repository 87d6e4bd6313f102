import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Db, openDatabase } from '../../storage/db.ts';
import { ledgerPage } from '../ledger-lines.ts';
import { readLedger } from '../report-queries.ts';
import { book, headOf, lineOf, modelOf, party } from '../testing/booked.ts';
import { bookOutcomes } from './heads.ts';
import { hourMs } from './tally.ts';
import { tidyStep } from './tidy.ts';

const acme = party('acme');
const digits = modelOf(acme, 'digits');
const dayMs = 24 * hourMs;
let db: Db;
beforeEach(async () => {
  db = await openDatabase(':memory:');
});
afterEach(() => db.destroy());

/** A second in which two jobs computed, one of them in vain for a part of it, and somebody asked. */
async function bookAt(startMs: number): Promise<void> {
  const of = (jobId: string | null) => ({ ...headOf(acme, digits), jobId });
  const id = `i${startMs}`;
  await book(db, {
    id,
    startMs,
    durationS: 1,
    hostBusyS: 1,
    runners: [{ pid: 1, cpuS: 1 }],
    lines: [
      lineOf(of('good'), [`good-${id}`], { atMs: startMs }),
      lineOf(of('bad'), [`bad-${id}`], { atMs: startMs }),
      lineOf(of('bad'), [`left-${id}`], { atMs: startMs, outcome: 'aborted' }),
      lineOf(of(null), [`asked-${id}`], { atMs: startMs }),
    ],
  });
}

async function outcomesOf(): Promise<Record<string, string[]>> {
  const window = { fromMs: 0, toMs: 30 * dayMs, scope: 'all' as const, kind: 'inference' as const };
  const { lines } = await ledgerPage(db, window, { limit: 1000 });
  const found: Record<string, Set<string>> = {};
  for (const { id, outcome } of lines) {
    const [name = ''] = id.split('-');
    found[name] ??= new Set();
    found[name].add(outcome);
  }
  return Object.fromEntries(Object.entries(found).map(([name, all]) => [name, [...all]]));
}

/** CPU·s by outcome, of all requests. */
async function sums(): Promise<Record<string, number>> {
  const { sums: window, heads } = await readLedger(db, { fromMs: 0, toMs: 30 * dayMs });
  const found: Record<string, number> = {};
  for (const [id, stored] of window.sums) {
    const head = heads.get(id);
    if (head?.kind === 'inference') found[head.outcome] = (found[head.outcome] ?? 0) + stored.cpu_s;
  }
  return found;
}

describe('a job that came to nothing', () => {
  it('changes what its lines say and no figure: packed ones, sums of days and what comes later', async () => {
    await bookAt(0);
    await bookAt(dayMs);
    while (await tidyStep(db, 20 * dayMs, { detailDays: 7, keepDays: null }));
    const packed = await db.selectFrom('ledger_archive').select('lines').execute();
    expect(packed.length).toBe(2);
    await bookAt(20 * dayMs);
    const before = await sums();
    expect(before.finished).toBeCloseTo(3 * 0.75, 9);

    const ends = [{ jobId: 'bad', outcome: 'failed' as const }];
    await bookOutcomes(db, ends);
    await bookOutcomes(db, ends);
    await bookAt(20 * dayMs + 1000);
    expect(await outcomesOf()).toEqual({
      good: ['finished'],
      bad: ['failed'],
      left: ['aborted'],
      asked: ['finished'],
    });
    const after = await sums();
    expect(after.finished).toBeCloseTo(4 * 0.5, 9);
    expect(after.failed).toBeCloseTo(4 * 0.25, 9);
    expect(after.aborted).toBeCloseTo(4 * 0.25, 9);
  });

  it('that was cancelled has left; of no job nothing changes', async () => {
    await bookAt(0);
    await bookOutcomes(db, [{ jobId: 'bad', outcome: 'aborted' }]);
    await bookOutcomes(db, []);
    expect(await outcomesOf()).toMatchObject({ good: ['finished'], bad: ['aborted'], asked: ['finished'] });
  });
});
