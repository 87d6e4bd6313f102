/** Opens each kind of meter as it is configured, or says why it cannot be used and what would help. */
import { existsSync } from 'node:fs';
import { CommonwattError } from '../../errors.ts';
import { openHwmon } from './hwmon.ts';
import { ipmiDevice, ipmiSource } from './ipmi.ts';
import type { Meter, MonotonicClock, Unavailable } from './meter.ts';
import { mqttSource } from './mqtt.ts';
import { dcgmSource, smiSource } from './nvidia.ts';
import { jsonSource, plugSource } from './plug.ts';
import { PolledMeter, type Source } from './polled.ts';
import { prometheusSource } from './prometheus.ts';
import { openRapl } from './rapl.ts';
import { redfishSource } from './redfish.ts';
import type { MeterConfig, sensorNames } from './settings.ts';

/** Where this host has its sensors; tests have their own. */
export interface Places {
  powercap?: string;
  hwmon?: string;
  ipmi?: readonly string[];
  /** Files that are there when the driver of NVIDIA is. */
  nvidia?: readonly string[];
  smi?: readonly string[];
}

export interface OpenOptions {
  config: MeterConfig;
  clock?: MonotonicClock;
  places?: Places;
}

export type Opened = { meter: Meter } | Unavailable;
export type SensorName = (typeof sensorNames)[number];
export type AcceleratorName = 'dcgm' | 'nvidia-smi' | 'hwmon';

/** Without configured watts a meter of a whole machine may tell at most this, W. */
const machineCeilingW = 20_000;
const nvidiaFiles = ['/proc/driver/nvidia/version', '/dev/nvidiactl'];

/** A meter that has answered once. Throws INVALID_CONFIG for settings that are not there. */
export async function openSensor(name: SensorName, options: OpenOptions): Promise<Opened> {
  const { config, clock, places = {} } = options;
  if (name === 'rapl') {
    return openRapl({
      maxW: config.maxW,
      platformFactor: config.platformFactor,
      ...(places.powercap === undefined ? {} : { root: places.powercap }),
      ...(clock ? { clock } : {}),
    });
  }
  const source = sourceOf(name, config, places);
  return 'unavailable' in source ? source : started(source, options);
}

/** A sensor that nobody configured and that is none of the host's own; auto passes it over. */
export function isConfigured(name: SensorName, config: MeterConfig): boolean {
  return name === 'rapl' || name === 'hwmon' || name === 'ipmi' || config[name] !== null;
}

function sourceOf(
  name: Exclude<SensorName, 'rapl'>,
  config: MeterConfig,
  places: Places,
): Source | Unavailable {
  if (name === 'hwmon') {
    const root = places.hwmon === undefined ? {} : { root: places.hwmon };
    const opened = openHwmon({ ...root, chip: config.hwmon.chip });
    return 'source' in opened ? opened.source : opened;
  }
  if (name === 'ipmi') {
    const absent = config.ipmi.host === null ? ipmiDevice(places.ipmi) : null;
    return absent ?? ipmiSource(config.ipmi);
  }
  if (name === 'redfish') return redfishSource(demanded(config.redfish, name));
  if (name === 'plug') return plugSource(demanded(config.plug, name));
  if (name === 'json') return jsonSource(demanded(config.json, name));
  if (name === 'mqtt') return mqttSource(demanded(config.mqtt, name));
  return prometheusSource(demanded(config.prometheus, name));
}

function demanded<Settings>(settings: Settings | null, name: string): Settings {
  if (settings !== null) return settings;
  throw new CommonwattError(
    'INVALID_CONFIG',
    `the meter ${name} is asked for, and nothing says where it is`,
    {
      where: `energy.${name}`,
      hint: `set energy.${name} in commonwatt.yaml, or COMMONWATT_METER_URL`,
    },
  );
}

async function started(
  source: Source,
  { config, clock }: OpenOptions,
): Promise<{ meter: PolledMeter } | Unavailable> {
  const ceilingW =
    source.covers !== 'accelerators' && config.maxW !== null ? 1.5 * config.maxW : machineCeilingW;
  const meter = new PolledMeter(source, { ceilingW, ...(clock ? { clock } : {}) });
  await meter.start();
  if (meter.failure === null) return { meter };
  await meter.stop();
  return { unavailable: meter.failure };
}

/** Accelerators in the order of how well they are known, or null: this host has none that anybody sees. */
export async function openAccelerators(
  name: AcceleratorName,
  options: OpenOptions,
): Promise<{ meter: PolledMeter } | Unavailable> {
  const { config, places = {} } = options;
  if (name === 'dcgm') return started(dcgmSource({ ...demanded(config.dcgm, 'dcgm') }), options);
  if (name === 'nvidia-smi') {
    if (!(places.nvidia ?? nvidiaFiles).some((file) => existsSync(file)))
      return { unavailable: 'no NVIDIA driver' };
    return started(smiSource({ command: places.smi ?? ['nvidia-smi'], everyS: 1 }), options);
  }
  const root = places.hwmon === undefined ? {} : { root: places.hwmon };
  const opened = openHwmon({ ...root, accelerators: true });
  return 'source' in opened ? started(opened.source, options) : opened;
}
