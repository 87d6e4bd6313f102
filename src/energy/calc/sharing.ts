/** Formulas of sharing against everyone running their own. */
import { z } from 'zod';
import { baselines, gramsOf, headlineBaseline, saving, savingBand } from '../counterfactual.ts';
import { field, formula } from './formula.ts';

/** Relative standard deviations, log-normal; both sides see the same draw. */
const uncertainty = z.strictObject({
  idlePower: field.amount.max(3).default(0.1),
  dynamicPower: field.amount.max(3).default(0.1),
  intensity: field.amount.max(3).default(0.1),
  embodied: field.amount.max(3).default(0.5),
  pue: z
    .strictObject({ low: z.number().min(1).max(10), high: z.number().min(1).max(10) })
    .refine(({ low, high }) => high >= low, { path: ['high'], error: 'below low' })
    .nullable()
    .default(null)
    .describe('null: known'),
});

const burden = z.strictObject({ idleWh: field.amount, dynamicWh: field.amount, embodiedG: field.amount });

export const counterfactual = formula({
  id: 'counterfactual',
  title: 'Saving of sharing against each running their own, for the baselines B0 to B5',
  formula: 'C_own = Σ_i n_i [PUE·I·(P0·T_on,i + (Pmax − P0)·busy_i) + M·T_own,i]; saving = C_own − C_shared',
  units: {
    windowH: 'h',
    idleW: 'W',
    maxW: 'W',
    embodiedGPerH: 'gCO2e/h',
    'tenants.utilisation': 'part of the window in which a whole server would be busy',
    'tenants.activeH': 'h in which it has requests',
    'shared.idleWh': 'Wh',
    'shared.dynamicWh': 'Wh',
    'shared.embodiedG': 'gCO2e',
    carbonG: 'gCO2e',
    savingG: 'gCO2e',
    'baselines.lowPercent': '%, 5th percentile of 2,000 paired draws',
    'baselines.highPercent': '%, 95th percentile; not distinguishable: the band spans 0',
  },
  source: 'docs/accounting.md §7; a difference in emissions, never an offset',
  input: z.strictObject({
    windowH: field.positive,
    server: z
      .strictObject({
        idleW: field.amount,
        maxW: field.positive,
        embodiedGPerH: field.amount,
        cpus: z.int().min(1).default(1),
        memoryGb: field.positive.default(1),
      })
      .refine(({ idleW, maxW }) => maxW >= idleW, { path: ['maxW'], error: 'below idleW' }),
    tenants: z
      .array(
        z.strictObject({
          utilisation: field.utilisation,
          activeH: field.amount.optional().describe('default: the whole window'),
          memoryGb: field.amount.default(0),
        }),
      )
      .max(10_000),
    shared: burden.describe('everything that is metered for serving, with spares and platform idle'),
    pue: field.pue,
    gPerKwh: field.gPerKwh,
    uncertainty: uncertainty.prefault({}),
  }),
  example: {
    windowH: 1,
    server: { idleW: 1160, maxW: 6800, embodiedGPerH: 266.82 },
    tenants: Array.from({ length: 10 }, () => ({ utilisation: 0.05 })),
    // One server at .5 and a warm spare.
    shared: { idleWh: 2320, dynamicWh: 2820, embodiedG: 533.64 },
    pue: 1.2,
    gPerKwh: 400,
  },
  compute({ windowH, server, tenants, shared, pue, gPerKwh, uncertainty: spread }) {
    const { memoryGb, ...machine } = server;
    const carbon = { pue, intensity: gPerKwh };
    const all = baselines({
      windowH,
      server: { ...machine, memoryBytes: memoryGb * 1e9 },
      tenants: tenants.map((tenant, index) => ({
        id: String(index),
        busyH: tenant.utilisation * windowH,
        activeH: Math.min(windowH, tenant.activeH ?? windowH),
        memoryBytes: tenant.memoryGb * 1e9,
      })),
      shared,
    });
    return {
      sharedG: gramsOf(shared, carbon),
      headlineBaseline,
      baselines: all.map(({ id, name, burden: own }) => {
        const { savingG, percent } = saving(own, shared, carbon);
        const band = savingBand(own, shared, carbon, spread);
        return { id, name, carbonG: gramsOf(own, carbon), savingG, savingPercent: percent, ...band };
      }),
    };
  },
});

export const serversNeeded = formula({
  id: 'servers-needed',
  title: 'Servers that one would need alone',
  formula: 'n = max(⌈memory of models / memory⌉, ⌈peak / (capacity · ρmax)⌉, 1)',
  units: { memoryGb: 'GB', serverMemoryGb: 'GB', peakPerHour: '1/h', capacityPerHour: '1/h of one server' },
  source: 'docs/accounting.md §7',
  input: z.strictObject({
    memoryGb: field.amount,
    serverMemoryGb: field.positive,
    peakPerHour: field.amount,
    capacityPerHour: field.positive,
    maxUtilisation: z.number().gt(0).max(1).default(1).describe('that still keeps the latency objective'),
  }),
  example: {
    memoryGb: 40,
    serverMemoryGb: 80,
    peakPerHour: 1500,
    capacityPerHour: 1000,
    maxUtilisation: 0.6,
  },
  compute({ memoryGb, serverMemoryGb, peakPerHour, capacityPerHour, maxUtilisation }) {
    const toHold = Math.ceil(memoryGb / serverMemoryGb);
    const toCarry = Math.ceil(peakPerHour / (capacityPerHour * maxUtilisation) - 1e-9);
    return { toHold, toCarry, servers: Math.max(1, toHold, toCarry) };
  },
});
