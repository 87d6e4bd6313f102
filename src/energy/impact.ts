/**
 * How well the supply is used (RUR) and what one unit of work costs the environment at a given use: f(RUR).
 * Pure. Source of both: docs/accounting.md.
 */

export interface ResourceTotals {
  used: number;
  reserved: number;
  supplied: number;
}

export interface Rur {
  /** The product of the next two; null when nothing was supplied. */
  usedOverSupplied: number | null;
  usedOverReserved: number | null;
  reservedOverSupplied: number | null;
}

/** RUR = ∫ used / ∫ supplied. Example: 2 of 10 CPU·s used, 5 reserved → .2 = .4 · .5. */
export function rur({ used, reserved, supplied }: ResourceTotals): Rur {
  return {
    usedOverSupplied: ratio(used, supplied),
    usedOverReserved: ratio(used, reserved),
    reservedOverSupplied: ratio(reserved, supplied),
  };
}

/**
 * Headline RUR = Σ ω_r RUR_r, ω_r in proportion to the impact of r at full load, so that a cheap resource cannot
 * inflate it. Resources without a RUR are left out. Example: CPU .2 at weight 9, memory .8 at weight 1 → .26.
 */
export function headlineRur(resources: readonly { rur: number | null; weight: number }[]): number | null {
  const known = resources.filter((resource) => resource.rur !== null);
  const weights = known.reduce((sum, { weight }) => sum + weight, 0);
  if (weights <= 0) return null;
  return known.reduce((sum, { rur: value, weight }) => sum + ((value ?? 0) * weight) / weights, 0);
}

/** A server at work, per hour. */
export interface Server {
  idleW: number;
  maxW: number;
  pue: number;
  /** gCO2e per kWh. */
  intensity: number;
  /** Embodied carbon of an hour, g. */
  embodiedGPerH: number;
}

/** g per hour that grow with use, and g per hour that are there anyway. */
export interface Coefficients {
  a: number;
  b: number;
}

/**
 * a = PUE·I·(Pmax − P0), b = PUE·I·P0 + M, in g/h.
 * Example (8 × H100): P0 1.16 kW, Pmax 6.8 kW, PUE 1.2, I 400, M 266.82 → a = 2707.2, b = 823.62.
 */
export function coefficients({ idleW, maxW, pue, intensity, embodiedGPerH }: Server): Coefficients {
  const gPerWh = (pue * intensity) / 1000;
  return { a: gPerWh * (maxW - idleW), b: gPerWh * idleW + embodiedGPerH };
}

/**
 * Impact of one unit of work at utilisation u: c(u) = (a + b/u)/W, W = units per hour at full use. It falls with u
 * and is convex. u = 0 has no unit of work to carry b: Infinity.
 */
export function perUnit({ a, b }: Coefficients, u: number, unitsPerHour: number): number {
  return (a + b / u) / unitsPerHour;
}

/** c(u)/c(1) = (a + b/u)/(a + b). Example (the server above): 5.432 at .05, 1.933 at .2, 1.156 at .6. */
export function relativeToFull({ a, b }: Coefficients, u: number): number {
  return (a + b / u) / (a + b);
}

/** The floor c(1) = (a + b)/W: nothing but other hardware or a cleaner grid goes below it. */
export function floorPerUnit(c: Coefficients, unitsPerHour: number): number {
  return perUnit(c, 1, unitsPerHour);
}

/** A fixed supply of n servers: n·(a·u + b) g/h. It rises with use, while the impact of each unit falls. */
export function totalPerHour({ a, b }: Coefficients, u: number, servers = 1): number {
  return servers * (a * u + b);
}

/** What a demand of D units per hour saves by moving from u1 to u2: (D/W)·b·(1/u1 − 1/u2), g/h. */
export function savingPerHour(
  { b }: Coefficients,
  unitsPerHourAtFull: number,
  demand: number,
  u1: number,
  u2: number,
) {
  return (demand / unitsPerHourAtFull) * b * (1 / u1 - 1 / u2);
}

/** On the curve: what a request causes, which falls with use, and what the whole supply causes, which rises. */
export interface CurvePoint {
  utilisation: number;
  gCo2ePerRequest: number;
  gCo2ePerHour: number;
}

/** Where a curve is told, for drawing. */
export const curvePoints = [0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1] as const;

function ratio(part: number, whole: number): number | null {
  return whole > 0 ? part / whole : null;
}
