import { scaleLinear } from 'd3-scale';
import type { CurvePoint } from '../server/shapes.ts';

/** A point that can be drawn on a logarithmic axis. */
export interface PlottedPoint {
  utilisation: number;
  gCo2e: number;
}

/** The points of a report's curve that can be drawn, from idle to busy. */
export function plottedCurve(curve: readonly CurvePoint[]): PlottedPoint[] {
  return curve
    .flatMap(({ utilisation, gCo2ePerRequest: gCo2e }) =>
      gCo2e !== null && gCo2e > 0 && utilisation > 0 ? [{ utilisation, gCo2e }] : [],
    )
    .sort((one, other) => one.utilisation - other.utilisation);
}

/**
 * The point of the curve at a utilisation, between the points given and beyond them. f(u) = (a + b/u)/W is a straight
 * line in 1/u, so a linear scale over 1/u meets it exactly. Null where there is no such point.
 */
export function pointAt(curve: readonly PlottedPoint[], utilisation: number | null): PlottedPoint | null {
  if (utilisation === null || !(utilisation > 0) || curve.length < 2) return null;
  const byInverse = scaleLinear(
    curve.map((point) => 1 / point.utilisation),
    curve.map((point) => point.gCo2e),
  );
  const gCo2e = byInverse(1 / utilisation);
  return gCo2e > 0 ? { utilisation, gCo2e } : null;
}
