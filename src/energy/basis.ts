/** The assumptions behind the figures of one host: grid, building, water, hardware. Written beside every interval. */
import type { Config } from '../config.ts';
import type { Rates } from './attribution.ts';
import { embodiedShare } from './embodied.ts';
import { type GridSignal, gridIntensity, type Intensity, type WaterRate, waterRate } from './grid.ts';
import { estimatedHardware, hardwareOf } from './hardware.ts';

export interface Basis {
  intensity: Intensity;
  pue: { value: number; assumed: boolean };
  water: WaterRate;
  embodied: { grams: number; lifeYears: number; assumed: boolean; source: string };
}

/** With the yearly average of the zone; `basisOver` puts the value of a time in. Throws INVALID_CONFIG for a zone that is not known. */
export async function readBasis(
  config: Config['energy'],
  host: { cpuCount: number; memoryBytes: number },
): Promise<Basis> {
  const pue = { value: config.pue ?? 1, assumed: config.pue === null };
  return {
    intensity: await gridIntensity(config.zone),
    pue,
    water: waterRate(pue.value, { onSite: config.wueOnSite, offSite: config.wueOffSite }),
    embodied: embodiedOf(config, host),
  };
}

/** A figure of one's own before a known machine, and that before an estimate from CPUs and memory. */
function embodiedOf(
  { embodiedKgCo2e, hardware, lifeYears }: Config['energy'],
  host: { cpuCount: number; memoryBytes: number },
): Basis['embodied'] {
  const size = { vcpus: host.cpuCount, memoryGb: host.memoryBytes / 1e9 };
  const known = hardware === null ? estimatedHardware(size) : hardwareOf(hardware);
  return {
    grams: (embodiedKgCo2e ?? known.embodiedKgCo2e) * 1000,
    lifeYears: lifeYears ?? known.lifeYears,
    assumed: embodiedKgCo2e === null && hardware === null,
    source: embodiedKgCo2e === null ? known.source : 'configured',
  };
}

/** The basis of one interval: with the mean intensity of its own time. */
export function basisOver(basis: Basis, grid: GridSignal, startMs: number, endMs: number): Basis {
  return { ...basis, intensity: grid.over(startMs, endMs) };
}

export function ratesOf({ intensity, pue, water, embodied }: Basis, durationS: number): Rates {
  return {
    pue: pue.value,
    gPerKwh: intensity.value,
    litresPerKwh: water.litresPerKwh,
    embodiedG: embodiedShare(embodied.grams, embodied.lifeYears, durationS),
  };
}
