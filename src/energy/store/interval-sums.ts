/** What is summed of metered intervals, and what is kept apart. */
import type { Insertable } from 'kysely';
import type { Schema } from '../../storage/db.ts';

type IntervalRow = Insertable<Schema['ledger_intervals']>;

export const intervalKinds = [
  'node',
  'quality',
  'method',
  'method_version',
  'zone',
  'signal',
  'scope',
] as const;
export const intervalSums = [
  'intervals',
  'duration_ms',
  'energy_j',
  'carbon_g',
  'embodied_g',
  'water_l',
  'water_unknown',
  'intensity_j',
  'intensity_known_j',
  'accelerator_j',
  'accelerator_s_supplied',
  'accelerator_s_reserved',
  'accelerator_s_used',
  'cpu_s_supplied',
  'cpu_s_used',
  'cpu_s_other',
  'memory_gbs_supplied',
  'memory_gbs_reserved',
  'memory_gbs_used',
] as const;
export type IntervalSums = Record<(typeof intervalSums)[number], number> &
  Record<(typeof intervalKinds)[number], string>;

export function sumsOfInterval(row: IntervalRow): IntervalSums {
  const intensity = row.intensity_g_per_kwh ?? null;
  return {
    node: row.node ?? '',
    quality: row.quality,
    method: row.method,
    method_version: row.method_version,
    zone: row.zone ?? '',
    signal: row.signal ?? '',
    scope: row.scope ?? '',
    intervals: 1,
    duration_ms: row.end_ms - row.start_ms,
    energy_j: row.energy_j,
    carbon_g: row.carbon_g,
    embodied_g: row.embodied_g,
    water_l: row.water_l ?? 0,
    water_unknown: row.water_l === null ? 1 : 0,
    intensity_j: (intensity ?? 0) * row.energy_j,
    intensity_known_j: intensity === null ? 0 : row.energy_j,
    accelerator_j: row.accelerator_j ?? 0,
    accelerator_s_supplied: row.accelerator_s_supplied ?? 0,
    accelerator_s_reserved: row.accelerator_s_reserved ?? 0,
    accelerator_s_used: row.accelerator_s_used ?? 0,
    cpu_s_supplied: row.cpu_s_supplied,
    cpu_s_used: row.cpu_s_used,
    cpu_s_other: row.cpu_s_other,
    memory_gbs_supplied: row.memory_gbs_supplied,
    memory_gbs_reserved: row.memory_gbs_reserved,
    memory_gbs_used: row.memory_gbs_used,
  };
}
