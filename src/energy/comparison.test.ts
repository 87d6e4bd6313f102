import { describe, expect, it } from 'vitest';
import { Comparison, perRequestJ, smallerOnes } from './comparison.ts';
import { makeBooks } from './store/testing/books.ts';

const big = { model: 'acme/big', modelId: 'm1', version: 1 };
const small = { model: 'acme/small', modelId: 'm2', version: 1 };
const tiny = { model: 'globex/tiny', modelId: 'm3', version: 2 };

describe('smaller models of the same task', () => {
  const uses = new Map([
    ['m1:1', { requests: 10, energyJ: 36 }],
    ['m2:1', { requests: 100, energyJ: 90 }],
    ['m3:2', { requests: 2, energyJ: 0.72 }],
  ]);
  const settled = (modelId: string) => (modelId === 'm3' ? null : true);

  it('come with their energy per request and its ratio, least first', () => {
    const found = smallerOnes(big, [big, small, tiny], uses, settled);
    expect(found.map(({ model, requests, settled: trusted }) => [model, requests, trusted])).toEqual([
      ['globex/tiny', 2, null],
      ['acme/small', 100, true],
    ]);
    // .36 J of 3.6 J a request.
    expect(found[0]?.ratio).toBeCloseTo(0.1, 12);
    expect(found[0]?.energyWhPerRequest).toBeCloseTo(1e-4, 12);
  });

  it('are none for the smallest, and none where it is not known what was asked for uses', () => {
    expect(smallerOnes(tiny, [big, small, tiny], uses, settled)).toEqual([]);
    expect(smallerOnes({ ...big, version: 9 }, [small, tiny], uses, settled)).toEqual([]);
  });
});

describe('what a request of a version used', () => {
  it('is what the ledger booked for its inferences in 30 days, and is read once a minute', async () => {
    const start = Date.UTC(2026, 5, 1);
    const books = await makeBooks();
    await books.add(start - 40 * 24 * 3_600_000, 50);
    await books.add(start, 50, ['call-1']);
    await books.add(start + 5000, 30);
    let now = start + 10_000;
    const comparison = new Comparison(books.db, () => now);
    const uses = await comparison.uses();
    for (const modelId of ['m1', 'm2']) {
      const own = books.booked.filter(
        ({ entry, interval }) =>
          entry.kind === 'inference' && entry.owner?.modelId === modelId && interval.start_ms >= start,
      );
      const joules = own.reduce((sum, { entry }) => sum + entry.energyJ, 0);
      expect(uses.get(`${modelId}:1`)?.requests).toBe(own.length);
      expect(perRequestJ(uses.get(`${modelId}:1`))).toBeCloseTo(joules / own.length, 12);
    }
    await books.add(start + 20_000, 10);
    const requests = async () =>
      [...(await comparison.uses()).values()].reduce((sum, use) => sum + use.requests, 0);
    now = start + 65_000;
    expect(await requests()).toBe(80);
    now = start + 71_000;
    expect(await requests()).toBe(90);
    expect(perRequestJ(undefined)).toBeNull();
  });
});
