/** Energy estimated from CPU time, where no sensor can be read: a straight line from idle to full load. */
import type { HostCpu } from '../host.ts';
import { joules } from '../units.ts';
import {
  type HostWatts,
  type Meter,
  type MeterReading,
  type MonotonicClock,
  monotonicSeconds,
} from './meter.ts';

/**
 * Idle and full-load watts of one vCPU: Cloud Carbon Footprint's averages for AWS and Azure (.74 and 3.5 W).
 * Used when nobody has told this host's own watts.
 */
const assumedWattsPerCpu = { idle: 0.74, max: 3.5 } as const;

/**
 * The host's watts: configured, or assumed from its CPU count.
 * Example: 2 CPUs, nothing configured → 1.48 W idle, 7 W at full load, assumed.
 */
export function hostWatts(
  configured: { idleW: number | null; maxW: number | null },
  cpuCount: number,
): HostWatts {
  const idleW = configured.idleW ?? Math.min(assumedWattsPerCpu.idle * cpuCount, configured.maxW ?? Infinity);
  const maxW = configured.maxW ?? Math.max(assumedWattsPerCpu.max * cpuCount, idleW);
  return {
    idleW,
    maxW: Math.max(maxW, idleW),
    assumed: configured.idleW === null || configured.maxW === null,
  };
}

/**
 * E = [P0 + (Pmax − P0)·u]·Δt, u = busy CPU·s / (CPUs · Δt), 0 ≤ u ≤ 1. Source: Cloud Carbon Footprint's
 * estimator. Example: P0 = 10 W, Pmax = 50 W, 4 CPUs, 2 busy CPU·s in 1 s: u = .5, E = 30 J.
 */
export function energyFromCpuTime(
  watts: HostWatts,
  busyS: number,
  cpuCount: number,
  durationS: number,
): number {
  const u = Math.min(1, Math.max(0, busyS / (cpuCount * durationS)));
  return (watts.idleW + (watts.maxW - watts.idleW) * u) * durationS;
}

export interface CpuTimeOptions {
  watts: HostWatts;
  cpu: () => HostCpu;
  clock?: MonotonicClock;
}

export class CpuTimeMeter implements Meter {
  readonly name = 'cpu-time';
  readonly quality = 'estimated';
  readonly methodVersion = '1';
  readonly description: string;
  readonly uncertainty: number;
  readonly #options: CpuTimeOptions;
  readonly #clock: MonotonicClock;
  #last: { busyS: number; at: number } | undefined;

  constructor(options: CpuTimeOptions) {
    this.#options = options;
    this.#clock = options.clock ?? monotonicSeconds;
    const { idleW, maxW, assumed } = options.watts;
    // Mean errors on measured profiles: 12 to 37 % for two calibrated points, 25 to 51 % and more without.
    this.uncertainty = assumed ? 0.6 : 0.37;
    this.description =
      `estimated from CPU time, ${round(idleW)} W idle to ${round(maxW)} W at full load, ` +
      (assumed
        ? 'assumed from the number of CPUs (±60 % or more; set COMMONWATT_IDLE_W and COMMONWATT_MAX_W)'
        : 'as configured (±37 %)');
  }

  read(): MeterReading {
    const { busyS, count } = this.#options.cpu();
    const at = this.#clock();
    const last = this.#last;
    this.#last = { busyS, at };
    if (!last) return { missing: 'the meter has just been started' };
    if (at <= last.at) return { missing: 'no time has passed since the last reading' };
    if (busyS < last.busyS) return { missing: 'the CPU time of the host went backwards' };
    return {
      energyJ: joules(energyFromCpuTime(this.#options.watts, busyS - last.busyS, count, at - last.at)),
    };
  }
}

function round(watts: number): number {
  return Math.round(watts * 100) / 100;
}
