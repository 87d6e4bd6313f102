import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FairQueue } from './queue.ts';
import { InferCall } from './serve.ts';
import { context, tensorOf } from './testing/calls.ts';
import { Waiting } from './waiting.ts';

function waiting(
  tenant: string,
  { rows = 1, level = 0, at = 0, deadlineAt = Infinity, width = 1 } = {},
): Waiting {
  const values = new Array(rows * width).fill(0);
  const call = new InferCall(tensorOf(values, width), context(tenant, tenant));
  const never = () => {};
  return new Waiting(call, { level, queuedAt: at, deadlineAt }, never, never);
}

const take = (queue: FairQueue, maxRows: number, now = 0, batchable = true) => {
  const expired: Waiting[] = [];
  const batch = queue.take({ maxRows, batchable, now, expired: (one) => expired.push(one) });
  return { batch, expired };
};
const tenantOf = ({ context: of }: Waiting) => of.consumer.organisationId;
const queueOf = ({ limit = 1e6, levels = 1, turn = 8 } = {}) => new FairQueue({ limit, levels, turn });

describe('a fair queue', () => {
  it('keeps the order of one organisation, and gives several their turns', () => {
    const queue = queueOf({ turn: 2 });
    const flood = Array.from({ length: 10 }, () => waiting('a'));
    for (const one of flood) queue.add(one);
    queue.add(waiting('b'));
    queue.add(waiting('c'));
    const { batch } = take(queue, 6);
    expect(batch.map(tenantOf)).toEqual(['a', 'a', 'b', 'c', 'a', 'a']);
    expect(take(queue, 100).batch).toEqual(flood.slice(4));
    expect([queue.size, queue.rows]).toEqual([0, 0]);
  });

  it('lets a flood of one wait, not the few requests of another', () => {
    // A sends 10,000 at once, B one each ms; a batch of 32 rows takes 1 ms.
    const queue = queueOf({ turn: 8 });
    for (let index = 0; index < 10_000; index++) queue.add(waiting('a'));
    let worst = 0;
    let answered = 0;
    for (let ms = 0; queue.size > 0; ms++) {
      queue.add(waiting('b', { at: ms }));
      for (const one of take(queue, 32).batch) {
        if (tenantOf(one) !== 'b') continue;
        answered++;
        worst = Math.max(worst, ms - one.queuedAt);
      }
      if (ms > 320) break;
    }
    expect(answered).toBeGreaterThan(300);
    expect(worst).toBeLessThanOrEqual(1);
  });

  it('shares by rows, however many rows a request has', () => {
    const queue = queueOf({ turn: 8 });
    for (let index = 0; index < 400; index++) {
      queue.add(waiting('large', { rows: 20 }));
      for (let small = 0; small < 20; small++) queue.add(waiting('small'));
    }
    const rows = { large: 0, small: 0 };
    for (let index = 0; index < 100; index++)
      for (const one of take(queue, 32).batch) rows[tenantOf(one) as 'large' | 'small'] += one.rows;
    expect(Math.abs(rows.large / rows.small - 1)).toBeLessThan(0.1);
  });

  it('does not let one large request at a time be a way round its share', () => {
    const queue = queueOf({ turn: 8 });
    const rows = { large: 0, small: 0 };
    for (let index = 0; index < 2000; index++) queue.add(waiting('small'));
    for (let round = 0; round < 60; round++) {
      if (![...queue].some((one) => tenantOf(one) === 'large')) queue.add(waiting('large', { rows: 30 }));
      for (const one of take(queue, 32).batch) rows[tenantOf(one) as 'large' | 'small'] += one.rows;
    }
    expect(rows.large).toBeLessThan(1.2 * rows.small);
  });

  it('lets nobody fill a queue that others want to use', () => {
    const queue = queueOf({ limit: 10 });
    for (let index = 0; index < 10; index++) expect(queue.add(waiting('a'))).toBeUndefined();
    const late = waiting('a');
    expect(queue.add(late)).toBe(late);
    const displaced = Array.from({ length: 7 }, () => {
      const one = waiting('b');
      const out = queue.add(one);
      return out === one ? 'refused' : out && tenantOf(out);
    });
    expect(displaced).toEqual(['a', 'a', 'a', 'a', 'a', 'refused', 'refused']);
    expect(queue.size).toBe(10);
  });

  it('takes nothing that has expired, and tells of it', () => {
    const queue = queueOf();
    const [dead, alive] = [waiting('a', { deadlineAt: 5 }), waiting('a', { deadlineAt: 50 })];
    queue.add(dead);
    queue.add(alive);
    queue.add(waiting('b', { deadlineAt: 1 }));
    const { batch, expired } = take(queue, 10, 10);
    expect(batch).toEqual([alive]);
    expect(expired.map(tenantOf).sort()).toEqual(['a', 'b']);
  });

  it('gives each its place once, whatever comes, goes and is taken', () => {
    const step = fc.oneof(
      fc.record({
        add: fc.constantFrom('a', 'b', 'c', 'd'),
        rows: fc.integer({ min: 1, max: 40 }),
        level: fc.nat(2),
        width: fc.integer({ min: 1, max: 2 }),
        deadlineAt: fc.constantFrom(Infinity, 1, 3, 10),
      }),
      fc.record({ remove: fc.nat() }),
      fc.record({ take: fc.integer({ min: 1, max: 32 }), batchable: fc.boolean() }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), fc.integer({ min: 1, max: 20 }), (steps, limit) => {
        const queue = new FairQueue({ limit, levels: 3, turn: 4 });
        const inside = new Set<Waiting>();
        for (const [now, one] of steps.entries()) {
          if ('add' in one) {
            const added = waiting(one.add, { ...one, deadlineAt: now + one.deadlineAt });
            const displaced = queue.add(added);
            if (displaced !== added) inside.add(added);
            if (displaced && displaced !== added) expect(inside.delete(displaced)).toBe(true);
          } else if ('remove' in one) {
            const gone = [...inside][one.remove % Math.max(1, inside.size)];
            if (gone) {
              inside.delete(gone);
              queue.remove(gone);
              queue.remove(gone);
            }
          } else {
            const { batch, expired } = take(queue, one.take, now, one.batchable);
            for (const out of expired) expect(out.deadlineAt).toBeLessThanOrEqual(now);
            for (const out of [...batch, ...expired]) expect(inside.delete(out)).toBe(true);
            const rows = batch.reduce((sum, out) => sum + out.rows, 0);
            expect(batch.length <= 1 || (rows <= one.take && one.batchable)).toBe(true);
            expect(new Set(batch.map(({ inputs }) => inputs[0]?.shape[1])).size).toBeLessThanOrEqual(1);
            if (inside.size > 0 && [...inside].some(({ deadlineAt }) => deadlineAt > now))
              expect(batch.length).toBeGreaterThan(0);
          }
          expect(queue.size).toBe(inside.size);
          expect(queue.size).toBeLessThanOrEqual(limit);
          expect(new Set(queue)).toEqual(inside);
          expect(queue.rows).toBe([...inside].reduce((sum, { rows }) => sum + rows, 0));
        }
        while (queue.size > 0) take(queue, 16, Infinity);
        expect(queue.rows).toBe(0);
      }),
      { numRuns: 300 },
    );
  });
});
