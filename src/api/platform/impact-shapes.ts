/** `ImpactReport` of docs/api.md; what each figure means is in docs/accounting.md. */
import { z } from 'zod';
import { groupNames } from '../../energy/report-groups.ts';

const figure = z.number().nullable();
const quality = z.enum(['measured', 'estimated', 'assumed']);
const utilisation = z.object({
  usedOverSupplied: figure,
  usedOverReserved: figure,
  reservedOverSupplied: figure,
});

const burden = z.object({ energyWh: figure, carbonGCo2e: figure, embodiedGCo2e: figure }).nullable();
const allocated = burden.describe('what was reserved');
const waste = burden.describe('what was reserved and neither requests nor jobs used');
const percentiles = z
  .object({ p50: figure, p90: figure, p99: figure })
  .nullable()
  .describe('of single inferences, to 1 %');

const curvePoint = z.object({
  utilisation: z.number(),
  gCo2ePerRequest: z.number(),
  gCo2ePerHour: z.number().describe('of the whole supply: it rises with use'),
});
const range = z.object({ value: z.number(), low: z.number(), high: z.number() });
const byCause = z
  .object({
    utilisationGCo2e: z.number(),
    batchingGCo2e: z.number(),
    pueGCo2e: z.number(),
    gridGCo2e: z.number(),
    embodiedGCo2e: z.number(),
  })
  .describe('what the saving comes from; the parts sum to it');

export const impactReportSchema = z.object({
  from: z.string(),
  to: z.string(),
  quality,
  method: z.string(),
  methodVersion: z.string(),
  zone: z.string(),
  intensityGPerKwh: z.object({ value: figure, source: z.string(), kind: z.string() }),
  pue: z.object({ value: z.number(), assumed: z.boolean() }),
  consumption: z.object({
    energyWh: figure,
    carbonGCo2e: figure,
    waterL: figure,
    embodiedGCo2e: figure,
    requests: z.int(),
    finished: z.int().describe('requests whose answers were of use'),
    jobs: z.int(),
    allocated,
    waste,
    whPerRequest: percentiles,
  }),
  avoided: z
    .object({ requests: z.int(), energyWh: figure, carbonGCo2e: figure, quality })
    .describe('spared by using answers again; estimated, in no sum of what was used'),
  supply: z.object({ cpuSeconds: figure, memoryGbSeconds: figure, energyWh: figure }),
  split: z.object({
    requestsWh: figure,
    jobsWh: figure,
    idleWh: figure,
    overheadWh: figure,
    unattributedWh: figure,
    meterWh: figure,
    residualRatio: figure,
  }),
  rur: z.object({
    headline: figure,
    cpu: utilisation,
    memory: utilisation,
    accelerator: utilisation.nullable(),
    weights: z.object({ cpu: z.number(), memory: z.number() }),
    goodput: z
      .object({ usedOverSupplied: figure, partOfUsed: figure })
      .describe('without what failed or was left by its caller'),
    nodes: z.array(z.object({ node: z.string(), headline: figure, cpu: utilisation, memory: utilisation })),
    models: z.array(
      z.object({ model: z.string(), cpu: utilisation, memory: utilisation, goodputOverSupplied: figure }),
    ),
    tenants: z.array(
      z.object({
        tenant: z.string(),
        cpuOverSupplied: figure,
        goodputOverSupplied: figure,
        partOfUsed: figure,
      }),
    ),
  }),
  impact: z.object({
    totalGCo2e: figure,
    perRequestGCo2e: figure,
    perRequestWh: figure,
    function: z.object({ kind: z.string(), formula: z.string() }).describe('f(RUR)'),
    atFullUtilisationGCo2e: figure,
    curve: z.array(curvePoint),
    operatingPoint: curvePoint.nullable().describe('where the platform is on the curve'),
    best: curvePoint.nullable().describe('the least of f, whatever latency says'),
    sloSafe: curvePoint
      .extend({
        mostUtilisation: z.number(),
        model: z.string(),
        objectiveMs: z.number(),
        p95Ms: z.number(),
        method: z.string(),
        savingGCo2ePerHour: z.number(),
      })
      .nullable()
      .describe('the best use that keeps every latency objective'),
  }),
  sharing: z.object({
    headlineBaseline: z.string(),
    savingGCo2e: figure.describe('negative when sharing cost more'),
    savingPercent: figure,
    low: figure,
    high: figure,
    distinguishable: z.boolean(),
    decomposition: byCause,
    shared: z.object({ carbonGCo2e: figure, energyWh: figure, cpuSeconds: figure, memoryBytes: figure }),
    own: z
      .object({
        instances: z.int(),
        cpuSeconds: range,
        energyWh: range,
        memoryBytes: range.nullable(),
      })
      .describe('what an own instance for each organisation, always on, would use'),
    rebound: z.object({ assumedPart: z.number(), breakEvenPart: figure }),
    baselines: z.array(
      z.object({
        id: z.string(),
        name: z.string(),
        description: z.string(),
        carbonGCo2e: figure,
        energyWh: figure,
        savingGCo2e: figure,
        savingPercent: figure,
        low: figure,
        high: figure,
        distinguishable: z.boolean(),
        decomposition: byCause,
      }),
    ),
    tenants: z.int(),
    assumptions: z.array(z.string()),
  }),
  groups: z.array(
    z.object({
      key: z.string(),
      by: z.partialRecord(z.enum(groupNames), z.string()).describe('what the group has in common'),
      requests: z.int(),
      finished: z.int(),
      rows: z.int(),
      energyWh: figure,
      idleShareWh: figure,
      carbonGCo2e: figure,
      waterL: figure,
      embodiedGCo2e: figure,
      cpuSeconds: figure,
      allocated,
      waste,
      whPerRequest: percentiles,
      settled: z.boolean().nullable().describe('is the energy per request of its model to be trusted yet'),
    }),
  ),
  unknown: z.record(z.string(), z.string()).describe('why a figure is null'),
  notes: z.array(z.string()),
});

/** What an `impact` event carries. */
export const liveSchema = z.object({
  rur: figure,
  energyWh: figure,
  carbonGCo2e: figure,
  requests: z.int(),
  powerW: figure,
  quality: quality.nullable(),
});
