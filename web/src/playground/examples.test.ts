import { expect, it } from 'vitest';
import { isBlank } from './brush.ts';
import { exampleDrawings } from './examples.ts';

it('every example drawing has 100 cells of ink between 0 and 1', () => {
  expect(exampleDrawings).toHaveLength(6);
  for (const { drawing } of exampleDrawings) {
    expect(drawing).toHaveLength(100);
    expect(isBlank(drawing)).toBe(false);
    for (const ink of drawing) expect(ink >= 0 && ink <= 1).toBe(true);
  }
});
