import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { blank, erase, isBlank, side, stroke, toggle } from './brush.ts';

const place = fc.record({
  x: fc.double({ min: 0, max: side, noNaN: true }),
  y: fc.double({ min: 0, max: side, noNaN: true }),
});

describe('the brush', () => {
  it('is dark in the middle and soft at the edge', () => {
    const drawing = stroke(blank, { x: 4.5, y: 4.5 }, { x: 4.5, y: 4.5 });
    expect(drawing[44]).toBe(0.95);
    expect(drawing[45]).toBeCloseTo(0.2);
    expect(drawing[55]).toBe(0);
  });

  it('leaves no hole, however fast the pointer moves', () => {
    const drawing = stroke(blank, { x: 4.5, y: 0.5 }, { x: 4.5, y: 9.5 });
    for (let row = 0; row < side; row++) expect(drawing[row * side + 4]).toBe(0.95);
  });

  it('only ever adds ink, between 0 and 1', () => {
    fc.assert(
      fc.property(place, place, place, place, (a, b, c, d) => {
        const before = stroke(blank, a, b);
        const after = stroke(before, c, d);
        expect(after).toHaveLength(side * side);
        after.forEach((ink, index) => {
          expect(ink).toBeGreaterThanOrEqual(before[index] ?? 0);
          expect(ink).toBeLessThanOrEqual(1);
        });
      }),
    );
  });

  it('toggles a cell by keyboard', () => {
    const drawn = toggle(blank, 33);
    expect(drawn[33]).toBe(0.95);
    expect(toggle(drawn, 33)[33]).toBe(0);
    expect(erase(drawn, 33)[34]).toBeCloseTo(0.2);
    expect(isBlank(blank)).toBe(true);
    expect(isBlank(drawn)).toBe(false);
  });
});
