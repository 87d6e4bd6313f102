import { describe, expect, it } from 'vitest';
import { Unbooked } from './unbooked.ts';

describe('what runners are at besides computing for callers', () => {
  it('is what they loaded since they were last asked, and the call that they are at', () => {
    const unbooked = new Unbooked();
    expect(unbooked.take()).toEqual(new Map());
    let now = new Map([
      [1, { loadingMs: 400, answeredMs: 0, underWayMs: 0 }],
      [2, { loadingMs: 0, answeredMs: 0, underWayMs: 300 }],
    ]);
    unbooked.watch(() => now);
    expect(unbooked.isUnderWay()).toBe(true);
    expect(unbooked.take()).toEqual(
      new Map([
        [1, 0.4],
        [2, 0.3],
      ]),
    );
    now = new Map([[1, { loadingMs: 450, answeredMs: 0, underWayMs: 20 }]]);
    expect(unbooked.isUnderWay()).toBe(false);
    expect(unbooked.take().get(1)).toBeCloseTo(0.07, 12);
    // Another process with the same id begins anew.
    now = new Map();
    unbooked.take();
    now = new Map([[1, { loadingMs: 100, answeredMs: 0, underWayMs: 0 }]]);
    expect(unbooked.take().get(1)).toBeCloseTo(0.1, 12);
  });

  it('is what they computed for nobody, such as warm-ups: all that they told less what was booked', () => {
    const unbooked = new Unbooked();
    let answeredMs = 30;
    unbooked.watch(() => new Map([[1, { loadingMs: 0, answeredMs, underWayMs: 0 }]]));
    unbooked.booked(1, 10e6);
    unbooked.booked(1, 5e6);
    expect(unbooked.take().get(1)).toBeCloseTo(0.015, 12);
    answeredMs = 40;
    unbooked.booked(1, 10e6);
    expect(unbooked.take().get(1)).toBeCloseTo(0, 12);
  });
});
