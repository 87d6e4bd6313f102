/** Formulas of carbon, water and hardware. */
import { z } from 'zod';
import { embodiedGpuServerKg, embodiedGrams, embodiedShare, gpuKg } from '../embodied.ts';
import { pieces, steps } from '../grid/series.ts';
import { instantSchema } from '../grid/time.ts';
import { carbonOf, joulesPerKwh, waterRate } from '../grid.ts';
import { gPerKwhOf } from '../units.ts';
import { field, formula } from './formula.ts';

export const carbon = formula({
  id: 'carbon',
  title: 'Carbon of energy',
  formula: 'C = E · PUE · I',
  units: { energyKwh: 'kWh', gPerKwh: 'gCO2e/kWh', carbonG: 'gCO2e' },
  source: 'location-based, SCI (ISO/IEC 21031:2024); PUE once',
  input: z.strictObject({ energyKwh: field.amount, pue: field.pue, gPerKwh: field.gPerKwh }),
  example: { energyKwh: 1, pue: 1.2, gPerKwh: 400 },
  compute: ({ energyKwh, pue, gPerKwh }) => ({ carbonG: carbonOf(energyKwh * joulesPerKwh, pue, gPerKwh) }),
});

export const carbonOverTime = formula({
  id: 'carbon-over-time',
  title: 'Carbon of energy on a grid that changes',
  formula: 'C = PUE · Σ E_k · (1/Δt_k) ∫ I(t) dt, on the timestamps of the signal',
  units: {
    'energy.energyKwh': 'kWh',
    'signal.gPerKwh': 'gCO2e/kWh',
    carbonG: 'gCO2e',
    'parts.carbonG': 'gCO2e',
  },
  source: 'docs/accounting.md §3: never an average times an average',
  input: z.strictObject({
    energy: z
      .array(
        z
          .strictObject({ start: instantSchema, end: instantSchema, energyKwh: field.amount })
          .refine(({ start, end }) => end > start, { path: ['end'], error: 'not after start' }),
      )
      .min(1),
    signal: z
      .array(z.strictObject({ time: instantSchema, gPerKwh: field.gPerKwh }))
      .min(1)
      .describe('each value holds until the next'),
    pue: field.pue,
  }),
  example: {
    energy: [{ start: '2026-03-29T00:30:00Z', end: '2026-03-29T01:30:00Z', energyKwh: 2 }],
    signal: [
      { time: '2026-03-29T00:00:00Z', gPerKwh: 100 },
      { time: '2026-03-29T01:00:00Z', gPerKwh: 300 },
    ],
  },
  compute({ energy, signal, pue }) {
    const values = signal.map(({ time, gPerKwh }) => ({ startMs: time, gPerKwh, estimated: false }));
    const points = steps(values, 3_600_000);
    const parts = energy.map(({ start, end, energyKwh }) => {
      let weighted = 0;
      for (const { point, startMs, endMs } of pieces(points, start, end, 0)) {
        // Beyond the signal nothing is known, and nothing is made up.
        if (!point) return { gPerKwh: null, carbonG: null };
        weighted += point.gPerKwh * (endMs - startMs);
      }
      const gPerKwh = weighted / (end - start);
      return { gPerKwh, carbonG: carbonOf(energyKwh * joulesPerKwh, pue, gPerKwh) };
    });
    const known = parts.every(({ carbonG }) => carbonG !== null);
    return {
      carbonG: known ? parts.reduce((sum, { carbonG }) => sum + (carbonG ?? 0), 0) : null,
      parts,
      unknown: known ? {} : { carbonG: 'the signal does not cover the whole time' },
    };
  },
});

export const water = formula({
  id: 'water',
  title: 'Water of energy',
  formula: 'W = E · (WUE on site + PUE · WUE off site)',
  units: {
    energyKwh: 'kWh of IT',
    wueOnSite: 'L/kWh',
    wueOffSite: 'L/kWh',
    litresPerKwh: 'L/kWh',
    waterL: 'L',
  },
  source: 'docs/accounting.md §3; PUE on the part of the grid, once',
  input: z.strictObject({
    energyKwh: field.amount,
    pue: field.pue,
    wueOnSite: field.amount.nullable().default(null).describe('null: not known, not included'),
    wueOffSite: field.amount.nullable().default(null).describe('null: not known, not included'),
  }),
  example: { energyKwh: 1, pue: 1.2, wueOnSite: 1.8, wueOffSite: 3 },
  compute({ energyKwh, pue, wueOnSite, wueOffSite }) {
    const { litresPerKwh, unknown } = waterRate(pue, { onSite: wueOnSite, offSite: wueOffSite }, null);
    return { litresPerKwh, waterL: litresPerKwh === null ? null : energyKwh * litresPerKwh, unknown };
  },
});

export const sciEmbodied = formula({
  id: 'sci-embodied',
  title: 'Embodied carbon of a server from its parts, and the share of a time',
  formula:
    'TE = 1,000,000 + (vCPUs − 1) · 100,000 + (memory GB − 16) · 533/384 · 1000 + 50,000 · SSD + 100,000 · HDD + 150,000 · GPU g; M = TE · t/life · share',
  units: {
    memoryGb: 'GB',
    seconds: 's',
    lifeYears: 'years of 365 days',
    totalG: 'gCO2e',
    embodiedG: 'gCO2e',
  },
  source: 'SciEmbodied, Impact Framework (Green Software Foundation)',
  input: z.strictObject({
    vcpus: z.int().min(1).default(1),
    memoryGb: field.positive.default(16),
    ssds: field.count.default(0),
    hdds: field.count.default(0),
    gpus: field.count.default(0),
    lifeYears: field.positive.default(4),
    seconds: field.amount,
    share: field.share.default(1),
  }),
  example: { seconds: 3600 },
  compute({ lifeYears, seconds, share, ...size }) {
    const totalG = embodiedGrams(size);
    return { totalG, embodiedG: embodiedShare(totalG, lifeYears, seconds, share) };
  },
});

export const embodied = formula({
  id: 'embodied',
  title: 'Share of the carbon of making hardware',
  formula: 'M = TE · (TiR / EL) · (RR / ToR)',
  units: { totalKg: 'kgCO2e', lifeYears: 'years of 365 days', seconds: 's', embodiedG: 'gCO2e' },
  source: 'SCI (ISO/IEC 21031:2024)',
  input: z.strictObject({
    totalKg: field.amount,
    lifeYears: field.positive,
    seconds: field.amount,
    share: field.share.default(1).describe('resources reserved / all'),
  }),
  example: { totalKg: 1000, lifeYears: 4, seconds: 3600 },
  compute: ({ totalKg, lifeYears, seconds, share }) => ({
    embodiedG: embodiedShare(totalKg * 1000, lifeYears, seconds, share),
  }),
});

export const embodiedServer = formula({
  id: 'embodied-server',
  title: 'Embodied carbon of a server with accelerators',
  formula: 'TE = 5,700 kg + 164 kg · GPUs; M = TE · t/life',
  units: { totalKg: 'kgCO2e', lifeYears: 'years of 365 days', seconds: 's', embodiedG: 'gCO2e' },
  source: 'EcoLogits',
  input: z.strictObject({
    gpus: z.int().min(1).max(1024).default(8),
    gpuEmbodiedKg: field.amount.default(gpuKg).describe('of making one GPU; EcoLogits 0.11: 273'),
    lifeYears: field.positive.default(3),
    seconds: field.amount.default(3600),
  }),
  example: { gpus: 8, seconds: 3600 },
  compute({ gpus, gpuEmbodiedKg, lifeYears, seconds }) {
    const totalKg = embodiedGpuServerKg(gpus, gpuEmbodiedKg);
    return { totalKg, embodiedG: embodiedShare(totalKg * 1000, lifeYears, seconds) };
  },
});

export const sci = formula({
  id: 'sci',
  title: 'Software Carbon Intensity',
  formula: 'SCI = (E · I + M) / R',
  units: {
    energyKwh: 'kWh, with PUE and all that is reserved',
    gPerKwh: 'gCO2e/kWh',
    embodiedG: 'gCO2e',
    functionalUnits: 'R',
    sciG: 'gCO2e per unit of R',
  },
  source: 'SCI (ISO/IEC 21031:2024): location-based, no certificates or offsets',
  input: z.strictObject({
    energyKwh: field.amount,
    gPerKwh: field.gPerKwh,
    embodiedG: field.amount,
    functionalUnits: field.positive.default(1),
  }),
  example: { energyKwh: 1, gPerKwh: 400, embodiedG: 28.54, functionalUnits: 1000 },
  compute({ energyKwh, gPerKwh, embodiedG, functionalUnits }) {
    const operationalG = carbonOf(energyKwh * joulesPerKwh, 1, gPerKwh);
    return { operationalG, sciG: (operationalG + embodiedG) / functionalUnits };
  },
});

/** CodeCarbon's factors; life-cycle for what burns nothing. */
const gPerKwhOfSource = {
  coal: 995,
  oil: 816,
  gas: 743,
  geothermal: 38,
  hydro: 26,
  nuclear: 29,
  solar: 48,
  wind: 26,
} as const;

export const gridMix = formula({
  id: 'grid-mix',
  title: 'Intensity of a mix of power stations',
  formula: 'I = Σ share_s · I_s',
  units: { gPerKwh: 'gCO2e/kWh' },
  source: 'CodeCarbon (its page says kg for what are g)',
  input: z
    .strictObject(
      Object.fromEntries(
        Object.keys(gPerKwhOfSource).map((name) => [name, field.share.default(0)]),
      ) as Record<keyof typeof gPerKwhOfSource, z.ZodDefault<typeof field.share>>,
    )
    .refine((mix) => Math.abs(Object.values(mix).reduce((sum, share) => sum + share, 0) - 1) < 1e-6, {
      error: 'the shares do not sum to 1',
    }),
  example: { coal: 0.25, oil: 0.35, gas: 0.26, nuclear: 0.14 },
  compute: (mix) => ({
    gPerKwh: Object.entries(gPerKwhOfSource).reduce(
      (sum, [name, factor]) => sum + mix[name as keyof typeof gPerKwhOfSource] * factor,
      0,
    ),
  }),
});

export const lbsPerMwh = formula({
  id: 'lbs-per-mwh',
  title: 'Pounds per megawatt-hour as grams per kilowatt-hour',
  formula: 'g/kWh = lbs/MWh · 453.59237 / 1000',
  units: { lbsPerMwh: 'lbs/MWh', gPerKwh: 'g/kWh' },
  source: 'the international pound is 0.45359237 kg by definition',
  input: z.strictObject({ lbsPerMwh: field.amount }),
  example: { lbsPerMwh: 1000 },
  compute: (input) => ({ gPerKwh: gPerKwhOf(input.lbsPerMwh) }),
});

export const wattHours = formula({
  id: 'watt-hours',
  title: 'Joules as watt-hours',
  formula: '1 Wh = 3,600 J',
  units: { energyJ: 'J', energyWh: 'Wh', energyKwh: 'kWh' },
  source: 'SI',
  input: z.strictObject({ energyJ: field.amount }),
  example: { energyJ: 3_600_000 },
  compute: ({ energyJ }) => ({ energyWh: energyJ / 3600, energyKwh: energyJ / joulesPerKwh }),
});
