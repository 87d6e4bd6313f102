/** The assumptions behind the figures of one host: grid, building, water, hardware. Written beside every interval. */
import type { Config } from '../config.ts';
import type { Rates } from './attribution.ts';
import { embodiedGrams, embodiedShare } from './embodied.ts';
import { gridIntensity, type Intensity, type WaterRate, waterRate } from './grid.ts';

export interface Basis {
  intensity: Intensity;
  pue: { value: number; assumed: boolean };
  water: WaterRate;
  embodied: { grams: number; lifeYears: number; assumed: boolean };
}

/** Throws INVALID_CONFIG for a zone that is not known. */
export async function readBasis(
  config: Config['energy'],
  host: { cpuCount: number; memoryBytes: number },
): Promise<Basis> {
  const pue = { value: config.pue ?? 1, assumed: config.pue === null };
  return {
    intensity: await gridIntensity(config.zone),
    pue,
    water: waterRate(pue.value, { onSite: config.wueOnSite, offSite: config.wueOffSite }),
    embodied: {
      grams:
        config.embodiedKgCo2e === null
          ? embodiedGrams({ vcpus: host.cpuCount, memoryGb: host.memoryBytes / 1e9 })
          : config.embodiedKgCo2e * 1000,
      lifeYears: config.lifeYears,
      assumed: config.embodiedKgCo2e === null,
    },
  };
}

export function ratesOf({ intensity, pue, water, embodied }: Basis, durationS: number): Rates {
  return {
    pue: pue.value,
    gPerKwh: intensity.value,
    litresPerKwh: water.litresPerKwh,
    embodiedG: embodiedShare(embodied.grams, embodied.lifeYears, durationS),
  };
}
