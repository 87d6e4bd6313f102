/**
 * Energy counters of the CPU packages and of memory (Linux powercap, "RAPL"; Intel, and AMD since kernel 5.8).
 * They leave out disks, network, fans and power supplies; counters wrap, so they must be read at least once a
 * minute; since 2020 only root may read them unless the administrator allows more.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { joules } from '../units.ts';
import { type Meter, type MeterReading, type MonotonicClock, monotonicSeconds } from './meter.ts';

const defaultRoot = '/sys/class/powercap';

interface Zone {
  name: string;
  file: string;
  rangeUj: number | null;
}

export interface RaplOptions {
  /** Tests give a tree of their own. */
  root?: string;
  /** Above 1.5 times this power a counter was reset, not used; null: 1,000 W. */
  maxW?: number | null;
  clock?: MonotonicClock;
}

/** The meter, or why this host has none that we may read. */
export function openRapl(options: RaplOptions = {}): { meter: RaplMeter } | { unavailable: string } {
  const root = options.root ?? defaultRoot;
  const zones = chooseZones(findZones(root));
  if (zones.length === 0) return { unavailable: `no RAPL energy counters under ${root}` };
  for (const { file } of zones) {
    const value = readCounter(file);
    if (typeof value === 'string') return { unavailable: value };
  }
  return { meter: new RaplMeter(zones, options) };
}

export class RaplMeter implements Meter {
  readonly name = 'rapl';
  readonly quality = 'measured';
  readonly methodVersion = '1';
  readonly description: string;
  readonly uncertainty = 0.05;
  readonly #zones: readonly Zone[];
  readonly #ceilingW: number;
  readonly #clock: MonotonicClock;
  #last: { values: number[]; at: number } | undefined;

  constructor(zones: readonly Zone[], { maxW, clock }: RaplOptions) {
    this.#zones = zones;
    this.#ceilingW = 1.5 * (maxW ?? 1000);
    this.#clock = clock ?? monotonicSeconds;
    const names = zones.map(({ name }) => name).join(', ');
    this.description = `measured by RAPL counters (${names}); disks, network, fans and power supply are not included`;
  }

  read(): MeterReading {
    const at = this.#clock();
    const values: number[] = [];
    for (const { file } of this.#zones) {
      const value = readCounter(file);
      if (typeof value === 'string') {
        // The next delta would span an unknown number of wraps of this counter only; start anew.
        this.#last = undefined;
        return { missing: value };
      }
      values.push(value);
    }
    const last = this.#last;
    this.#last = { values, at };
    if (!last) return { missing: 'the meter has just been started' };
    const seconds = at - last.at;
    if (seconds <= 0) return { missing: 'no time has passed since the last reading' };
    let energyUj = 0;
    for (const [index, zone] of this.#zones.entries()) {
      const before = last.values[index] ?? 0;
      const now = values[index] ?? 0;
      if (now >= before) energyUj += now - before;
      else if (zone.rangeUj !== null) energyUj += zone.rangeUj - before + now;
      else return { missing: `${zone.name} wrapped, and its range is not known` };
    }
    const watts = energyUj / 1e6 / seconds;
    if (watts > this.#ceilingW) {
      return { missing: `${Math.round(watts)} W is more than this host can draw: a counter was reset` };
    }
    return { energyJ: joules(energyUj / 1e6) };
  }
}

/** Every zone and sub-zone with an energy counter; of zones of one name and package the first (mmio repeats msr). */
function findZones(root: string): Zone[] {
  const found = new Map<string, Zone>();
  for (const folder of listFolder(root)
    .filter((name) => /^intel-rapl(-mmio)?:\d+(:\d+)?$/.test(name))
    .sort(mmioLast)) {
    const path = join(root, folder);
    const name = readText(join(path, 'name'));
    if (name === null) continue;
    // `dram` is a sub-zone: intel-rapl:0:1 is that of package 0.
    const identity =
      name.startsWith('package-') || name === 'psys' ? name : `${name} ${folder.split(':')[1]}`;
    if (found.has(identity)) continue;
    const range = Number(readText(join(path, 'max_energy_range_uj')) ?? Number.NaN);
    found.set(identity, {
      name: identity,
      file: join(path, 'energy_uj'),
      rangeUj: Number.isFinite(range) && range > 0 ? range : null,
    });
  }
  return [...found.values()];
}

/** Packages and memory, or the whole platform (psys) where there are no packages: psys contains them. */
function chooseZones(zones: readonly Zone[]): Zone[] {
  const packages = zones.filter(({ name }) => name.startsWith('package'));
  if (packages.length === 0) return zones.filter(({ name }) => name === 'psys');
  return [...packages, ...zones.filter(({ name }) => name.startsWith('dram'))];
}

function mmioLast(a: string, b: string): number {
  return Number(a.includes('mmio')) - Number(b.includes('mmio')) || a.localeCompare(b);
}

function readCounter(file: string): number | string {
  try {
    const text = readFileSync(file, 'utf8').trim();
    const value = Number(text);
    return text !== '' && Number.isFinite(value)
      ? value
      : `${file} holds ${JSON.stringify(text)}, not a number`;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'EACCES' || code === 'EPERM') {
      return `no permission to read ${file} (run as root, or: chmod a+r ${file})`;
    }
    return `${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function listFolder(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function readText(file: string): string | null {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    return null;
  }
}
