/** The carbon of making the hardware, spread over its life. */

export interface HardwareSize {
  vcpus: number;
  memoryGb: number;
  ssds?: number | undefined;
  hdds?: number | undefined;
  gpus?: number | undefined;
}

const gramsOfServer = 1_000_000;
const gramsPerCpu = 100_000;
const gramsPerMemoryGb = (533 / 384) * 1000;
const secondsPerYear = 365 * 24 * 3600;

/**
 * TE in g = 1,000,000 + (vCPU − 1)·100,000 + (memory GB − 16)·533/384·1000 + SSD·50,000 + HDD·100,000 +
 * GPU·150,000. Source: SciEmbodied of the Impact Framework (Green Software Foundation).
 * Example: 1 vCPU, 16 GB → 1,000,000 g; over 4 years, 1 h → 28.538812785388128 g.
 */
export function embodiedGrams({ vcpus, memoryGb, ssds = 0, hdds = 0, gpus = 0 }: HardwareSize): number {
  return (
    gramsOfServer +
    (vcpus - 1) * gramsPerCpu +
    (memoryGb - 16) * gramsPerMemoryGb +
    ssds * 50_000 +
    hdds * 100_000 +
    gpus * 150_000
  );
}

/** The part of it that memory carries: needed to weigh memory against CPUs. */
export function embodiedMemoryGrams(memoryGb: number): number {
  return memoryGb * gramsPerMemoryGb;
}

/** Of making one GPU. Source: EcoLogits up to 0.9.3; it counts 273 kg since 0.11. */
export const gpuKg = 164;

/**
 * A server with accelerators: TE = 5,700 kg + 164 kg · GPUs, life 3 years. Source: EcoLogits.
 * Example: 8 GPUs → 7,012 kg.
 */
export function embodiedGpuServerKg(gpus: number, kgOfGpu = gpuKg): number {
  return 5700 + kgOfGpu * gpus;
}

/**
 * M = TE · (time reserved / life) · (resources reserved / all). Source: SCI, ISO/IEC 21031:2024.
 * Example: 1,000 kg, 4 years of 365 days, 3,600 s, the whole server → 28.538812785388128 g.
 */
export function embodiedShare(totalG: number, lifeYears: number, seconds: number, share = 1): number {
  return totalG * (seconds / (lifeYears * secondsPerYear)) * share;
}
