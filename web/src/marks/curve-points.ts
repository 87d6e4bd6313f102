import type { CurvePoint } from '../server/shapes.ts';

/** The points that can be drawn on a logarithmic axis, from idle to busy. */
export function plottedCurve(points: readonly (CurvePoint | null)[]): CurvePoint[] {
  return points
    .filter((point) => point !== null)
    .filter(({ gCo2ePerRequest, utilisation }) => gCo2ePerRequest > 0 && utilisation > 0)
    .sort((one, other) => one.utilisation - other.utilisation);
}
