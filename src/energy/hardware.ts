/** What hosts cost to make, for `energy.hardware`: known machines with their sources, or the parts of one's own. */
import { z } from 'zod';
import { embodiedGpuServerKg, embodiedGrams, type HardwareSize } from './embodied.ts';

export interface Hardware {
  embodiedKgCo2e: number;
  lifeYears: number;
  source: string;
}

/** Everything but its use, as the manufacturer declares it: making, transport, end of life. */
function declared(totalKg: number, useShare: number, lifeYears: number, source: string): Hardware {
  return {
    embodiedKgCo2e: totalKg * (1 - useShare),
    lifeYears,
    source: `${source}, through Boavizta (ODbL)`,
  };
}

export const hardwarePresets = {
  'rack-server': {
    embodiedKgCo2e: embodiedGrams({ vcpus: 1, memoryGb: 16 }) / 1000,
    lifeYears: 4,
    source: 'the server of SciEmbodied, Impact Framework (Green Software Foundation)',
  },
  '8-gpu-server': {
    embodiedKgCo2e: embodiedGpuServerKg(8),
    lifeYears: 3,
    source: 'EcoLogits: 5,700 kg and 164 kg for each of 8 accelerators',
  },
  // 8,640 kg in all, 84.3 % of it in use.
  'dell-r740': declared(8640, 0.843, 4, 'Dell, carbon footprint of the PowerEdge R740, January 2019'),
  'dell-r640': declared(7730, 0.83, 4, 'Dell, carbon footprint of the PowerEdge R640, January 2019'),
  'hpe-dl380-gen10': declared(4780, 0.883, 4, 'HPE, carbon footprint of the ProLiant DL380 Gen10, 2021'),
  'dell-latitude-7420': declared(341, 0.106, 4, 'Dell, carbon footprint of the Latitude 7420, January 2021'),
  'macbook-air-m1': declared(
    161,
    0.15,
    3,
    'Apple, environmental report of the MacBook Air (M1), November 2020',
  ),
} satisfies Record<string, Hardware>;

type PresetName = keyof typeof hardwarePresets;

const count = z.coerce.number().int().min(0).max(10_000);

/** A name from the list, a figure of one's own, or parts to be summed. */
export const hardwareSettings = z.union(
  [
    z.enum(Object.keys(hardwarePresets) as [PresetName, ...PresetName[]]),
    z.strictObject({
      embodiedKgCo2e: z.coerce.number().positive().max(1e7),
      lifeYears: z.coerce.number().positive().max(100).optional(),
      source: z.string().min(1).optional(),
    }),
    z.strictObject({
      vcpus: z.coerce.number().int().min(1).max(10_000),
      memoryGb: z.coerce.number().positive().max(1e6),
      ssds: count.optional(),
      hdds: count.optional(),
      gpus: count.optional(),
      lifeYears: z.coerce.number().positive().max(100).optional(),
    }),
  ],
  {
    error: `not a known machine (${Object.keys(hardwarePresets).join(', ')}), nor {embodiedKgCo2e, lifeYears}, nor parts {vcpus, memoryGb, ssds, hdds, gpus}`,
  },
);

const usualLifeYears = 4;

/** Example: `8-gpu-server` → 7,012 kg over 3 years. */
export function hardwareOf(settings: z.infer<typeof hardwareSettings>): Hardware {
  if (typeof settings === 'string') return hardwarePresets[settings];
  const { lifeYears = usualLifeYears } = settings;
  if ('embodiedKgCo2e' in settings) {
    return { embodiedKgCo2e: settings.embodiedKgCo2e, lifeYears, source: settings.source ?? 'configured' };
  }
  return { ...estimatedHardware(settings), lifeYears };
}

export function estimatedHardware(size: HardwareSize): Hardware {
  return {
    embodiedKgCo2e: embodiedGrams(size) / 1000,
    lifeYears: usualLifeYears,
    source: 'estimated from its parts: SciEmbodied, Impact Framework (Green Software Foundation)',
  };
}
