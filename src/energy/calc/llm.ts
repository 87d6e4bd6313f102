/** A language model's request where nothing can be measured. */
import { z } from 'zod';
import { embodiedGpuServerKg, gpuKg } from '../embodied.ts';
import { field, formula } from './formula.ts';

/** EcoLogits up to 0.9.3: fits of the ML.ENERGY leaderboard, and an 8-GPU server of 80 GB GPUs. */
const energyAlpha = 1.1665273170451914e-6;
const energyBeta = -0.011205921025579175;
const energyGamma = 4.052928146734005e-5;
const secondsPerBillion = 6.785088094353663e-4;
const secondsPerBatch = 3.119310311688259e-4;
const secondsAlways = 0.019473717579473387;
const memoryOverhead = 1.2;
const gpuMemoryGb = 80;
const gpusOfServer = 8;
const serverKw = 1.2;
const lifeS = 3 * 365 * 24 * 3600;
/** Against measured figures of ML.ENERGY it is off by .52 to 5.07 times at a batch of 64. */
const factor = 3;

export const ecologitsLlm = formula({
  id: 'ecologits-llm',
  title: 'Energy and carbon of a request to a language model, where nothing can be measured',
  formula:
    'Wh/token/GPU = α·e^{βB}·P_active + γ; s/token = 6.785e-4·P + 3.119e-4·B + .01947, at most the measured latency; GPUs = 2^⌈log2⌈1.2·P_total·bits/8/80⌉⌉; server = Δt/3600 · 1.2 kW · GPUs/8/B; request = PUE · (server + GPUs · GPU)',
  units: {
    activeBillion: '10^9 parameters',
    totalBillion: '10^9 parameters',
    latencyS: 's',
    gPerKwh: 'gCO2e/kWh',
    energyKwh: 'kWh',
    usageG: 'gCO2e',
    embodiedG: 'gCO2e',
  },
  source:
    'EcoLogits ≤ 0.9.3 (seen and reproduced); true within a factor of 3 either way: use the meter where there is one',
  input: z
    .strictObject({
      activeBillion: field.positive,
      totalBillion: field.positive.optional().describe('default: as active'),
      tokens: field.count.describe('generated'),
      latencyS: field.positive.nullable().default(null).describe('measured; null: not known'),
      bits: z.int().min(1).max(64).default(16),
      batch: z.int().min(1).max(4096).default(64),
      pue: field.pue,
      gPerKwh: field.gPerKwh,
      gpuEmbodiedKg: field.amount.default(gpuKg).describe('of making one GPU; EcoLogits 0.11: 273'),
    })
    .refine(({ activeBillion, totalBillion = activeBillion }) => totalBillion >= activeBillion, {
      path: ['totalBillion'],
      error: 'below activeBillion',
    }),
  example: { activeBillion: 7.3, tokens: 200, latencyS: 5, gPerKwh: 590.478, pue: 1.26 },
  compute({
    activeBillion,
    totalBillion = activeBillion,
    tokens,
    latencyS,
    bits,
    batch,
    pue,
    gPerKwh,
    gpuEmbodiedKg,
  }) {
    const gpuKwhPerToken = (energyAlpha * Math.exp(energyBeta * batch) * activeBillion + energyGamma) / 1000;
    const modelled = tokens * (secondsPerBillion * activeBillion + secondsPerBatch * batch + secondsAlways);
    const seconds = Math.min(modelled, latencyS ?? Number.POSITIVE_INFINITY);
    const memoryGb = (memoryOverhead * totalBillion * bits) / 8;
    const gpus = 2 ** Math.ceil(Math.log2(Math.ceil(memoryGb / gpuMemoryGb)));
    const serverKwh = ((seconds / 3600) * serverKw * gpus) / gpusOfServer / batch;
    const energyKwh = pue * (serverKwh + gpus * tokens * gpuKwhPerToken);
    const serverG = embodiedGpuServerKg(gpusOfServer, gpuEmbodiedKg) * 1000;
    return {
      energyKwh,
      lowKwh: energyKwh / factor,
      highKwh: energyKwh * factor,
      seconds,
      memoryGb,
      gpus,
      usageG: energyKwh * gPerKwh,
      embodiedG: (serverG * (gpus / gpusOfServer) * seconds) / (lifeS * batch),
      quality: 'estimated' as const,
    };
  },
});
