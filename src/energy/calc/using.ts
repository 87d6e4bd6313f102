/** Formulas of use: RUR, and what a unit of work costs at a given use. */
import { z } from 'zod';
import {
  coefficients,
  floorPerUnit,
  headlineRur as headline,
  perUnit,
  relativeToFull,
  rur as rurOf,
  savingPerHour,
  totalPerHour,
} from '../impact.ts';
import { field, formula } from './formula.ts';

const source = 'docs/accounting.md §5 and §6; Barroso and Hölzle 2007 for P0 and Pmax';

export const rur = formula({
  id: 'rur',
  title: 'Resource utilisation rate',
  formula: 'RUR = ∫ used / ∫ supplied = (used / reserved) · (reserved / supplied)',
  units: { used: 'CPU·s, GB·s or accelerator·s', reserved: 'as used', supplied: 'as used' },
  source,
  input: z
    .strictObject({
      used: field.amount,
      reserved: field.amount,
      supplied: field.amount,
      failed: field.amount.default(0).describe('used for what failed or was done twice'),
    })
    .refine(({ used, failed }) => failed <= used, { path: ['failed'], error: 'above used' }),
  example: { used: 2, reserved: 5, supplied: 10, failed: 0.5 },
  compute({ failed, ...totals }) {
    const goodput = rurOf({ ...totals, used: totals.used - failed }).usedOverSupplied;
    return { ...rurOf(totals), goodputOverSupplied: goodput };
  },
});

export const headlineRur = formula({
  id: 'headline-rur',
  title: 'One RUR of several resources',
  formula: 'Σ ω_r · RUR_r, ω_r ∝ PUE · I · Pmax_r + M_r',
  units: { 'resources.maxW': 'W', 'resources.embodiedGPerH': 'gCO2e/h', gPerKwh: 'gCO2e/kWh' },
  source,
  input: z.strictObject({
    resources: z
      .array(
        z.strictObject({
          name: z.string().min(1),
          rur: field.utilisation.nullable(),
          maxW: field.amount,
          embodiedGPerH: field.amount.default(0),
        }),
      )
      .min(1),
    pue: field.pue,
    gPerKwh: field.gPerKwh,
  }),
  example: {
    resources: [
      { name: 'cpu', rur: 0.2, maxW: 90 },
      { name: 'memory', rur: 0.8, maxW: 10 },
    ],
    gPerKwh: 400,
  },
  compute({ resources, pue, gPerKwh }) {
    const weighed = resources.map(({ name, rur: value, maxW, embodiedGPerH }) => ({
      name,
      rur: value,
      weight: ((pue * gPerKwh) / 1000) * maxW + embodiedGPerH,
    }));
    return { headlineRur: headline(weighed), resources: weighed };
  },
});

const server = {
  idleW: field.amount,
  maxW: field.positive,
  pue: field.pue,
  gPerKwh: field.gPerKwh,
  embodiedGPerH: field.amount.default(0),
};
const serverUnits = { idleW: 'W', maxW: 'W', gPerKwh: 'gCO2e/kWh', embodiedGPerH: 'gCO2e/h' };
const eightH100 = { idleW: 1160, maxW: 6800, pue: 1.2, gPerKwh: 400, embodiedGPerH: 266.82 };

interface ServerInput {
  idleW: number;
  maxW: number;
  pue: number;
  gPerKwh: number;
  embodiedGPerH: number;
}

function coefficientsOf({ gPerKwh, ...rest }: ServerInput) {
  return coefficients({ ...rest, intensity: gPerKwh });
}

const utilisationAboveZero = z.number().gt(0).max(1).describe('above 0, at most 1');

export const impactPerUnit = formula({
  id: 'impact-per-unit',
  title: 'Impact of one unit of work at a utilisation: f(RUR)',
  formula: 'c(u) = (a + b/u)/W, a = PUE·I·(Pmax − P0), b = PUE·I·P0 + M',
  units: { ...serverUnits, unitsPerHour: '1/h at full use', a: 'gCO2e/h', b: 'gCO2e/h', perUnitG: 'gCO2e' },
  source,
  input: z.strictObject({
    ...server,
    utilisation: utilisationAboveZero,
    unitsPerHour: field.positive.default(1),
  }),
  example: { ...eightH100, utilisation: 0.2, unitsPerHour: 1000 },
  compute({ utilisation, unitsPerHour, ...machine }) {
    const c = coefficientsOf(machine);
    return {
      ...c,
      perUnitG: perUnit(c, utilisation, unitsPerHour),
      floorG: floorPerUnit(c, unitsPerHour),
      relativeToFull: relativeToFull(c, utilisation),
    };
  },
});

export const fixedSupply = formula({
  id: 'fixed-supply',
  title: 'Total of a fixed supply: it rises with use, while each unit gets cheaper',
  formula: 'C = n · (a · u + b)',
  units: { ...serverUnits, gPerHour: 'gCO2e/h' },
  source,
  input: z.strictObject({ ...server, utilisation: field.utilisation, servers: field.positive.default(1) }),
  example: { ...eightH100, utilisation: 0.5 },
  compute: ({ utilisation, servers, ...machine }) => ({
    gPerHour: totalPerHour(coefficientsOf(machine), utilisation, servers),
  }),
});

export const savingByConsolidation = formula({
  id: 'saving-by-consolidation',
  title: 'What a demand saves when its servers are fewer and fuller',
  formula: 'ΔC = (D/W) · b · (1/u1 − 1/u2)',
  units: { ...serverUnits, demandPerHour: '1/h', unitsPerHour: '1/h at full use', savingGPerHour: 'gCO2e/h' },
  source,
  input: z.strictObject({
    ...server,
    demandPerHour: field.amount,
    unitsPerHour: field.positive,
    from: utilisationAboveZero,
    to: utilisationAboveZero,
  }),
  example: { ...eightH100, demandPerHour: 500, unitsPerHour: 1000, from: 0.05, to: 0.5 },
  compute({ demandPerHour, unitsPerHour, from, to, ...machine }) {
    const c = coefficientsOf(machine);
    const savingGPerHour = savingPerHour(c, unitsPerHour, demandPerHour, from, to);
    const beforeGPerHour = demandPerHour * perUnit(c, from, unitsPerHour);
    return { savingGPerHour, beforeGPerHour, afterGPerHour: beforeGPerHour - savingGPerHour };
  },
});

export const operatingPoint = formula({
  id: 'operating-point',
  title: 'The best utilisation on a measured power curve, within the latency objective',
  formula: 'argmin over points with latency ≤ objective of c(u) = [PUE·I·P(u) + M]/(u·W)',
  units: {
    'points.watts': 'W',
    'points.latencyMs': 'ms',
    gPerKwh: 'gCO2e/kWh',
    embodiedGPerH: 'gCO2e/h',
    perUnitG: 'gCO2e',
  },
  source: `${source}; the optimum may lie below u = 1`,
  input: z.strictObject({
    points: z
      .array(
        z.strictObject({
          utilisation: utilisationAboveZero,
          watts: field.positive,
          latencyMs: field.amount.nullable().default(null).describe('null: not known'),
        }),
      )
      .min(1),
    latencyObjectiveMs: field.positive.nullable().default(null),
    pue: field.pue,
    gPerKwh: field.gPerKwh,
    embodiedGPerH: field.amount.default(0),
    unitsPerHour: field.positive.default(1),
  }),
  example: {
    points: [
      { utilisation: 0.25, watts: 2000, latencyMs: 20 },
      { utilisation: 0.7, watts: 3000, latencyMs: 40 },
      { utilisation: 1, watts: 6800, latencyMs: 400 },
    ],
    latencyObjectiveMs: 100,
    gPerKwh: 400,
    embodiedGPerH: 266.82,
  },
  compute({ points, latencyObjectiveMs, pue, gPerKwh, embodiedGPerH, unitsPerHour }) {
    const curve = points.map(({ utilisation, watts, latencyMs }) => ({
      utilisation,
      latencyMs,
      perUnitG: (((pue * gPerKwh) / 1000) * watts + embodiedGPerH) / (utilisation * unitsPerHour),
    }));
    const least = (some: typeof curve) =>
      some.reduce<(typeof curve)[number] | null>(
        (best, point) => (best === null || point.perUnitG < best.perUnitG ? point : best),
        null,
      );
    // Of what has no latency nobody can say that it keeps the objective.
    const allowed = curve.filter(
      ({ latencyMs }) =>
        latencyObjectiveMs === null || (latencyMs !== null && latencyMs <= latencyObjectiveMs),
    );
    const best = least(allowed);
    return {
      best,
      withoutObjective: least(curve),
      curve,
      unknown: best ? {} : { best: 'no point keeps the latency objective' },
    };
  },
});
