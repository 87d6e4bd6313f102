/** A metered interval as a row of the ledger: totals, supply and use, and the assumptions behind them. */
import { useKey } from './allocation.ts';
import type { Attribution, IntervalFacts } from './attribution.ts';
import type { Basis } from './basis.ts';
import type { HostWatts, Meter } from './meters/meter.ts';
import type { IntervalRow } from './settlement.ts';

export interface Measured {
  facts: IntervalFacts;
  method: string;
  quality: 'measured' | 'estimated';
  missing: string | null;
  /** What was bounded because it cannot be true. */
  notes?: readonly string[];
  memoryUsedBytes: number;
}

export interface RowBasis {
  basis: Basis;
  node: string;
  watts: HostWatts;
  methodVersion: string;
  /** What was read covers so much, and the truth lies between interval.low and interval.high times the energy. */
  meter?: Pick<Meter, 'covers' | 'interval'>;
}

export function intervalRow(
  { facts, method, quality, missing, notes = [], memoryUsedBytes }: Measured,
  attribution: Attribution,
  { basis, node, watts, methodVersion, meter }: RowBasis,
): IntervalRow {
  const gbS = facts.durationS / 1e9;
  const jobsBytes = facts.jobs.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0);
  const reservedBytes = facts.reservations.reduce((sum, { memoryBytes }) => sum + memoryBytes, jobsBytes);
  const usedBytes = Math.min(memoryUsedBytes, askedBytes(facts)) + jobsBytes;
  return {
    id: facts.id,
    start_ms: facts.startMs,
    end_ms: facts.endMs,
    energy_j: facts.energyJ,
    carbon_g: attribution.total.carbonG,
    embodied_g: attribution.total.embodiedG,
    water_l: attribution.total.waterL,
    quality,
    method,
    method_version: methodVersion,
    basis: JSON.stringify({
      ...basis,
      idleW: facts.idleW,
      maxW: watts.maxW,
      wattsAssumed: watts.assumed,
      cpuCount: facts.cpuCount,
      memoryBytes: facts.memoryBytes,
      ...meter,
      ...(missing === null ? {} : { missing }),
      ...(notes.length === 0 ? {} : { bounded: notes }),
    }),
    cpu_s_supplied: facts.cpuCount * facts.durationS,
    cpu_s_used: attribution.usefulCpuS,
    cpu_s_other: attribution.otherCpuS,
    memory_gbs_supplied: facts.memoryBytes * gbS,
    memory_gbs_reserved: reservedBytes * gbS,
    memory_gbs_used: usedBytes * gbS,
    accelerator_j: facts.accelerator?.energyJ ?? null,
    ...acceleratorUse(facts, attribution),
    ...placeOf(node, basis),
  };
}

/**
 * Memory of the deployments that were asked. A runner holds its engine, too, so what it holds always exceeds what its
 * models reserve, asked or not. Example: 2 GB asked, 1 GB not, a runner of 3.5 GB → 2 GB used of 3 GB reserved.
 */
function askedBytes({ lines, reservations }: IntervalFacts): number {
  const asked = new Set(lines.map(({ head: { use } }) => (use ? useKey(use) : null)));
  const used = reservations.filter(({ use }) => asked.has(useKey(use)));
  return used.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0);
}

/**
 * Device seconds. The driver tells how busy they were, not with whose work: ours they were at most as long as versions
 * that use them computed; while any is loaded, all stand ready for it.
 */
function acceleratorUse({ accelerator }: IntervalFacts, { acceleratorUseS }: Attribution) {
  const seconds = accelerator?.seconds;
  return {
    accelerator_s_supplied: seconds?.supplied ?? null,
    accelerator_s_reserved: seconds ? (accelerator.users.length > 0 ? seconds.supplied : 0) : null,
    accelerator_s_used: seconds ? Math.min(seconds.busy, acceleratorUseS) : null,
  };
}

/** Where it was, and what the grid was like there. */
export function placeOf(node: string, { intensity }: Basis) {
  return {
    node,
    zone: intensity.zone,
    intensity_g_per_kwh: intensity.value,
    signal: intensity.kind,
    scope: intensity.scope,
  };
}
