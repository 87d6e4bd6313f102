/**
 * Energy counters of the CPU packages and of memory (Linux powercap, "RAPL"; Intel, and AMD since kernel 5.8).
 * They leave out disks, network, fans and power supplies; counters wrap, so they must be read at least once a
 * minute; since 2020 only root may read them unless the administrator allows more.
 */
import { join } from 'node:path';
import { joules } from '../units.ts';
import {
  type Interval,
  type Meter,
  type MeterReading,
  type MonotonicClock,
  monotonicSeconds,
  type Unavailable,
  within,
} from './meter.ts';
import { listFolder, readNumber, readText } from './sysfs.ts';

const defaultRoot = '/sys/class/powercap';
/** No package of today draws more, W. */
const packageCeilingW = 1000;
/** Counters are updated about every millisecond: one that stands still for so long is not one (virtual machines), s. */
const standsStillS = 0.5;

/** Counters that are so near to each other again and again are one counter, told by each die of a package, µJ. */
const mirrorUj = 500_000;

interface Zone {
  name: string;
  file: string;
  rangeUj: number | null;
}

export interface RaplOptions {
  /** Tests give a tree of their own. */
  root?: string;
  /** Above 1.5 times this power a counter was reset, not used; null: 1,000 W a package. */
  maxW?: number | null;
  /** What a plug shows for each watt of the counters, as somebody has calibrated; null: only what they count. */
  platformFactor?: number | null;
  clock?: MonotonicClock;
}

/** The meter, or why this host has none that we may read. */
export function openRapl(options: RaplOptions = {}): { meter: RaplMeter } | Unavailable {
  const root = options.root ?? defaultRoot;
  const found = findZones(root);
  const zones = chooseZones(found.zones);
  if (zones.length === 0) return found.denied ?? { unavailable: `no RAPL energy counters under ${root}` };
  return { meter: new RaplMeter(zones, options) };
}

export class RaplMeter implements Meter {
  readonly name: string;
  readonly quality = 'measured';
  readonly methodVersion = '2';
  readonly description: string;
  readonly covers: 'cpu' | 'machine';
  readonly interval: Interval;
  readonly uncertainty: number;
  readonly #zones: readonly Zone[];
  readonly #ceilingW: number;
  readonly #factor: number;
  readonly #clock: MonotonicClock;
  /** Zones that repeat another one. */
  readonly #mirrors = new Set<Zone>();
  #last: { values: number[]; at: number } | undefined;

  constructor(zones: readonly Zone[], { maxW, platformFactor, clock }: RaplOptions) {
    this.#zones = zones;
    this.#factor = platformFactor ?? 1;
    const packages = zones.filter(({ name }) => !name.startsWith('dram')).length;
    this.#ceilingW = 1.5 * ((maxW ?? 0) > 0 ? Number(maxW) / this.#factor : packageCeilingW * packages);
    this.#clock = clock ?? monotonicSeconds;
    const names = zones.map(({ name }) => name).join(', ');
    const whole = platformFactor != null;
    this.name = whole ? 'rapl-factor' : 'rapl';
    this.covers = whole || zones.every(({ name }) => name === 'psys') ? 'machine' : 'cpu';
    // Sensors are good to a few percent; one factor for every load is not.
    this.interval = within(whole ? 0.2 : 0.05);
    this.uncertainty = whole ? 0.2 : 0.05;
    this.description = whole
      ? `measured by RAPL counters (${names}) times the calibrated platform factor ${platformFactor}`
      : `measured by RAPL counters (${names}); disks, network, fans and power supply are not included (at the wall it is often twice as much)`;
  }

  read(): MeterReading {
    const at = this.#clock();
    const values: number[] = [];
    for (const { file } of this.#zones) {
      const value = readNumber(file);
      if (typeof value !== 'number') {
        // The next delta would span an unknown number of wraps of this counter only; start anew.
        this.#last = undefined;
        return { missing: value.unavailable };
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
      const delta = difference(zone, last.values[index] ?? 0, values[index] ?? 0, seconds);
      if (typeof delta === 'string') return { missing: delta };
      if (!this.#repeats(index, last.values, values, delta)) energyUj += delta;
    }
    const watts = energyUj / 1e6 / seconds;
    if (watts > this.#ceilingW) {
      return { missing: `${Math.round(watts)} W is more than this host can draw: a counter was reset` };
    }
    if (energyUj === 0 && seconds >= standsStillS) return { missing: 'the counters do not move' };
    return { energyJ: joules((energyUj / 1e6) * this.#factor) };
  }

  /** Near to each other before and now; after some joules it is certain, before that it is left out to be safe. */
  #repeats(index: number, before: readonly number[], now: readonly number[], delta: number): boolean {
    const zone = this.#zones[index];
    if (!zone || zone.name.startsWith('dram')) return false;
    if (this.#mirrors.has(zone)) return true;
    const near = (values: readonly number[], other: number) =>
      Math.abs((values[index] ?? 0) - (values[other] ?? 0)) <= mirrorUj;
    const repeated = this.#zones.findIndex(
      (each, other) =>
        other < index && !each.name.startsWith('dram') && near(before, other) && near(now, other),
    );
    if (repeated !== -1 && delta > 4 * mirrorUj) this.#mirrors.add(zone);
    return repeated !== -1;
  }
}

/** Microjoules between two states of a counter, or why they cannot be told. */
function difference(zone: Zone, before: number, now: number, seconds: number): number | string {
  if (zone.rangeUj !== null && seconds * packageCeilingW * 1e6 > 2 * zone.rangeUj)
    return `${zone.name} was not read for ${Math.round(seconds)} s and may have wrapped more than once`;
  if (now >= before) return now - before;
  if (zone.rangeUj === null) return `${zone.name} wrapped, and its range is not known`;
  return zone.rangeUj - before + now;
}

/**
 * Every zone and sub-zone with an energy counter that can be read; of zones of one name and package the first (mmio
 * repeats msr, and stands in for it where msr cannot be read).
 */
function findZones(root: string): { zones: Zone[]; denied: Unavailable | null } {
  const found = new Map<string, Zone>();
  let denied: Unavailable | null = null;
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
    const file = join(path, 'energy_uj');
    const value = readNumber(file);
    if (typeof value !== 'number') {
      denied ??= permissionOfAll(value, root);
      continue;
    }
    const range = Number(readText(join(path, 'max_energy_range_uj')) ?? Number.NaN);
    found.set(identity, {
      name: identity,
      file,
      rangeUj: Number.isFinite(range) && range > 0 ? range : null,
    });
  }
  return { zones: [...found.values()], denied };
}

/** Permission is granted to all counters at once, and again after each boot. */
function permissionOfAll(denied: Unavailable, root: string): Unavailable {
  if (denied.help === undefined) return denied;
  return {
    ...denied,
    help: `run as root, or after each boot: sudo chmod -R a+r ${root}/intel-rapl*/ (docs/measuring.md has a rule that stays)`,
  };
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
