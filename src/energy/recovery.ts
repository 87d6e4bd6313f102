/**
 * After kill -9: the lines that were spooled but not settled are booked at the figures their answers carried.
 * Doing it twice changes nothing, since an interval is settled at most once.
 */
import type { Db } from '../storage/db.ts';
import type { Entry, Rates } from './attribution.ts';
import { joulesPerKwh } from './grid.ts';
import { type PricedLine, parseLines } from './lines.ts';
import { type IntervalRow, settleInterval } from './settlement.ts';
import { readSegment, type Spool } from './spool.ts';

/** At most this much time before the last line counts as metered, s: the settlement may have been late. */
const boundS = 5;

export interface RecoveryBasis {
  idleW: number;
  cpuCount: number;
  memoryBytes: number;
  methodVersion: string;
  rates(durationS: number): Rates;
}

export interface Recovered {
  segments: number;
  lines: number;
  broken: number;
}

export async function recover(db: Db, spool: Spool, basis: RecoveryBasis): Promise<Recovered> {
  const recovered: Recovered = { segments: 0, lines: 0, broken: 0 };
  for (const { id, file } of spool.leftovers()) {
    const { values, broken } = readSegment(file);
    const segment = parseLines(values);
    recovered.broken += broken + segment.broken;
    if (segment.lines.length > 0) {
      const booked = recoveredInterval(id, segment.startMs, segment.lines, basis);
      if (await settleInterval(db, booked.interval, booked.entries)) {
        recovered.segments++;
        recovered.lines += segment.lines.length;
      }
    }
    spool.removeLeftover(file);
  }
  return recovered;
}

/**
 * The meter value of such an interval is the sum of its lines' provisional joules, and an entry `unattributed`
 * for the idle power of that time which no line carries.
 */
function recoveredInterval(
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
  const rates = basis.rates(durationS);
  const capacityS = basis.cpuCount * durationS;
  const cpuTotal = lines.reduce((sum, { cpuS }) => sum + cpuS, 0);
  const embodiedPerCpuS = rates.embodiedG / Math.max(capacityS, cpuTotal, Number.MIN_VALUE);
  const grams = (energyJ: number) => (energyJ / joulesPerKwh) * rates.pue * rates.gPerKwh;
  const water = (energyJ: number) =>
    rates.litresPerKwh === null ? null : (energyJ / joulesPerKwh) * rates.litresPerKwh;
  const merged = mergeLines(lines);
  const entries = merged.map((line): Entry => {
    const energyJ = line.dynamicJ + line.idleShareJ;
    return {
      id: line.id,
      kind: line.head.kind,
      note: null,
      head: line.head,
      owner: line.head.use,
      atMs: line.atMs,
      rows: line.rows,
      cpuS: line.cpuS,
      energyJ,
      idleShareJ: line.idleShareJ,
      carbonG: grams(energyJ),
      embodiedG: line.cpuS * embodiedPerCpuS,
      waterL: water(energyJ),
    };
  });
  const idleCarried = lines.reduce((sum, { idleShareJ }) => sum + idleShareJ, 0);
  const unattributedJ = Math.max(0, basis.idleW * durationS - idleCarried);
  const energyJ = entries.reduce((sum, entry) => sum + entry.energyJ, 0) + unattributedJ;
  const embodiedOfLines = cpuTotal * embodiedPerCpuS;
  entries.push({
    id: `${id}:unattributed`,
    kind: 'unattributed',
    note: 'the server ended before this interval was settled',
    head: null,
    owner: null,
    atMs: last,
    rows: 0,
    cpuS: 0,
    energyJ: unattributedJ,
    idleShareJ: unattributedJ,
    carbonG: grams(unattributedJ),
    embodiedG: Math.max(0, rates.embodiedG - embodiedOfLines),
    waterL: water(unattributedJ),
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
      embodied_g: entries.reduce((sum, { embodiedG }) => sum + embodiedG, 0),
      water_l: water(energyJ),
      quality: 'estimated',
      method: 'recovered after a crash',
      method_version: basis.methodVersion,
      basis: JSON.stringify({ pue: rates.pue, gPerKwh: rates.gPerKwh, idleW: basis.idleW }),
      cpu_s_supplied: capacityS,
      cpu_s_used: cpuTotal,
      cpu_s_other: 0,
      memory_gbs_supplied: gb * durationS,
      memory_gbs_reserved: 0,
      memory_gbs_used: 0,
    },
  };
}

/** Lines of one id (the many model calls of an explanation) become one entry. */
export function mergeLines(lines: readonly PricedLine[]): PricedLine[] {
  const byId = new Map<string, PricedLine>();
  for (const line of lines) {
    const same = byId.get(line.id);
    if (!same) {
      byId.set(line.id, line);
      continue;
    }
    byId.set(line.id, {
      ...line,
      rows: same.rows + line.rows,
      computeNs: same.computeNs + line.computeNs,
      cpuS: same.cpuS + line.cpuS,
      dynamicJ: same.dynamicJ + line.dynamicJ,
      idleShareJ: same.idleShareJ + line.idleShareJ,
    });
  }
  return byId.size === lines.length ? [...lines] : [...byId.values()];
}
