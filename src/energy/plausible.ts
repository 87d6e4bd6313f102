/**
 * Readings that cannot be true: refused or bounded, and said, before anything is shared out by them. Pure.
 *
 * A meter's joules that are no number, negative or beyond what any host can draw are a missing sample. Counters that
 * ran backwards, or faster than the CPUs can, are bounded by what the CPUs can. A wall clock that was set does not
 * change how long an interval was.
 */
import type { AcceleratorUse } from './attribution.ts';
import type { MeterReading, MeterSample } from './meters/meter.ts';
import { joules } from './units.ts';

/** 1 MW: a whole row of racks. Tighter bounds are each meter's own. */
const mostW = 1e6;
/** No meter resolves a nanojoule; parts of such figures would be beyond what floating point can add up. */
const leastJ = 1e-9;
/** Counters are sampled one after another: so much of the CPUs' time they may be ahead of the clock, and so many s. */
const samplingPart = 1.5;
const samplingS = 0.1;
/** 64 TiB. */
const mostBytes = 2 ** 46;
/** The two clocks drift and are read one after the other. */
const clockS = 2;

/** The reading, or why it cannot be true. */
export function plausibleReading(reading: MeterReading, durationS: number): MeterReading {
  if ('missing' in reading) return reading;
  const { energyJ } = reading;
  if (!Number.isFinite(energyJ)) return { missing: `the meter told ${energyJ} J` };
  if (energyJ < 0) return { missing: `the meter told ${energyJ} J: its counter went backwards` };
  if (energyJ > mostW * durationS)
    return { missing: `the meter told ${Math.round(energyJ / durationS)} W, more than any host draws` };
  return energyJ < leastJ ? { ...reading, energyJ: joules(0) } : reading;
}

/** Their part of the host's energy, bounded by it. */
export function plausibleAccelerator(
  { energyJ, acceleratorJ, acceleratorIdleW, acceleratorS }: MeterSample,
  users: readonly string[],
): { accelerator?: AcceleratorUse; notes: string[] } {
  if (acceleratorJ === undefined) return { notes: [] };
  if (!Number.isFinite(acceleratorJ) || acceleratorJ < 0)
    return { notes: [`accelerators told ${acceleratorJ} J: not split off`] };
  return {
    accelerator: {
      energyJ: acceleratorJ < leastJ ? 0 : Math.min(acceleratorJ, energyJ),
      idleW: positive(acceleratorIdleW ?? 0),
      users,
      ...(acceleratorS ? { seconds: plausibleSeconds(acceleratorS) } : {}),
    },
    notes: acceleratorJ > energyJ ? ['accelerators told more than the whole host: bounded by it'] : [],
  };
}

/** Nothing computes longer than it is there. */
function plausibleSeconds({ supplied, busy }: NonNullable<AcceleratorUse['seconds']>) {
  return { supplied: positive(supplied), busy: Math.min(positive(busy), positive(supplied)) };
}

export interface CpuTimes {
  hostBusyS: number;
  gatewayCpuS: number;
  runners: readonly { pid: number; cpuS: number | null }[];
  helpers: readonly { note: string; cpuS: number }[];
  jobs: readonly { cpuS: number }[];
}

/** By what to multiply the processes' CPU times, the host's own, and what was bounded. */
export function plausibleCpu(times: CpuTimes, cpuCount: number, durationS: number) {
  const notes: string[] = [];
  const capacityS = cpuCount * durationS;
  const mostS = samplingPart * capacityS + samplingS;
  const processesS = times.gatewayCpuS + sum(times.runners) + sum(times.helpers) + sum(times.jobs);
  let factor = 1;
  if (!Number.isFinite(processesS)) {
    factor = 0;
    notes.push('CPU times of processes are no numbers: left out');
  } else if (processesS > mostS) {
    factor = capacityS / processesS;
    notes.push(`processes told ${processesS} CPU·s, more than the CPUs have: bounded by ${capacityS}`);
  }
  let { hostBusyS } = times;
  if (!(hostBusyS >= 0) || hostBusyS > mostS) {
    notes.push(`the host told ${hostBusyS} CPU·s of ${capacityS}: bounded`);
    hostBusyS = hostBusyS > mostS ? capacityS : 0;
  }
  return { hostBusyS, factor, notes };
}

function sum(parts: readonly { cpuS: number | null }[]): number {
  return parts.reduce((total, { cpuS }) => total + (cpuS ?? 0), 0);
}

/** Start and end by the wall clock; where that was set meanwhile, the interval is as long as it really was. */
export function plausibleTimes(startMs: number, nowMs: number, durationS: number) {
  const stepS = (nowMs - startMs) / 1000 - durationS;
  if (Math.abs(stepS) <= clockS) return { startMs: Math.min(startMs, nowMs), endMs: nowMs, notes: [] };
  return {
    startMs: Math.round(nowMs - durationS * 1000),
    endMs: nowMs,
    notes: [`the wall clock was set by ${Math.round(stepS)} s, or the host slept`],
  };
}

/** A day: no batch computes longer. */
const mostNs = 86_400e9;

/** What a runner tells of itself. */
export function plausibleNs(computeNs: number): number {
  return computeNs >= 0 ? Math.min(computeNs, mostNs) : 0;
}

/** No memory is negative or more than any host has. */
export function plausibleBytes(bytes: number): number {
  return Math.min(positive(bytes), mostBytes);
}

function positive(value: number): number {
  return value > 0 && Number.isFinite(value) ? value : 0;
}
