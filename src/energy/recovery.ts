/**
 * After kill -9: the lines that were spooled but not settled are booked at the figures their answers carried.
 * Doing it twice changes nothing, since an interval is settled at most once.
 */
import { type Entry, factsOf } from './attribution.ts';
import { type Basis, ratesOf } from './basis.ts';
import { joulesPerKwh } from './grid.ts';
import { placeOf } from './interval-row.ts';
import type { PricedLine } from './lines.ts';
import type { IntervalRow } from './settlement.ts';

/** At most this much time before the last line counts as metered, s: the settlement may have been late. */
const boundS = 5;

export interface RecoveryBasis {
  idleW: number;
  cpuCount: number;
  memoryBytes: number;
  methodVersion: string;
  node: string;
  basis: Basis;
}

/**
 * The meter value of such an interval is the sum of its lines' provisional joules, and an entry `unattributed`
 * for the idle power of that time which no line carries.
 */
export function recoveredInterval(
  id: string,
  startMs: number | null,
  lines: readonly PricedLine[],
  basis: RecoveryBasis,
): { interval: IntervalRow; entries: Entry[] } {
  let first = Infinity;
  let last = 0;
  for (const { atMs } of lines) {
    first = Math.min(first, atMs);
    last = Math.max(last, atMs);
  }
  const start = Math.min(first, Math.max(startMs ?? first, last - boundS * 1000));
  const durationS = (last - start) / 1000;
  const rates = ratesOf(basis.basis, durationS);
  const capacityS = basis.cpuCount * durationS;
  const cpuTotal = lines.reduce((sum, { ids, cpuS }) => sum + ids.length * cpuS, 0);
  const embodiedPerCpuS = rates.embodiedG / Math.max(capacityS, cpuTotal, Number.MIN_VALUE);
  const grams = (energyJ: number) => (energyJ / joulesPerKwh) * rates.pue * rates.gPerKwh;
  const water = (energyJ: number) =>
    rates.litresPerKwh === null ? null : (energyJ / joulesPerKwh) * rates.litresPerKwh;
  const entries = lines.map((line): Entry => {
    const energyJ = line.dynamicJ + line.idleShareJ;
    return {
      ...factsOf(line, grams(1)),
      cpuS: line.cpuS,
      energyJ,
      idleShareJ: line.idleShareJ,
      carbonG: grams(energyJ),
      embodiedG: line.cpuS * embodiedPerCpuS,
      waterL: water(energyJ),
      allocated: { energyJ, carbonG: grams(energyJ), embodiedG: line.cpuS * embodiedPerCpuS },
    };
  });
  const idleCarried = lines.reduce((sum, { ids, idleShareJ }) => sum + ids.length * idleShareJ, 0);
  const unattributedJ = Math.max(0, basis.idleW * durationS - idleCarried);
  const energyJ = entries.reduce((sum, { ids, energyJ: each }) => sum + ids.length * each, 0) + unattributedJ;
  const unattributedG = Math.max(0, rates.embodiedG - cpuTotal * embodiedPerCpuS);
  entries.push({
    ids: [`${id}:unattributed`],
    kind: 'unattributed',
    note: 'the server ended before this interval was settled',
    head: null,
    owner: null,
    atMs: last,
    rows: 0,
    attributionMethod: 'proportional',
    outcome: 'finished',
    runnerPid: null,
    cpuS: 0,
    energyJ: unattributedJ,
    idleShareJ: unattributedJ,
    carbonG: grams(unattributedJ),
    embodiedG: unattributedG,
    waterL: water(unattributedJ),
    // What was reserved is not known any more: both bases are the same.
    allocated: { energyJ: unattributedJ, carbonG: grams(unattributedJ), embodiedG: unattributedG },
  });
  const gb = basis.memoryBytes / 1e9;
  return {
    entries,
    interval: {
      id,
      start_ms: start,
      end_ms: last,
      energy_j: energyJ,
      carbon_g: grams(energyJ),
      embodied_g: entries.reduce((sum, { ids, embodiedG }) => sum + ids.length * embodiedG, 0),
      water_l: water(energyJ),
      quality: 'estimated',
      method: 'recovered after a crash',
      method_version: basis.methodVersion,
      basis: JSON.stringify({
        ...basis.basis,
        idleW: basis.idleW,
        cpuCount: basis.cpuCount,
        memoryBytes: basis.memoryBytes,
      }),
      cpu_s_supplied: capacityS,
      cpu_s_used: cpuTotal,
      cpu_s_other: 0,
      memory_gbs_supplied: gb * durationS,
      memory_gbs_reserved: 0,
      memory_gbs_used: 0,
      accelerator_j: null,
      accelerator_s_supplied: null,
      accelerator_s_reserved: null,
      accelerator_s_used: null,
      ...placeOf(basis.node, basis.basis),
    },
  };
}
