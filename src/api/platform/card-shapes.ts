/** `ImpactCard`, `Statement` and `Sci` of docs/reports.md. */
import { z } from 'zod';
import { functionalUnits } from '../../energy/exports/sci.ts';

const figure = z.number().nullable();
const burden = z.object({ energyWh: figure, carbonGCo2e: figure, embodiedGCo2e: figure });
const percentiles = z.object({ p50: figure, p90: figure, p99: figure }).nullable();
const why = z.record(z.string(), z.string()).describe('why a figure is null');
const knownAs = { quality: z.string(), method: z.string(), methodVersion: z.string(), zone: z.string() };

export const cardSchema = z.object({
  model: z.string(),
  owner: z.string(),
  version: z.int(),
  versionId: z.string(),
  sha256: z.string(),
  createdAt: z.string(),
  asOf: z.string(),
  training: z
    .object({
      jobId: z.string().nullable(),
      used: burden,
      allocated: burden.nullable().describe('what was reserved for it'),
      waterL: figure,
      cpuSeconds: figure,
      hardware: z.string(),
      gPerKwh: figure,
      ...knownAs,
    })
    .nullable(),
  inference: z
    .object({
      from: z.string(),
      to: z.string(),
      requests: z.int().nullable().describe('for its owner'),
      rows: z.int().nullable(),
      perRequest: burden.nullable().describe('mean of single inferences'),
      perRequestAllocated: burden.nullable().describe('with all that is reserved for the model'),
      whPerRequest: percentiles,
      gPerKwh: figure,
      settled: z.boolean().nullable().describe('is the energy per request to be trusted yet'),
      ...knownAs,
    })
    .nullable(),
  co2_eq_emissions: z
    .object({
      emissions: z.number().describe('grams, of the training'),
      source: z.string(),
      training_type: z.string(),
      geographical_location: z.string(),
      hardware_used: z.string(),
    })
    .nullable()
    .describe('as Hugging Face’s model cards have it'),
  unknown: why,
  notes: z.array(z.string()),
});

export const sciSchema = z.object({
  from: z.string(),
  to: z.string(),
  functionalUnit: z.enum(functionalUnits),
  energyKwh: figure.describe('E, with PUE and all that was reserved'),
  pue: z.number(),
  gPerKwh: figure.describe('I, the mean over that energy'),
  embodiedG: figure.describe('M'),
  functionalUnits: z.int().describe('R'),
  operationalG: figure.describe('E · I'),
  sciG: figure.describe('gCO2e per functional unit'),
  basis: z.enum(['allocation', 'usage']),
  formulaVersion: z.string(),
  formula: z.string(),
  source: z.string(),
  unknown: why,
  notes: z.array(z.string()),
  ...knownAs,
});

const used = {
  requests: z.int(),
  energyWh: figure,
  carbonGCo2e: figure,
  embodiedGCo2e: figure,
  allocated: burden.nullable().describe('what was reserved'),
  waste: burden.nullable().describe('what was reserved and neither requests nor jobs used'),
};

export const statementSchema = z.object({
  organisation: z.string(),
  month: z.string(),
  from: z.string(),
  to: z.string(),
  complete: z.boolean().describe('is the month over'),
  madeAt: z.string(),
  intensityGPerKwh: z.object({ value: figure, source: z.string(), kind: z.string() }),
  pue: z.object({ value: z.number(), assumed: z.boolean() }),
  total: z.object({
    ...used,
    waterL: figure,
    finished: z.int(),
    jobs: z.int(),
    whPerRequest: percentiles,
  }),
  avoided: z.object({ requests: z.int(), energyWh: figure, carbonGCo2e: figure, quality: z.string() }),
  rows: z
    .array(
      z.object({
        part: z.enum(['own', 'ready', 'others']),
        tenant: z.string().nullable(),
        model: z.string().nullable(),
        kind: z.string(),
        rows: z.int(),
        waterL: figure,
        whPerRequest: percentiles,
        settled: z.boolean().nullable(),
        ...used,
      }),
    )
    .describe('they add up to the total'),
  days: z.array(z.object({ day: z.string(), ...used })).describe('they add up to the total, too'),
  residualRatio: z.number().describe('largest relative difference of those sums'),
  unknown: why,
  notes: z.array(z.string()),
  ...knownAs,
});
