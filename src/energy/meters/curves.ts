/** Watts from utilisation: rising, straight between points, and the named curves of other tools. */
import type { PowerCurve } from './meter.ts';

/** Straight between the points, level beyond them. Example: [[0, 10], [1, 50]] at .5 → 30 W. */
export function wattsAt(curve: PowerCurve, utilisation: number): number {
  const u = Math.min(1, Math.max(0, utilisation));
  let [fromU, fromW] = curve[0] ?? [0, 0];
  for (const [toU, toW] of curve) {
    if (u <= toU) return toU > fromU ? fromW + ((toW - fromW) * (u - fromU)) / (toU - fromU) : toW;
    fromU = toU;
    fromW = toW;
  }
  return fromW;
}

/** What is wrong with a curve that somebody gave; null: nothing. */
export function curveFault(curve: PowerCurve): string | null {
  if (curve.length < 2) return 'a curve has two points or more';
  for (const [index, [u, watts]] of curve.entries()) {
    if (!(u >= 0 && u <= 1)) return `utilisation ${u} is not between 0 and 1`;
    if (!(watts > 0 && Number.isFinite(watts))) return `${watts} W is no power`;
    const before = curve[index - 1];
    if (before && u <= before[0]) return `utilisation ${u} does not come after ${before[0]}`;
    if (before && watts < before[1]) return `${watts} W at ${u} is less than ${before[1]} W at ${before[0]}`;
  }
  return null;
}

/**
 * Teads: TDP × (0: .12, .1: .32, .5: .75, 1: 1.02). Source: Impact Framework's manifests. Example: TDP 100 W, 2 of 8
 * CPUs, 360 s at 1, 10, 50, 100 % → .00035, .0008, .001875, .00255 kWh.
 */
const teads: PowerCurve = [
  [0, 0.12],
  [0.1, 0.32],
  [0.5, 0.75],
  [1, 1.02],
];

/** CodeCarbon: TDP (.1 + .9 u³), in steps of .05 (between them at most .2 % of TDP too much). Source: its code. */
const codecarbon: PowerCurve = Array.from({ length: 21 }, (_, index) => [
  index / 20,
  0.1 + 0.9 * (index / 20) ** 3,
]);

export const namedCurves = { teads, codecarbon } as const;
export type CurveName = keyof typeof namedCurves;

/** Example: `teads` with a TDP of 100 W: 12 W idle, 102 W at full load. */
export function curveOf(name: CurveName, tdpW: number): PowerCurve {
  return namedCurves[name].map(([u, part]) => [u, part * tdpW] as const);
}
