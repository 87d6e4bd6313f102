/**
 * Idle and full-load watts of one vCPU by microarchitecture. Source: Cloud Carbon Footprint's coefficients (from
 * SPECpower results; Azure's and AWS's tables). Which one a host has is told by the identifiers that the processor
 * gives itself (Linux's intel-family.h, AMD's family and model, Arm's part numbers), since names such as "AMD EPYC"
 * say nothing in virtual machines.
 */
export interface Architecture {
  name: string;
  idleW: number;
  maxW: number;
}

const architecture = (name: string, idleW: number, maxW: number): Architecture => ({ name, idleW, maxW });

const known = {
  sandyBridge: architecture('Sandy Bridge', 2.17, 8.58),
  ivyBridge: architecture('Ivy Bridge', 1.71, 5.56),
  haswell: architecture('Haswell', 1, 4.74),
  broadwell: architecture('Broadwell', 0.71, 3.69),
  skylake: architecture('Skylake', 0.65, 4.26),
  cascadeLake: architecture('Cascade Lake', 0.64, 3.97),
  iceLake: architecture('Ice Lake', 0.77, 3.76),
  sapphireRapids: architecture('Sapphire Rapids', 1.04, 4.16),
  emeraldRapids: architecture('Emerald Rapids', 0.81, 4.48),
  coffeeLake: architecture('Coffee Lake', 1.14, 5.42),
  epyc1: architecture('EPYC 1st generation', 0.82, 2.55),
  epyc2: architecture('EPYC 2nd generation', 0.47, 1.69),
  epyc3: architecture('EPYC 3rd generation', 0.45, 2.02),
  epyc4: architecture('EPYC 4th generation', 0.74, 2.28),
  // Cloud Carbon Footprint takes Graviton to be like EPYC of the 2nd generation.
  graviton: architecture('Graviton (as EPYC 2nd generation)', 0.47, 1.69),
} as const;

const intelModels: Record<number, Architecture> = {
  45: known.sandyBridge,
  62: known.ivyBridge,
  63: known.haswell,
  79: known.broadwell,
  86: known.broadwell,
  106: known.iceLake,
  108: known.iceLake,
  143: known.sapphireRapids,
  158: known.coffeeLake,
  207: known.emeraldRapids,
};

/** Neoverse N1 and V1. */
const armParts: Record<string, Architecture> = { '0xd0c': known.graviton, '0xd40': known.graviton };

/** From the text of /proc/cpuinfo; null: not one of those. */
export function architectureOf(cpuinfo: string): Architecture | null {
  const field = (name: string) => new RegExp(`^${name}\\s*:\\s*(.+)$`, 'm').exec(cpuinfo)?.[1]?.trim();
  const part = field('CPU part');
  if (part !== undefined) return armParts[part] ?? null;
  const [family, model, stepping] = [field('cpu family'), field('model'), field('stepping')].map(Number);
  if (field('vendor_id') === 'GenuineIntel' && family === 6 && model !== undefined) {
    // Skylake and Cascade Lake share a model number.
    if (model === 85) return (stepping ?? 0) >= 5 ? known.cascadeLake : known.skylake;
    return intelModels[model] ?? null;
  }
  if (field('vendor_id') === 'AuthenticAMD' && model !== undefined) return amd(family ?? 0, model);
  return null;
}

function amd(family: number, model: number): Architecture | null {
  if (family === 23) return model < 16 ? known.epyc1 : model >= 48 && model < 64 ? known.epyc2 : null;
  if (family !== 25) return null;
  if (model < 16) return known.epyc3;
  return (model >= 16 && model < 32) || (model >= 160 && model < 176) ? known.epyc4 : null;
}

/** The processor's name and identifiers, to tell whether a calibration is of this host. */
export function processorName(cpuinfo: string): string | null {
  return /^(?:model name|Processor|CPU part)\s*:\s*(.+)$/m.exec(cpuinfo)?.[1]?.trim() ?? null;
}
