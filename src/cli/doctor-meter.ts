/** What this host offers to measure its energy with, what is used of it, and what would measure better. */
import type { Config } from '../config.ts';
import { Host } from '../energy/host.ts';
import { type ChooseOptions, chooseMeter, type Metering } from '../energy/meters/choose.ts';
import type { Unavailable } from '../energy/meters/meter.ts';
import { isConfigured, openSensor } from '../energy/meters/open.ts';
import { sensorNames } from '../energy/meters/settings.ts';
import { CommonwattError } from '../errors.ts';
import type { Finding } from './doctor.ts';

const silent = { info() {}, warn() {} };

export async function checkMeters(
  { energy, data }: Pick<Config, 'energy' | 'data'>,
  { host = new Host(), ...options }: Partial<Pick<ChooseOptions, 'host' | 'places'>> = {},
): Promise<Finding[]> {
  if (energy.meter === 'off')
    return [
      {
        check: 'meter',
        state: 'note',
        message: 'off: nothing is accounted for',
        hint: 'unset COMMONWATT_METER',
      },
    ];
  try {
    const chosen = await chooseMeter(energy, { host, log: silent, dataFolder: data, ...options });
    await chosen.stop();
    return [
      usedFinding(chosen, host),
      ...chosen.notUsed.map(({ name, ...absent }) => absentFinding(name, absent)),
      ...(await others({ energy }, chosen, options)),
    ];
  } catch (error) {
    if (!(error instanceof CommonwattError)) throw error;
    const { message, hint } = error;
    return [{ check: 'meter', state: 'problem', message, ...(hint ? { hint } : {}) }];
  }
}

function usedFinding({ meter, watts, lines }: Metering, host: Host): Finding {
  const notes = lines.filter((line) => line.includes('calibration'));
  const message = [meter.description, ...notes].join('; ');
  const hint = better({ meter, watts }, host);
  const state = meter.quality === 'measured' ? 'ok' : 'note';
  return { check: 'meter', state, message, ...(hint ? { hint } : {}) };
}

/** One step, the next one that pays most. */
function better({ meter, watts }: Pick<Metering, 'meter' | 'watts'>, host: Host): string | null {
  const plug =
    'COMMONWATT_METER=plug COMMONWATT_METER_URL=http://ADDRESS (docs/measuring.md: other plugs, MQTT, …)';
  if (meter.name.includes('nvidia-smi'))
    return 'better: a DCGM exporter counts what nvidia-smi only samples; then COMMONWATT_DCGM_URL=http://localhost:9400/metrics';
  if (meter.quality === 'measured')
    return meter.covers === 'cpu'
      ? `the rest of the machine: a plug meter, ${plug}; or its factor once: commonwatt calibrate --meter plug`
      : null;
  if (!watts.assumed) return null;
  if (/^flags\s*:.*\bhypervisor\b/m.test(host.cpuInfo() ?? ''))
    return 'a virtual machine sees no sensors: read those of its host by energy.prometheus or energy.json (docs/measuring.md), or type its watts: commonwatt calibrate --watts idle=W,max=W';
  return `best: a plug meter, ${plug}; closer: commonwatt calibrate`;
}

function absentFinding(name: string, { unavailable, help }: Unavailable): Finding {
  return { check: `meter ${name}`, state: 'note', message: unavailable, ...(help ? { hint: help } : {}) };
}

/** Those that were not looked at, since a better one answered or another one is demanded. */
async function others(
  { energy }: Pick<Config, 'energy'>,
  { meter, notUsed }: Metering,
  options: Partial<Pick<ChooseOptions, 'places'>>,
): Promise<Finding[]> {
  const looked = new Set([...notUsed.map(({ name }) => name), energy.meter, ...meter.name.split(/[+-]/)]);
  // Plugs are named by their firmware.
  if (/^(tasmota|shelly)/.test(meter.name)) looked.add('plug');
  const findings: Finding[] = [];
  for (const name of sensorNames) {
    if (looked.has(name) || !isConfigured(name, energy)) continue;
    const opened = await openSensor(name, { config: energy, ...options });
    if (!('meter' in opened)) continue;
    await opened.meter.stop?.();
    const message = `not used, and there: ${opened.meter.description}`;
    findings.push({ check: `meter ${name}`, state: 'ok', message });
  }
  return findings;
}
