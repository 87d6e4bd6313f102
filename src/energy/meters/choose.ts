/** Chooses the meter of this host and says aloud which one and why: an estimate never passes for a measurement. */
import { CommonwattError } from '../../errors.ts';
import type { Host } from '../host.ts';
import { Accelerators, WithAccelerators } from './accelerators.ts';
import { architectureOf, processorName } from './architectures.ts';
import { type Calibration, readCalibration } from './calibration.ts';
import { CpuTimeMeter, hostWatts } from './cpu-time.ts';
import type { HostWatts, Meter, MonotonicClock, Unavailable } from './meter.ts';
import {
  type AcceleratorName,
  isConfigured,
  openAccelerators,
  openSensor,
  type Places,
  type SensorName,
} from './open.ts';
import type { MeterConfig } from './settings.ts';
import { Remembered, StandIn } from './stand-in.ts';

export type { MeterConfig } from './settings.ts';

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

/** What was tried and is not used, with what would help; for the start and `doctor`. */
export interface NotUsed extends Unavailable {
  name: string;
}

export interface Metering extends ChosenMeter {
  notUsed: readonly NotUsed[];
  /** A line for each fact. */
  lines: readonly string[];
  stop(): Promise<void>;
}

export interface ChooseOptions {
  host: Host;
  log: MeterLog;
  /** Where a calibration is kept; absent: none is looked for. */
  dataFolder?: string;
  clock?: MonotonicClock;
  places?: Places;
  /** Told of each sample that a sensor did not give. */
  missed?: (meter: string, reason: string) => void;
}

/**
 * Best first: what somebody configured on purpose, then the host's own sensors from the most to the least
 * comprehensive.
 */
const sensors: readonly SensorName[] = [
  'redfish',
  'plug',
  'json',
  'mqtt',
  'prometheus',
  'ipmi',
  'hwmon',
  'rapl',
];
const acceleratorMeters: readonly AcceleratorName[] = ['dcgm', 'nvidia-smi', 'hwmon'];

/** Throws INVALID_CONFIG when a sensor is demanded that cannot be read. */
export async function chooseMeter(config: MeterConfig, options: ChooseOptions): Promise<Metering> {
  checkCurve(config);
  const { watts, estimate, note } = openEstimate(config, options);
  const notUsed: NotUsed[] = [];
  const sensor = await openHostSensor(config, options, notUsed);
  const accelerators = await openAccelerated(config, options, notUsed).catch(async (error: unknown) => {
    await sensor?.stop?.();
    throw error;
  });
  const { meter, fallback } = compose(sensor, estimate, accelerators);
  const reason = sensor ? null : reasonOf(config, notUsed);
  const { log } = options;
  const told = `energy is ${meter.description}`;
  if (reason === null) log.info({ method: meter.name }, told);
  else log.warn({ method: meter.name, reason }, `${told}; not measured because ${reason}`);
  const watched = watchMissing(meter, options);
  return {
    meter: watched,
    fallback: fallback ?? watched,
    watts,
    reason,
    notUsed,
    lines: linesOf(meter, reason, notUsed, note),
    async stop() {
      await sensor?.stop?.();
      await accelerators?.meter.stop();
    },
  };
}

function openEstimate(config: MeterConfig, options: ChooseOptions) {
  const { host, clock } = options;
  const { facts, calibration, note } = knownOf(config, options);
  const watts = hostWatts(config, facts, calibration);
  const covers = watts.curve === calibration?.curve ? calibration?.covers : undefined;
  const estimate = new CpuTimeMeter({
    watts,
    cpu: () => host.cpu(),
    ...(clock ? { clock } : {}),
    ...(covers ? { covers } : {}),
  });
  return { watts, estimate, note };
}

/** No fallback: the meter is the estimate itself. */
function compose(
  sensor: Meter | null,
  estimate: Meter,
  accelerators: Accelerators | null,
): { meter: Meter; fallback: Meter | null } {
  if (!sensor)
    return { meter: accelerators ? new WithAccelerators(estimate, accelerators) : estimate, fallback: null };
  const remembered = new Remembered(sensor);
  const standIn = new StandIn(estimate, remembered);
  if (!accelerators) return { meter: remembered.meter, fallback: standIn };
  return {
    meter: new WithAccelerators(remembered.meter, accelerators),
    fallback: new WithAccelerators(standIn, accelerators, { standsIn: true }),
  };
}

/**
 * Tells of samples that are missing, and says aloud when that begins and ends. The first reading starts a meter, and is
 * missing by its nature.
 */
function watchMissing(meter: Meter, { log, missed }: Pick<ChooseOptions, 'log' | 'missed'>): Meter {
  let begun = false;
  let away = false;
  return {
    ...meter,
    read() {
      const reading = meter.read();
      const reason = 'missing' in reading ? reading.missing : reading.partly;
      if (begun && reason !== undefined) {
        missed?.(meter.name, reason);
        if (!away)
          log.warn({ method: meter.name, reason }, 'the meter gives no sample: an estimate stands in');
      }
      if (away && reason === undefined) log.info({ method: meter.name }, 'the meter gives samples again');
      away = begun && reason !== undefined;
      begun = true;
      return reading;
    },
  };
}

function checkCurve({ curve, tdpW }: MeterConfig): void {
  if (typeof curve !== 'string' || tdpW !== null) return;
  throw new CommonwattError('INVALID_CONFIG', `the curve ${curve} is in parts of the processor's TDP`, {
    where: 'energy.tdpW',
    hint: 'set energy.tdpW (or COMMONWATT_TDP_W) to the watts in its data sheet, or calibrate: commonwatt calibrate',
  });
}

function knownOf(config: MeterConfig, { host, dataFolder }: ChooseOptions) {
  const cpuinfo = host.cpuInfo();
  const facts = {
    cpuCount: host.cpuCount,
    memoryBytes: host.memoryBytes,
    architecture: cpuinfo === null ? null : architectureOf(cpuinfo),
  };
  const processor = cpuinfo === null ? null : processorName(cpuinfo);
  const found =
    dataFolder === undefined
      ? { none: 'no data folder' }
      : readCalibration(dataFolder, { processor, cpuCount: host.cpuCount });
  const calibration: Calibration | null = 'none' in found ? null : found;
  const unused = calibration && (config.idleW !== null || config.maxW !== null || config.curve !== null);
  const foreign = 'none' in found && found.none.includes('another host');
  const note = unused
    ? 'the calibration is not used, since watts are configured'
    : foreign && 'none' in found
      ? found.none
      : null;
  return { facts, calibration, note };
}

/** The best sensor, or the demanded one; null: none. Throws INVALID_CONFIG when a demanded one cannot be read. */
export async function openHostSensor(
  config: MeterConfig,
  { clock, places }: Pick<ChooseOptions, 'clock' | 'places'>,
  notUsed: NotUsed[],
): Promise<Meter | null> {
  if (config.meter === 'cpu-time' || config.meter === 'off') return null;
  const auto = config.meter === 'auto';
  const options = { config, ...(clock ? { clock } : {}), ...(places ? { places } : {}) };
  const wanted = sensors.filter((name) => (auto ? isConfigured(name, config) : name === config.meter));
  for (const name of wanted) {
    const opened = await openSensor(name, options);
    if ('meter' in opened) return opened.meter;
    if (!auto) throw unreadable(name, opened);
    notUsed.push({ name, ...opened });
  }
  return null;
}

async function openAccelerated(
  config: MeterConfig,
  { clock, places }: ChooseOptions,
  notUsed: NotUsed[],
): Promise<Accelerators | null> {
  const auto = config.accelerators === 'auto';
  const options = { config, ...(clock ? { clock } : {}), ...(places ? { places } : {}) };
  for (const name of acceleratorMeters) {
    if (auto ? name === 'dcgm' && config.dcgm === null : name !== config.accelerators) continue;
    const opened = await openAccelerators(name, options);
    if ('meter' in opened) return new Accelerators(opened.meter, clock);
    if (!auto) throw unreadable(name, opened);
    // A host without accelerators is nothing to talk about.
    if (name === 'dcgm' || !/^no (NVIDIA driver|accelerator power sensor)/.test(opened.unavailable))
      notUsed.push({ name, ...opened });
  }
  return null;
}

function unreadable(name: string, { unavailable, help }: Unavailable): CommonwattError {
  const shown = name === 'rapl' ? 'RAPL' : name;
  return new CommonwattError('INVALID_CONFIG', `the ${shown} meter cannot be used: ${unavailable}`, {
    where: 'energy.meter (COMMONWATT_METER)',
    hint: `${help ? `${help}; or ` : ''}set COMMONWATT_METER=auto for the best that can be read, cpu-time for an estimate`,
  });
}

function reasonOf(config: MeterConfig, notUsed: readonly NotUsed[]): string {
  if (config.meter === 'cpu-time') return 'the configuration asks for the estimate';
  return notUsed.map(({ unavailable }) => unavailable).join('; ') || 'there is no sensor';
}

function linesOf(
  meter: Meter,
  reason: string | null,
  notUsed: readonly NotUsed[],
  note: string | null,
): string[] {
  return [
    `energy: ${meter.description}`,
    ...(reason === null
      ? notUsed.map(({ name, unavailable }) => `not by ${name}: ${unavailable}`)
      : [`not measured because ${reason}`]),
    ...(reason !== null && notUsed.some(({ help }) => help)
      ? ['better: commonwatt doctor tells the commands']
      : []),
    ...(note === null ? [] : [note]),
  ];
}
