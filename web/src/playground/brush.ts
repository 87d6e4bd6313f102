/** A drawing of 10 × 10 cells, row by row, 0 (paper) to 1 (ink): the very input of the model. */
export type Drawing = readonly number[];

export const side = 10;
export const blank: Drawing = Array.from({ length: side * side }, () => 0);

/** The cells by row, each with its index and its place counted from 1, as a reader counts. */
export const cellsByRow = Array.from({ length: side }, (_, row) => ({
  row: row + 1,
  cells: Array.from({ length: side }, (_, column) => ({ index: row * side + column, column: column + 1 })),
}));

/** A place on the drawing in cells: 0 … 10 from left to right and from top to bottom. */
export interface Place {
  x: number;
  y: number;
}

/** Ink at a distance from the middle of the stroke, in cells: as wide as pen strokes in the training images. */
function inkAt(distance: number): number {
  return Math.max(0, Math.min(0.95, 1.15 - 0.95 * distance));
}

/** Draws a soft line; ink never gets less. */
export function stroke(drawing: Drawing, from: Place, to: Place): Drawing {
  return drawing.map((ink, index) => {
    const middle = { x: (index % side) + 0.5, y: Math.floor(index / side) + 0.5 };
    return Math.max(ink, inkAt(distanceToLine(middle, from, to)));
  });
}

/** Draws in the middle of a cell, or clears a cell that has ink. */
export function toggle(drawing: Drawing, index: number): Drawing {
  if ((drawing[index] ?? 0) > 0.5) return erase(drawing, index);
  const middle = { x: (index % side) + 0.5, y: Math.floor(index / side) + 0.5 };
  return stroke(drawing, middle, middle);
}

export function erase(drawing: Drawing, index: number): Drawing {
  return drawing.map((ink, at) => (at === index ? 0 : ink));
}

export function isBlank(drawing: Drawing): boolean {
  return drawing.every((ink) => ink === 0);
}

function distanceToLine(place: Place, from: Place, to: Place): number {
  const along = { x: to.x - from.x, y: to.y - from.y };
  const length2 = along.x ** 2 + along.y ** 2;
  const projected =
    length2 === 0 ? 0 : ((place.x - from.x) * along.x + (place.y - from.y) * along.y) / length2;
  const t = Math.max(0, Math.min(1, projected));
  return Math.hypot(place.x - from.x - t * along.x, place.y - from.y - t * along.y);
}
