import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chooseRegion } from './region-choice.ts';

const near = { name: 'near', gPerKwh: 300, latencyMs: 20 };
const far = { name: 'far', gPerKwh: 120, latencyMs: 90 };
const open = { maxLatencyMs: null, gPerKwhPerMs: 0 };

describe('the region', () => {
  it('is the cleanest, weighed by its distance, and near enough', () => {
    expect(chooseRegion([near, far], { ...open, gPerKwhPerMs: 1 })).toEqual({
      best: 'far',
      why: 'cleanest',
      scores: [
        { name: 'near', score: 320 },
        { name: 'far', score: 210 },
      ],
    });
    expect(chooseRegion([near, far], { maxLatencyMs: 50, gPerKwhPerMs: 1 }).best).toBe('near');
    expect(chooseRegion([near, far], { ...open, gPerKwhPerMs: 3 }).best).toBe('near');
  });

  it('is the nearest where nothing else can be told, and says so', () => {
    expect(chooseRegion([far, near], { maxLatencyMs: 5, gPerKwhPerMs: 0 })).toMatchObject({
      best: 'near',
      why: 'nearest',
    });
    expect(chooseRegion([{ ...far, gPerKwh: null }, near], open).best).toBe('near');
  });

  it('is never beaten by another that is near enough', () => {
    const region = fc.record({
      name: fc.uuid(),
      gPerKwh: fc.integer({ min: 1, max: 900 }),
      latencyMs: fc.integer({ min: 1, max: 300 }),
    });
    fc.assert(
      fc.property(
        fc.array(region, { minLength: 1, maxLength: 6 }),
        fc.integer({ min: 0, max: 5 }),
        (regions, weight) => {
          const { best } = chooseRegion(regions, { maxLatencyMs: null, gPerKwhPerMs: weight });
          const score = (name: string) => {
            const found = regions.find((one) => one.name === name);
            return (found?.gPerKwh ?? 0) + weight * (found?.latencyMs ?? 0);
          };
          expect(score(best)).toBe(Math.min(...regions.map(({ name }) => score(name))));
        },
      ),
    );
  });
});
