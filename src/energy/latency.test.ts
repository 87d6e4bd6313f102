import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LatencyWatch, latencyModel, p95At, p95Of, safeUse } from './latency.ts';

describe('the use that keeps a latency objective', () => {
  it('is that of M/M/1 from one observation: 20 ms at u = .5 is 40 ms at .75 and within 100 ms up to .9', () => {
    const model = latencyModel([{ utilisation: 0.5, p95Ms: 20, requests: 100 }]);
    if (!model) throw new Error('no model');
    expect(p95At(model, 0.75)).toBeCloseTo(40, 9);
    expect(safeUse(model, 100)).toBeCloseTo(0.9, 9);
    expect(safeUse(model, 9)).toBe(0);
  });

  it('finds own time and wait again from windows of different use', () => {
    const windows = [0.1, 0.3, 0.5, 0.7].map((utilisation) => ({
      utilisation,
      p95Ms: 8 + (3 * utilisation) / (1 - utilisation),
      requests: 50,
    }));
    const model = latencyModel(windows);
    expect(model).toMatchObject({ method: 'fitted to windows of different use' });
    expect(model?.ownMs).toBeCloseTo(8, 9);
    expect(model?.waitMs).toBeCloseTo(3, 9);
  });

  it('keeps the objective there, and not beyond', () => {
    const amount = fc.double({ min: 0.1, max: 1e4, noNaN: true });
    fc.assert(
      fc.property(amount, amount, amount, (ownMs, waitMs, objective) => {
        const model = { ownMs, waitMs, method: 'fitted to windows of different use' as const };
        const u = safeUse(model, objective);
        if (u === 0) expect(ownMs).toBeGreaterThanOrEqual(objective);
        else expect(p95At(model, u) / objective).toBeCloseTo(1, 6);
      }),
    );
  });

  it('is not known without requests', () => {
    expect(latencyModel([])).toBeNull();
    expect(p95Of([0, 0, 0], [0.01, 0.1])).toBeNull();
  });
});

describe('p95 of a histogram', () => {
  it('lies within its bucket: 90 up to 10 ms and 10 up to 100 ms → 55 ms', () => {
    expect(p95Of([90, 10, 0], [0.01, 0.1])).toBeCloseTo(55, 9);
  });

  it('is beyond all bounds when a tenth took longer', () => {
    expect(p95Of([90, 0, 10], [0.01, 0.1])).toBe(Number.POSITIVE_INFINITY);
  });
});

describe('watching latencies', () => {
  it('tells use and p95 of each minute, and only what was new in it', () => {
    let counts = [0, 0, 0];
    const watch = new LatencyWatch(() => ({
      boundsS: [0.01, 0.1],
      models: [{ model: 'acme/m:1', objectiveMs: 50, counts }],
    }));
    counts = [90, 10, 0];
    for (let second = 0; second < 60; second++) watch.interval(1, 1, 2);
    counts = [190, 10, 0];
    for (let second = 0; second < 60; second++) watch.interval(1, 0.5, 2);
    const [model] = watch.models();
    expect(model).toMatchObject({ model: 'acme/m:1', objectiveMs: 50 });
    expect(model?.windows[0]).toEqual({ utilisation: 0.5, p95Ms: 55.00000000000001, requests: 100 });
    expect(model?.windows[1]).toMatchObject({ utilisation: 0.25, requests: 100 });
    expect(model?.windows[1]?.p95Ms).toBeCloseTo(9.5, 9);
  });
});
