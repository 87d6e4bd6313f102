import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Layers } from './layers.ts';
import { type GridPoint, implausible, ordered, pieces, steps } from './series.ts';

const hour = 3_600_000;
const start = Date.parse('2026-03-28T22:00:00Z');

const yearly = {
  zone: 'DEU',
  value: 342.06,
  source: 'yearly',
  kind: 'average',
  scope: 'life-cycle',
  estimated: true,
  stale: false,
  atMs: null,
  instead: null,
} as const;

const source = {
  name: 'test',
  zone: 'DE',
  kind: 'average',
  scope: 'life-cycle',
  origin: 'a test',
  description: 'a test series',
  everyMs: hour,
  local: true,
  read: async () => [],
} as const;

function layersOf(points: readonly GridPoint[], limits = { staleAfterMs: hour, maxAgeMs: 6 * hour }) {
  return new Layers([{ source, points, problem: null }], yearly, limits);
}

const at = (hours: number, gPerKwh: number) => ({
  startMs: start + hours * hour,
  gPerKwh,
  estimated: false,
});

describe('a series of intensities', () => {
  it('weighs each value by how long it held: half an hour at 100 and half at 300 g/kWh are 200', () => {
    const layers = layersOf(steps([at(0, 100), at(1, 300)], hour));
    expect(layers.over(start + hour / 2, start + 1.5 * hour)).toMatchObject({
      value: 200,
      zone: 'DE',
      stale: false,
      atMs: start + hour,
      instead: null,
    });
  });

  it('has steps of any length: 10 minutes at 600 in an hour at 300 count as 10 minutes', () => {
    const layers = layersOf(steps([at(0, 300), at(0.5, 600), at(0.5 + 1 / 6, 300), at(1, 300)], hour));
    expect(layers.over(start, start + hour).value).toBeCloseTo(350, 9);
  });

  it('lasts for the usual step where a value is missing: of 0, 1, 2, 5 h that of 2 h lasts until 3 h', () => {
    const points = steps([at(0, 1), at(1, 2), at(2, 3), at(5, 4)], hour);
    expect(points.map(({ startMs, endMs }) => (endMs - startMs) / hour)).toEqual([1, 1, 1, 1]);
  });

  it('carries a value on, says so when it gets old, and no longer than allowed', () => {
    const layers = layersOf(steps([at(0, 100), at(1, 120)], hour));
    const during = (hours: number) => layers.over(start + hours * hour, start + (hours + 0.1) * hour);
    expect(during(2.5)).toMatchObject({ value: 120, stale: false });
    expect(during(4)).toMatchObject({ value: 120, stale: true });
    expect(during(9)).toMatchObject({
      value: 342.06,
      zone: 'DEU',
      estimated: true,
      instead: expect.stringMatching(/test has no value for this time; the yearly average of DEU stands in/),
    });
  });

  it('names each part when one time has two sources', () => {
    const layers = layersOf(steps([at(0, 100)], hour), { staleAfterMs: 0, maxAgeMs: 0 });
    const mixed = layers.over(start, start + 4 * hour);
    expect(mixed.value).toBeCloseTo((100 + 3 * 342.06) / 4, 9);
    expect(mixed.source).toBe('75 % yearly, 25 % a test series');
    expect(mixed.instead).toMatch(/stands in for 75 % of it/);
  });

  it('forecasts only what is known, not what is carried on', () => {
    const layers = layersOf(steps([at(0, 100), at(1, 120)], hour));
    expect(layers.known(start + 1.5 * hour, start + 9 * hour)).toEqual([
      { startMs: start + 1.5 * hour, endMs: start + 2 * hour, gPerKwh: 120 },
    ]);
  });

  it('knows what cannot be true', () => {
    expect(implausible(-1, 'direct')).toMatch(/negative/);
    expect(implausible(3001, 'direct')).toMatch(/above 3000/);
    expect(implausible(Number.NaN, 'direct')).toMatch(/not a number/);
    expect(implausible(0, 'life-cycle')).toMatch(/no life cycle/);
    // South Scotland at night, by the half-hour forecasts of carbonintensity.org.uk.
    expect(implausible(0, 'direct')).toBeNull();
  });
});

describe('any series', () => {
  const series = fc
    .array(
      fc.record({
        startMs: fc.integer({ min: start, max: start + 72 * hour }),
        gPerKwh: fc.double({ min: 1, max: 3000, noNaN: true }),
        estimated: fc.boolean(),
      }),
      { maxLength: 60 },
    )
    .map((values) => steps(values, hour));
  const time = fc.integer({ min: start - 10 * hour, max: start + 90 * hour });

  it('has the same integral however a time is split', () => {
    fc.assert(
      fc.property(series, fc.array(time, { minLength: 3, maxLength: 30 }), (points, times) => {
        const cuts = [...new Set(times)].sort((a, b) => a - b);
        fc.pre(cuts.length > 2);
        const layers = layersOf(points);
        const integral = (from: number, to: number) => layers.over(from, to).value * (to - from);
        const whole = integral(cuts[0] ?? 0, cuts.at(-1) ?? 0);
        let parts = 0;
        for (let index = 1; index < cuts.length; index++)
          parts += integral(cuts[index - 1] ?? 0, cuts[index] ?? 0);
        expect(Math.abs(parts - whole)).toBeLessThanOrEqual(1e-12 * whole);
      }),
    );
  });

  it('is cut into pieces that follow each other without gap or overlap', () => {
    fc.assert(
      fc.property(series, time, fc.integer({ min: 1, max: 50 * hour }), (points, from, length) => {
        const cut = pieces(points, from, from + length, hour);
        expect(cut[0]?.startMs).toBe(from);
        expect(cut.at(-1)?.endMs).toBe(from + length);
        for (const [index, piece] of cut.entries()) {
          expect(piece.endMs).toBeGreaterThan(piece.startMs);
          if (index > 0) expect(piece.startMs).toBe(cut[index - 1]?.endMs);
        }
      }),
    );
  });

  it('does not depend on the order of its values', () => {
    fc.assert(
      fc.property(series, (points) => {
        expect(ordered([...points].reverse())).toEqual(ordered(points));
      }),
    );
  });
});
