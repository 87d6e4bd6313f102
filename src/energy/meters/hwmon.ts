/**
 * Power and energy sensors of the board (Linux hwmon): power*_input and power*_average in µW, energy*_input in µJ. Of
 * what a host has, the most comprehensive kind is read and nothing that is a part of it: a board's input, otherwise
 * the inputs of its power supplies, otherwise the CPU sockets. Accelerators are read apart.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Coverage, Unavailable } from './meter.ts';
import type { Source, SourceAnswer } from './polled.ts';
import { listFolder, readNumber, readText } from './sysfs.ts';

const defaultRoot = '/sys/class/hwmon';

interface Sensor {
  chip: string;
  label: string;
  file: string;
  kind: 'energy' | 'power';
}

interface Group {
  covers: Coverage;
  what: string;
  /** Whether one sensor has it all, or each is a part (a socket, a power supply). */
  sums: boolean;
  fits(sensor: Sensor): boolean;
}

const accelerators = /^(amdgpu|xe|i915|nouveau)$/;

/** From the most comprehensive down. */
const groups: readonly Group[] = [
  {
    covers: 'machine',
    what: "the board's input",
    sums: false,
    // ACPI power meters, IBM POWER's `system`, Jetson's and other boards' rails at the entrance.
    fits: ({ chip, label }) =>
      chip === 'power_meter' ||
      /^(system|vdd_in|pom_5v_in|power total|total power|board|input power)$/i.test(label),
  },
  {
    covers: 'machine',
    what: 'the inputs of the power supplies',
    sums: true,
    fits: ({ label }) => /^pin\d*$/i.test(label),
  },
  {
    covers: 'cpu',
    what: 'the CPU sockets',
    sums: true,
    fits: ({ chip, label }) =>
      /^(esocket\d+|socket\d+|package( id)? ?\d*|cpu power)$/i.test(label) || chip === 'fam15h_power',
  },
];

const acceleratorGroup: Group = {
  covers: 'accelerators',
  what: 'the accelerators',
  sums: true,
  // Intel's `xe` has the package inside the card.
  fits: ({ chip, label }) => accelerators.test(chip) && label !== 'pkg',
};

export interface HwmonOptions {
  root?: string;
  /** Only sensors of this chip. */
  chip?: string | null;
  accelerators?: boolean;
}

export function openHwmon({
  root = defaultRoot,
  chip = null,
  accelerators: only = false,
}: HwmonOptions = {}): { source: Source } | Unavailable {
  const sensors = listSensors(root).filter((sensor) => chip === null || sensor.chip === chip);
  for (const group of only ? [acceleratorGroup] : groups) {
    const chosen = choose(sensors, group);
    const [first] = chosen;
    if (!first) continue;
    const denied = chosen.map(({ file }) => readNumber(file)).find((value) => typeof value !== 'number');
    if (denied !== undefined && typeof denied !== 'number') return denied;
    return { source: sourceOf(chosen, group) };
  }
  const seen = [...new Set(sensors.map((sensor) => `${sensor.chip} ${sensor.label}`))];
  if (seen.length === 0)
    return {
      unavailable: `no${only ? ' accelerator' : ''} power sensor under ${root}${chip ? ` of a chip ${chip}` : ''}`,
    };
  return {
    unavailable: `the power sensors under ${root} (${seen.join(', ')}) are parts of an unknown whole`,
  };
}

/** An energy counter before a power, one of each device; of a whole the first sensor only. */
function choose(sensors: readonly Sensor[], group: Group): Sensor[] {
  const ofDevice = new Map<string, Sensor>();
  const fitting = sensors.filter(
    (sensor) => (group.covers === 'accelerators') === accelerators.test(sensor.chip),
  );
  for (const sensor of fitting.filter((each) => group.fits(each))) {
    // Sensor 1 of a card's energy and of its power are one device, told twice.
    const device =
      group.covers === 'accelerators'
        ? sensor.file.replace(/\/[^/]+$/, '')
        : `${sensor.file.replace(/\/[^/]+$/, '')} ${sensor.label}`;
    const known = ofDevice.get(device);
    if (!known || (known.kind === 'power' && sensor.kind === 'energy')) ofDevice.set(device, sensor);
  }
  const found = [...ofDevice.values()];
  const counters = found.filter(({ kind }) => kind === 'energy');
  // Counters and powers of one whole are not mixed.
  const chosen = counters.length > 0 ? counters : found;
  return group.sums ? chosen : chosen.slice(0, 1);
}

function sourceOf(sensors: readonly Sensor[], group: Group): Source {
  const isCounter = sensors[0]?.kind === 'energy';
  const names = sensors.map(({ chip, label }) => (label ? `${chip} ${label}` : chip)).join(', ');
  const told = `${isCounter ? 'energy counters' : 'power sensors'} of ${group.what} (hwmon: ${names})`;
  return {
    name: 'hwmon',
    methodVersion: '1',
    covers: group.covers,
    // A shunt and its converter: 5 % counted, 10 % where power is looked at once a second.
    interval: isCounter ? { low: 0.95, high: 1.05 } : { low: 0.9, high: 1.1 },
    told: group.covers === 'cpu' ? `${told}; the rest of the machine is not included` : told,
    everyS: 1,
    async ask(): Promise<SourceAnswer> {
      let sum = 0;
      for (const { file } of sensors) sum += await readMicro(file);
      return isCounter ? { counterJ: sum / 1e6 } : { powerW: sum / 1e6 };
    },
  };
}

async function readMicro(file: string): Promise<number> {
  const text = (await readFile(file, 'utf8')).trim();
  const value = Number(text);
  if (text === '' || !Number.isFinite(value))
    throw new Error(`${file} holds ${JSON.stringify(text)}, not a number`);
  return value;
}

function listSensors(root: string): Sensor[] {
  return listFolder(root)
    .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
    .flatMap((folder) => {
      const path = join(root, folder);
      const chip = readText(join(path, 'name')) ?? folder;
      return listFolder(path)
        .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
        .flatMap((file): Sensor[] => {
          const match = /^(energy|power)(\d+)_(input|average)$/.exec(file);
          if (!match?.[1] || !match[2]) return [];
          const [, kind, number, how] = match;
          // The average over a while, where there is one, beats a look at one moment.
          if (how === 'input' && kind === 'power' && readText(join(path, `power${number}_average`)) !== null)
            return [];
          const label = readText(join(path, `${kind}${number}_label`)) ?? '';
          return [{ chip, label, file: join(path, file), kind: kind as Sensor['kind'] }];
        });
    });
}
