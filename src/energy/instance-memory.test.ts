import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MemoryWatch } from './instance-memory.ts';

const MB = 1e6;

/** Processes by id, as bytes; an id that is not there cannot be read. */
function watching(held: Record<number, number>): MemoryWatch {
  return new MemoryWatch((pid) => held[pid] ?? null);
}

describe('the memory of an instance', () => {
  it('is that of gateways and runners without the models', () => {
    // A gateway of 100 MB, two runners of 150 and 250 MB with models of 120 MB: 100 + 400 − 120 = 380.
    const watch = watching({ 1: 100 * MB, 2: 150 * MB, 3: 250 * MB });
    expect(watch.look([1], [2, 3], 120 * MB)).toEqual({
      low: 380 * MB,
      high: 380 * MB,
      now: 380 * MB,
      modelsBytes: 120 * MB,
      heldPart: 1,
    });
  });

  it('of runners that hold less than their models were measured at is the gateway, and says which part is held', () => {
    const watch = watching({ 1: 100 * MB, 2: 60 * MB });
    expect(watch.look([1], [2], 80 * MB)).toMatchObject({
      now: 100 * MB,
      modelsBytes: 60 * MB,
      heldPart: 0.75,
    });
  });

  it('without models is all that is held', () => {
    expect(watching({ 1: 5, 2: 7 }).look([1], [2], 0)).toMatchObject({
      now: 12,
      modelsBytes: 0,
      heldPart: 1,
    });
  });

  it('is not known where a process cannot be read, and keeps its least and most', () => {
    const held: Record<number, number> = { 1: 10 };
    const watch = watching(held);
    watch.look([1], [], 0);
    expect(watch.look([1], [2], 0)).toBeNull();
    held[1] = 30;
    watch.look([1], [], 0);
    held[1] = 20;
    expect(watch.look([1], [], 0)).toMatchObject({ low: 10, high: 30, now: 20 });
  });

  it('and that of models are together what processes hold, whatever was reserved', () => {
    const bytes = fc.integer({ min: 0, max: 1e12 });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.array(bytes, { maxLength: 3 }), fc.array(bytes, { maxLength: 3 }), bytes), {
          minLength: 1,
          maxLength: 6,
        }),
        (looks) => {
          let held: readonly number[] = [];
          const watch = new MemoryWatch((pid) => held[pid] ?? null);
          const nows: number[] = [];
          for (const [gateways, runners, reserved] of looks) {
            held = [...gateways, ...runners];
            const seen = watch.look(
              [...gateways.keys()],
              runners.map((_, at) => gateways.length + at),
              reserved,
            );
            if (!seen) throw new Error('it can be read');
            nows.push(seen.now);
            expect(seen.now + seen.modelsBytes).toBe(held.reduce((sum, own) => sum + own, 0));
            expect(seen.now).toBeGreaterThanOrEqual(gateways.reduce((sum, own) => sum + own, 0));
            expect(seen.heldPart * reserved).toBeCloseTo(seen.modelsBytes, 3);
            expect([seen.low, seen.high]).toEqual([Math.min(...nows), Math.max(...nows)]);
          }
        },
      ),
    );
  });

  it.runIf(process.platform === 'linux')(
    'of this process is no more than it has resident, and not nothing',
    () => {
      const { now = Number.NaN } = new MemoryWatch().look([process.pid], [], 0) ?? {};
      expect(now).toBeGreaterThan(10 * MB);
      // Pages shared with others count in part; it may have grown in between.
      expect(now).toBeLessThan(process.memoryUsage.rss() * 1.1);
    },
  );
});
