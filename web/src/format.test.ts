import { describe, expect, it } from 'vitest';
import {
  joulesOf,
  percent,
  plain,
  quantity,
  shareOf,
  signedPoints,
  signedQuantity,
  unknownFigure,
} from './format.ts';

describe('figures', () => {
  it('carry an SI prefix and three significant digits', () => {
    expect(quantity(1.2e-6, 'Wh')).toBe('1.2\u00a0µWh');
    expect(quantity(0.01234, 'gCO₂e')).toBe('12.3\u00a0mgCO₂e');
    expect(quantity(41.27, 'W')).toBe('41.3\u00a0W');
    expect(quantity(12345, 'J')).toBe('12.3\u00a0kJ');
    expect(quantity(0, 'Wh')).toBe('0\u00a0Wh');
  });

  it('show a negative saving with its sign', () => {
    expect(signedQuantity(-0.5, 'g')).toBe('−500\u00a0mg');
    expect(signedQuantity(2, 'g')).toBe('+2\u00a0g');
    expect(signedPoints(-0.025)).toBe('−2.5\u00a0points');
  });

  it('of money have no prefix', () => {
    expect(plain(0.083)).toBe('0.083');
    expect(plain(1234.5)).toBe('1,234.5');
    expect(plain(null)).toBe(unknownFigure);
  });

  it('are a dash when unknown, never 0', () => {
    expect(quantity(null, 'Wh')).toBe(unknownFigure);
    expect(quantity(Number.NaN, 'Wh')).toBe(unknownFigure);
    expect(percent(null)).toBe(unknownFigure);
    expect(joulesOf(null)).toBeNull();
  });

  it('keep small shares visible', () => {
    expect(percent(0.0004)).toBe('0.04\u00a0%');
    expect(percent(0.876)).toBe('87.6\u00a0%');
    expect(percent(0)).toBe('0\u00a0%');
  });

  it('know what a watt-hour is, and that a share of nothing is unknown', () => {
    expect(joulesOf(1)).toBe(3600);
    expect(shareOf(1, 4)).toBe(0.25);
    expect(shareOf(0, 0)).toBeNull();
  });
});
