/**
 * The contract of a meter: joules of the host since it was last read. Siblings: sensors of the host (`rapl.ts`,
 * `hwmon.ts`, `ipmi.ts`), of its surroundings (`redfish.ts`, `plug.ts`, `mqtt.ts`, `prometheus.ts`), and an estimate
 * (`cpu-time.ts`). To add one: implement this, add it to the contract test, to `settings.ts` and to `open.ts`.
 */
import type { Joules } from '../units.ts';

/** A sample that could not be taken is missing, with its reason; it is never 0 J. */
export type MeterReading = MeterSample | { missing: string };

export interface MeterSample {
  energyJ: Joules;
  /** The accelerators' part of `energyJ`; absent: none is known. */
  acceleratorJ?: Joules;
  /** What the accelerators draw without work, W. */
  acceleratorIdleW?: number;
  /** How long they were there and how long they computed, device·s, by their driver; absent: it does not tell. */
  acceleratorS?: { supplied: number; busy: number };
  /** A part was not read and an estimate stands in for it: why. */
  partly?: string;
}

/**
 * What a meter's figure includes. cpu: CPU packages (and memory, where counted); machine: what the power supplies
 * or the main board take in; wall: everything behind the plug; accelerators: those alone. A machine and a wall
 * include the accelerators, so parts are never added to them.
 */
export type Coverage = 'cpu' | 'machine' | 'wall' | 'accelerators';

/**
 * The truth is believed to lie between low and high times the figure, of what the meter covers. Example: 20 J with
 * {low: .5, high: 2} is 10 to 40 J.
 */
export interface Interval {
  low: number;
  high: number;
}

export interface Meter {
  /** The method as it is written into the ledger, e.g. `rapl`. */
  readonly name: string;
  readonly quality: 'measured' | 'estimated';
  /** Raised whenever the method gives other numbers than before. */
  readonly methodVersion: string;
  /** What it covers, for people: `commonwatt doctor` and the start show it. */
  readonly description: string;
  readonly covers: Coverage;
  readonly interval: Interval;
  /** Half-width of its interval, relative, as reports draw it: .5 means ±50 %. */
  readonly uncertainty: number;
  /** Energy since the last read; the first read of a meter starts it and is missing. */
  read(): MeterReading;
  /** Begins to ask a source that cannot be read at once; resolves when it has answered, or not, the first time. */
  start?(): Promise<void>;
  stop?(): Promise<void>;
}

/** Why a meter cannot be used here, and the command or setting that would help. */
export interface Unavailable {
  unavailable: string;
  help?: string;
}

/** Where a curve runs: parts of all CPUs that are busy, 0 to 1, and watts, both rising. */
export type PowerCurve = readonly (readonly [utilisation: number, watts: number])[];

/** Idle and full-load watts of a host, and whether somebody measured them. */
export interface HostWatts {
  idleW: number;
  maxW: number;
  assumed: boolean;
  /** Between them; absent: a straight line. */
  curve?: PowerCurve;
  /** How the watts are known, and how far off they may be. */
  source?: { told: string; interval: Interval };
}

/** ±relative around a figure. */
export const within = (relative: number): Interval => ({ low: 1 - relative, high: 1 + relative });

/** Seconds on a clock that never steps. */
export type MonotonicClock = () => number;

export const monotonicSeconds: MonotonicClock = () => performance.now() / 1000;
