/** Energy estimated from CPU time, where no sensor can be read: a rising curve from idle to full load. */
import type { HostCpu } from '../host.ts';
import { joules } from '../units.ts';
import type { Architecture } from './architectures.ts';
import type { Calibration } from './calibration.ts';
import { type CurveName, curveOf, wattsAt } from './curves.ts';
import {
  type Coverage,
  type HostWatts,
  type Interval,
  type Meter,
  type MeterReading,
  type MonotonicClock,
  monotonicSeconds,
  type PowerCurve,
  within,
} from './meter.ts';

/**
 * Idle and full-load watts of one vCPU: Cloud Carbon Footprint's averages for AWS and Azure (.74 and 3.5 W).
 * Used when nobody has told this host's own watts and its processor is not known.
 */
const assumedWattsPerCpu = { idle: 0.74, max: 3.5 } as const;
/** .000392 kWh/GB·h. Source: Cloud Carbon Footprint. */
const memoryWattsPerGb = 0.392;

/** Two to three times too much or too little have been seen on single hosts. */
const assumedInterval: Interval = { low: 0.4, high: 2.5 };
/** Mean errors on measured profiles of three processors: 12 to 37 % for two points, 20 to 139 % for named curves. */
const configuredInterval = within(0.37);
const namedInterval: Interval = { low: 0.5, high: 2.4 };
const architectureInterval: Interval = { low: 0.5, high: 2 };

export interface HostFacts {
  cpuCount: number;
  /** Null: not known; its power is then left out. */
  memoryBytes?: number | null;
  architecture?: Architecture | null;
}

export interface ConfiguredWatts {
  idleW: number | null;
  maxW: number | null;
  curve?: CurveName | PowerCurve | null;
  tdpW?: number | null;
}

/**
 * The host's watts, from what is known best: a curve or watts that are configured, a calibration, the processor's
 * kind, or only the number of CPUs. Memory is added to the latter two.
 * Example: 2 CPUs, nothing known → 1.48 W idle, 7 W at full load, assumed; with 24 GB of memory 10.9 and 16.4 W.
 */
export function hostWatts(
  configured: ConfiguredWatts,
  host: number | HostFacts,
  calibration?: Calibration | null,
): HostWatts {
  const facts = typeof host === 'number' ? { cpuCount: host } : host;
  const { curve, tdpW } = configured;
  if (typeof curve === 'string' && tdpW != null)
    return ofCurve(curveOf(curve, tdpW), `the curve ${curve} for a TDP of ${tdpW} W`, namedInterval);
  if (curve != null && typeof curve !== 'string')
    return ofCurve(curve, 'the configured curve', configuredInterval);
  if (configured.idleW === null && configured.maxW === null && calibration) {
    const { error, sensor, at } = calibration;
    return ofCurve(
      calibration.curve,
      `calibrated with ${sensor} on ${at.slice(0, 10)}`,
      within(Math.min(0.95, error)),
    );
  }
  return ofTwoPoints(configured, facts);
}

function ofCurve(curve: PowerCurve, told: string, interval: Interval): HostWatts {
  return {
    idleW: wattsAt(curve, 0),
    maxW: wattsAt(curve, 1),
    assumed: false,
    curve,
    source: { told, interval },
  };
}

function ofTwoPoints(
  { idleW: configuredIdleW, maxW: configuredMaxW }: ConfiguredWatts,
  { cpuCount, memoryBytes, architecture }: HostFacts,
): HostWatts {
  const memoryW = memoryBytes == null ? 0 : (memoryWattsPerGb * memoryBytes) / 1e9;
  const { idleW: idle, maxW: max } = architecture ?? {
    idleW: assumedWattsPerCpu.idle,
    maxW: assumedWattsPerCpu.max,
  };
  const idleW = configuredIdleW ?? Math.min(idle * cpuCount + memoryW, configuredMaxW ?? Infinity);
  const maxW = configuredMaxW ?? Math.max(max * cpuCount + memoryW, idleW);
  const assumed = configuredIdleW === null || configuredMaxW === null;
  const kind = architecture ? `${cpuCount} CPUs of ${architecture.name}` : `${cpuCount} CPUs of unknown kind`;
  const source = {
    told: `assumed for ${kind}${memoryW > 0 ? ` and ${Math.round((memoryBytes ?? 0) / 1e9)} GB of memory` : ''}`,
    interval: architecture ? architectureInterval : assumedInterval,
  };
  return {
    idleW,
    maxW: Math.max(maxW, idleW),
    assumed,
    ...(assumed && typeof memoryBytes === 'number' ? { source } : {}),
  };
}

/**
 * E = [P0 + (Pmax − P0)·u]·Δt, or P(u)·Δt with a curve; u = busy CPU·s / (CPUs · Δt), 0 ≤ u ≤ 1. Source: Cloud Carbon
 * Footprint's estimator. Example: P0 = 10 W, Pmax = 50 W, 4 CPUs, 2 busy CPU·s in 1 s: u = .5, E = 30 J.
 */
export function energyFromCpuTime(
  watts: HostWatts,
  busyS: number,
  cpuCount: number,
  durationS: number,
): number {
  const u = Math.min(1, Math.max(0, busyS / (cpuCount * durationS)));
  const powerW = watts.curve ? wattsAt(watts.curve, u) : watts.idleW + (watts.maxW - watts.idleW) * u;
  return powerW * durationS;
}

export interface CpuTimeOptions {
  watts: HostWatts;
  cpu: () => HostCpu;
  clock?: MonotonicClock;
  /** What the watts are of; absent: the CPU, so that accelerators are added. */
  covers?: Coverage;
}

export class CpuTimeMeter implements Meter {
  readonly name = 'cpu-time';
  readonly quality = 'estimated';
  readonly methodVersion = '2';
  readonly description: string;
  readonly covers: Coverage;
  readonly interval: Interval;
  readonly uncertainty: number;
  readonly #options: CpuTimeOptions;
  readonly #clock: MonotonicClock;
  #last: { busyS: number; at: number } | undefined;

  constructor(options: CpuTimeOptions) {
    this.#options = options;
    this.#clock = options.clock ?? monotonicSeconds;
    this.covers = options.covers ?? 'cpu';
    const { idleW, maxW, assumed, source } = options.watts;
    this.interval = source?.interval ?? (assumed ? assumedInterval : configuredInterval);
    this.uncertainty = 1 - this.interval.low;
    const told = source?.told ?? (assumed ? 'assumed from the number of CPUs' : 'as configured');
    this.description =
      `estimated from CPU time, ${round(idleW)} W idle to ${round(maxW)} W at full load, ${told} ` +
      `(${showInterval(this.interval)})${assumed ? '; closer: commonwatt calibrate' : ''}`;
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

/** Example: {low: .63, high: 1.37} → `±37 %`; {low: .5, high: 2} → `−50 to +100 %`. */
export function showInterval({ low, high }: Interval): string {
  const [down, up] = [Math.round((1 - low) * 100), Math.round((high - 1) * 100)];
  return down === up ? `±${up} %` : `−${down} to +${up} %`;
}

function round(watts: number): number {
  return Math.round(watts * 100) / 100;
}
