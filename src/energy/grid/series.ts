/**
 * Values of a grid over time. Pure. A value holds from its own time until the next one begins; the last one is
 * carried on for a while. So the integral over a time is the sum of the integrals over its parts, at any step.
 */

export interface GridPoint {
  startMs: number;
  /** When its own step ends: beyond, it is carried on. */
  endMs: number;
  /** gCO2e per kWh. */
  gPerKwh: number;
  /** A forecast, or filled in by the source. */
  estimated: boolean;
}

/** A part of a time in which one value holds, or none is known. */
export interface Piece {
  startMs: number;
  endMs: number;
  point: GridPoint | null;
}

/** No grid has been seen above; 1 kWh of the worst lignite is about half of it. */
const mostGPerKwh = 3000;

/**
 * Why a value cannot be true; null: it can. A life cycle is never free of carbon, but for some hours nothing may
 * leave a region's chimneys, and the last power station that is turned down may be a wind turbine.
 */
export function implausible(gPerKwh: number, scope: 'life-cycle' | 'direct'): string | null {
  if (!Number.isFinite(gPerKwh)) return 'is not a number';
  if (gPerKwh < 0) return 'is negative';
  if (gPerKwh === 0 && scope === 'life-cycle') return 'is 0, which no life cycle is';
  if (gPerKwh > mostGPerKwh) return `is above ${mostGPerKwh} g/kWh`;
  return null;
}

/** Sorted by time; of several values for one time the later in the list counts, as sources correct themselves. */
export function ordered(points: readonly GridPoint[]): GridPoint[] {
  const byStart = new Map<number, GridPoint>();
  for (const point of points) byStart.set(point.startMs, point);
  return [...byStart.values()].sort((a, b) => a.startMs - b.startMs);
}

/**
 * Points from times and values: each lasts until the next, but not longer than the usual step (the median); the
 * last one lasts that long. Example: 00:00, 01:00, 02:00, 05:00 → the value of 02:00 lasts until 03:00.
 */
export function steps(
  values: readonly { startMs: number; gPerKwh: number; estimated: boolean; endMs?: number | undefined }[],
  onlyStepMs: number,
): GridPoint[] {
  const sorted = ordered(values.map((value) => ({ endMs: Number.NaN, ...definedEnd(value) })));
  const gaps = sorted
    .slice(1)
    .map((point, index) => point.startMs - (sorted[index]?.startMs ?? 0))
    .sort((a, b) => a - b);
  const usual = gaps[Math.floor((gaps.length - 1) / 2)] ?? onlyStepMs;
  return sorted.map((point, index) => {
    const next = sorted[index + 1]?.startMs ?? Number.POSITIVE_INFINITY;
    const own = Number.isNaN(point.endMs) ? point.startMs + usual : point.endMs;
    return { ...point, endMs: Math.min(own, next) };
  });
}

function definedEnd<T extends { endMs?: number | undefined }>({ endMs, ...value }: T) {
  return endMs === undefined ? value : { ...value, endMs };
}

/**
 * Cuts a time into parts in which one value holds. `points` are sorted. A value is carried on for `carryMs` after
 * its own step; what follows until the next one has no value.
 */
export function pieces(
  points: readonly GridPoint[],
  startMs: number,
  endMs: number,
  carryMs: number,
): Piece[] {
  const found: Piece[] = [];
  let at = startMs;
  for (let index = lastBefore(points, startMs); at < endMs; index++) {
    const point = index < 0 ? undefined : points[index];
    const nextMs = Math.min(endMs, points[index + 1]?.startMs ?? endMs);
    const holdsMs = point ? Math.min(nextMs, point.endMs + carryMs) : at;
    if (point && holdsMs > at) {
      found.push({ startMs: at, endMs: holdsMs, point });
      at = holdsMs;
    }
    if (nextMs > at) {
      found.push({ startMs: at, endMs: nextMs, point: null });
      at = nextMs;
    }
  }
  return found;
}

/** Index of the last point that began at or before a time; −1: none did. */
function lastBefore(points: readonly GridPoint[], atMs: number): number {
  let low = 0;
  let high = points.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((points[middle]?.startMs ?? Number.POSITIVE_INFINITY) <= atMs) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
