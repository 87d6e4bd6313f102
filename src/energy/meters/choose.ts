/** Chooses the meter of this host and says aloud which one and why: an estimate never passes for a measurement. */
import { CommonwattError } from '../../errors.ts';
import type { Host } from '../host.ts';
import { CpuTimeMeter, hostWatts } from './cpu-time.ts';
import type { HostWatts, Meter, MonotonicClock } from './meter.ts';
import { openRapl } from './rapl.ts';

export interface MeterConfig {
  meter: 'auto' | 'rapl' | 'cpu-time' | 'off';
  idleW: number | null;
  maxW: number | null;
}

interface MeterLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface ChosenMeter {
  meter: Meter;
  /** Takes over for an interval whose sample is missing; the ledger says so. */
  fallback: Meter;
  watts: HostWatts;
  /** Why it is not a sensor; null when it is one. */
  reason: string | null;
}

export interface ChooseOptions {
  host: Host;
  log: MeterLog;
  clock?: MonotonicClock;
  powercapRoot?: string;
}

/** Throws INVALID_CONFIG when a sensor is demanded that cannot be read. */
export function chooseMeter(
  config: MeterConfig,
  { host, log, clock, powercapRoot }: ChooseOptions,
): ChosenMeter {
  const watts = hostWatts(config, host.cpuCount);
  const timed = clock === undefined ? {} : { clock };
  const fallback = new CpuTimeMeter({ watts, cpu: () => host.cpu(), ...timed });
  let reason: string | null = 'the configuration asks for the estimate';
  if (config.meter !== 'cpu-time') {
    const rapl = openRapl({
      maxW: config.maxW,
      ...timed,
      ...(powercapRoot === undefined ? {} : { root: powercapRoot }),
    });
    if ('meter' in rapl) {
      log.info({ method: rapl.meter.name }, `energy is ${rapl.meter.description}`);
      return { meter: rapl.meter, fallback, watts, reason: null };
    }
    reason = rapl.unavailable;
    if (config.meter === 'rapl') {
      throw new CommonwattError('INVALID_CONFIG', `the RAPL meter cannot be used: ${reason}`, {
        where: 'COMMONWATT_METER',
        hint: 'allow this user to read the counters, or set COMMONWATT_METER=cpu-time for an estimate',
      });
    }
  }
  log.warn(
    { method: fallback.name, reason },
    `energy is ${fallback.description}; not measured because ${reason}`,
  );
  return { meter: fallback, fallback, watts, reason };
}
