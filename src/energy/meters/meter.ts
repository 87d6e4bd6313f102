/**
 * The contract of a meter: joules of the host since it was last read. Siblings: `rapl.ts` (a sensor) and
 * `cpu-time.ts` (an estimate). To add one: implement this, add it to the contract test and to `choose.ts`.
 */
import type { Joules } from '../units.ts';

/** A sample that could not be taken is missing, with its reason; it is never 0 J. */
export type MeterReading = { energyJ: Joules } | { missing: string };

export interface Meter {
  /** The method as it is written into the ledger, e.g. `rapl`. */
  readonly name: string;
  readonly quality: 'measured' | 'estimated';
  /** Raised whenever the method gives other numbers than before. */
  readonly methodVersion: string;
  /** What it covers, for people: `commonwatt doctor` and the start show it. */
  readonly description: string;
  /** Half-width of its interval, relative: .5 means ±50 %. */
  readonly uncertainty: number;
  /** Energy since the last read; the first read of a meter starts it and is missing. */
  read(): MeterReading;
}

/** Idle and full-load watts of a host, and whether somebody measured them. */
export interface HostWatts {
  idleW: number;
  maxW: number;
  assumed: boolean;
}

/** Seconds on a clock that never steps. */
export type MonotonicClock = () => number;

export const monotonicSeconds: MonotonicClock = () => performance.now() / 1000;
