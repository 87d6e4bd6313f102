import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runPython } from '../../../test/python.ts';
import { cpuSeconds } from '../units.ts';
import { CpuTimeMeter, energyFromCpuTime, hostWatts } from './cpu-time.ts';
import { IdlePower } from './idle-power.ts';
import type { Meter } from './meter.ts';
import { PolledMeter } from './polled.ts';
import { openRapl } from './rapl.ts';

interface FakeZone {
  name: string;
  uj: number | string;
  range?: number;
}

/** A powercap tree as Linux has it: folder name → zone. */
function powercap(zones: Record<string, FakeZone>): {
  root: string;
  set(folder: string, uj: number | string): void;
} {
  const root = mkdtempSync(join(tmpdir(), 'powercap-'));
  const set = (folder: string, uj: number | string) =>
    writeFileSync(join(root, folder, 'energy_uj'), `${uj}\n`);
  for (const [folder, { name, uj, range }] of Object.entries(zones)) {
    mkdirSync(join(root, folder));
    writeFileSync(join(root, folder, 'name'), `${name}\n`);
    if (range !== undefined) writeFileSync(join(root, folder, 'max_energy_range_uj'), `${range}\n`);
    set(folder, uj);
  }
  return { root, set };
}

function raplOn(tree: { root: string }, clock: () => number, maxW?: number) {
  const opened = openRapl({ root: tree.root, clock, ...(maxW === undefined ? {} : { maxW }) });
  if (!('meter' in opened)) throw new Error(opened.unavailable);
  return opened.meter;
}

const range = 262_143_328_850;
const twoPackages = {
  'intel-rapl:0': { name: 'package-0', uj: 1_000_000, range },
  'intel-rapl:0:0': { name: 'core', uj: 500_000, range },
  'intel-rapl:0:1': { name: 'dram', uj: 200_000, range },
  'intel-rapl:1': { name: 'package-1', uj: 801_000_000, range },
  'intel-rapl:2': { name: 'psys', uj: 9_000_000, range },
  'intel-rapl-mmio:0': { name: 'package-0', uj: 1_000_000, range },
};

const siblings: Record<string, () => { meter: Meter; advance(seconds: number): void | Promise<void> }> = {
  rapl: () => {
    const tree = powercap(twoPackages);
    let now = 0;
    let uj = 1_000_000;
    return {
      meter: raplOn(tree, () => now),
      advance: (seconds) => {
        now += seconds;
        uj += seconds * 30e6;
        tree.set('intel-rapl:0', uj);
      },
    };
  },
  'cpu-time': () => {
    let now = 0;
    let busy = 0;
    return {
      meter: new CpuTimeMeter({
        watts: { idleW: 10, maxW: 50, assumed: false },
        cpu: () => ({ busyS: cpuSeconds(busy), count: 4 }),
        clock: () => now,
      }),
      advance: (seconds) => {
        now += seconds;
        busy += 2 * seconds;
      },
    };
  },
  polled: () => {
    let now = 0;
    const source = {
      name: 'polled',
      methodVersion: '1',
      covers: 'wall' as const,
      interval: { low: 0.9, high: 1.1 },
      told: 'a plug that this test made',
      everyS: 1,
      ask: async () => ({ powerW: 30 }),
    };
    const meter = new PolledMeter(source, { ceilingW: 1000, clock: () => now, manual: true });
    return {
      meter,
      advance: async (seconds) => {
        for (let second = 0; second < seconds; second++) {
          await meter.ask();
          now++;
        }
      },
    };
  },
};

describe.each(Object.entries(siblings))('every meter: %s', (name, make) => {
  it('tells its name, quality, version, uncertainty and what it covers', () => {
    const { meter } = make();
    expect(meter.name).toBe(name);
    expect(['measured', 'estimated']).toContain(meter.quality);
    expect(meter.methodVersion).toMatch(/^\d/);
    expect(meter.description.length).toBeGreaterThan(20);
    expect(meter.uncertainty).toBeGreaterThan(0);
    expect(meter.interval.low).toBeLessThan(1);
    expect(meter.interval.high).toBeGreaterThan(1);
    expect(['cpu', 'machine', 'wall']).toContain(meter.covers);
  });

  it('is missing, never 0, on its first read and when no time has passed', () => {
    const { meter } = make();
    expect(meter.read()).toHaveProperty('missing');
    expect(meter.read()).toHaveProperty('missing');
  });

  it('gives the joules since the last read, each once', async () => {
    const { meter, advance } = make();
    await meter.start?.();
    meter.read();
    await advance(1);
    expect(meter.read()).toEqual({ energyJ: 30 });
    await advance(2);
    expect(meter.read()).toEqual({ energyJ: 60 });
  });
});

describe('RAPL', () => {
  it('sums packages and memory once: neither cores, nor psys, nor the mmio copy of a package', () => {
    const tree = powercap(twoPackages);
    let now = 0;
    const meter = raplOn(tree, () => now);
    meter.read();
    now = 1;
    for (const folder of Object.keys(twoPackages)) tree.set(folder, 11_000_000);
    tree.set('intel-rapl:1', 811_000_000);
    const reading = meter.read();
    // 10 J of each package and 10.8 J of memory.
    expect(reading).toEqual({ energyJ: 10 + 10 + 10.8 });
  });

  it('counts a counter once that each die of a package repeats, and two that met by chance twice', () => {
    const tree = powercap({
      'intel-rapl:0': { name: 'package-0-die-0', uj: 5_000_000, range },
      'intel-rapl:1': { name: 'package-0-die-1', uj: 5_000_010, range },
    });
    let now = 0;
    const meter = raplOn(tree, () => now);
    meter.read();
    now = 1;
    tree.set('intel-rapl:0', 65_000_000);
    tree.set('intel-rapl:1', 65_000_020);
    expect(meter.read()).toEqual({ energyJ: 60 });
    const apart = powercap({
      'intel-rapl:0': { name: 'package-0', uj: 5_000_000, range },
      'intel-rapl:1': { name: 'package-1', uj: 5_000_010, range },
    });
    const two = raplOn(apart, () => now);
    two.read();
    now = 2;
    apart.set('intel-rapl:0', 65_000_000);
    apart.set('intel-rapl:1', 35_000_010);
    expect(two.read()).toEqual({ energyJ: 90 });
  });

  it('tells the joules that CodeCarbon tells of the same counters', () => {
    // Package 0, its cores, its other interface, package 1; at last both wrap.
    const steps = [
      [31_000_000, 9_000_000, 31_000_000, 820_000_000],
      [90_500_000, 19_000_000, 90_500_000, 860_000_000],
      [2_000_000, 29_000_000, 2_000_000, 1_000_000],
    ].map(([first, core, copy, second]) => ({
      'intel-rapl:0': first ?? 0,
      'intel-rapl:0:0': core ?? 0,
      'intel-rapl-mmio:0': copy ?? 0,
      'intel-rapl:1': second ?? 0,
    }));
    const { 'intel-rapl:0:1': _, ...known } = twoPackages;
    const zones = () =>
      powercap(
        Object.fromEntries(
          Object.entries(known).map(([path, zone]) => [path, { ...zone, range: 900_000_000 }]),
        ),
      );
    const theirs = zones();
    const script = `
import json, os, sys
from codecarbon.core.cpu import IntelRAPL
from codecarbon.core.units import Time
root, steps = sys.argv[1], json.loads(sys.argv[2])
rapl = IntelRAPL(rapl_dir=root)
rapl.start()
for step in steps:
    for folder, uj in step.items():
        with open(os.path.join(root, folder, "energy_uj"), "w") as file:
            file.write(str(int(uj)))
    rapl.get_cpu_details(Time.from_seconds(10))
    print(sum(each.energy_delta.kWh for each in rapl._rapl_files) * 3.6e6)
`;
    const told = runPython(script, [theirs.root, JSON.stringify(steps)])
      .trim()
      .split('\n')
      .map(Number);
    const own = zones();
    let now = 0;
    const meter = raplOn(own, () => now);
    meter.read();
    const counted = steps.map((step) => {
      now += 1;
      for (const [folder, uj] of Object.entries(step)) own.set(folder, uj);
      const reading = meter.read();
      return 'energyJ' in reading ? reading.energyJ : Number.NaN;
    });
    expect(counted).toEqual([30 + 19, 59.5 + 40, 811.5 + 41].map((joules) => expect.closeTo(joules, 9)));
    // It rounds 1 J to 2.77778e-7 kWh.
    expect(told).toEqual(counted.map((joules) => expect.closeTo((joules * 2.77778) / (1 / 0.36), 6)));
  });

  it('takes psys where there are no packages', () => {
    const tree = powercap({ 'intel-rapl:0': { name: 'psys', uj: 0, range } });
    let now = 0;
    const meter = raplOn(tree, () => now);
    meter.read();
    now = 1;
    tree.set('intel-rapl:0', 5_000_000);
    expect(meter.read()).toEqual({ energyJ: 5 });
  });

  it('follows a counter around its range', () => {
    const tree = powercap({ 'intel-rapl:0': { name: 'package-0', uj: range - 2_000_000, range } });
    let now = 0;
    const meter = raplOn(tree, () => now);
    meter.read();
    now = 1;
    tree.set('intel-rapl:0', 3_000_000);
    expect(meter.read()).toEqual({ energyJ: 5 });
  });

  it('is missing when a counter wrapped whose range is not known', () => {
    const tree = powercap({ 'intel-rapl:0': { name: 'package-0', uj: 10 } });
    let now = 0;
    const meter = raplOn(tree, () => now);
    meter.read();
    now = 1;
    tree.set('intel-rapl:0', 5);
    expect(meter.read()).toHaveProperty('missing', expect.stringContaining('range'));
  });

  it('takes more than 1.5 times the full power for a reset of the counter', () => {
    const tree = powercap({ 'intel-rapl:0': { name: 'package-0', uj: 1000, range } });
    let now = 0;
    const meter = raplOn(tree, () => now, 100);
    meter.read();
    now = 1;
    tree.set('intel-rapl:0', 0);
    expect(meter.read()).toHaveProperty('missing', expect.stringContaining('reset'));
    now = 2;
    tree.set('intel-rapl:0', 50e6);
    expect(meter.read()).toEqual({ energyJ: 50 });
  });

  it('is missing while a counter cannot be read, and starts anew after that', () => {
    const tree = powercap({ 'intel-rapl:0': { name: 'package-0', uj: 0, range } });
    let now = 0;
    const meter = raplOn(tree, () => now);
    meter.read();
    now = 1;
    tree.set('intel-rapl:0', 'not a number');
    expect(meter.read()).toHaveProperty('missing');
    now = 2;
    tree.set('intel-rapl:0', 4_000_000);
    expect(meter.read()).toHaveProperty('missing');
    now = 3;
    tree.set('intel-rapl:0', 9_000_000);
    expect(meter.read()).toEqual({ energyJ: 5 });
  });

  it('takes the mmio copy where the other cannot be read', () => {
    const tree = powercap({
      'intel-rapl:0': { name: 'package-0', uj: 'garbage', range },
      'intel-rapl-mmio:0': { name: 'package-0', uj: 0, range },
    });
    let now = 0;
    const meter = raplOn(tree, () => now);
    meter.read();
    now = 1;
    tree.set('intel-rapl-mmio:0', 7_000_000);
    expect(meter.read()).toEqual({ energyJ: 7 });
  });

  it("reads AMD's two sockets, whose counters wrap at 65,536 J", () => {
    const amd = 65_532_610_987;
    const tree = powercap({
      'intel-rapl:0': { name: 'package-0', uj: amd - 40_000_000, range: amd },
      'intel-rapl:0:0': { name: 'core', uj: 10, range: amd },
      'intel-rapl:1': { name: 'package-1', uj: 1_000_000, range: amd },
    });
    let now = 0;
    const meter = raplOn(tree, () => now);
    meter.read();
    now = 1;
    tree.set('intel-rapl:0', 60_000_000);
    tree.set('intel-rapl:1', 81_000_000);
    expect(meter.read()).toEqual({ energyJ: 180 });
  });

  it('is missing when a counter was not read for so long that it may have wrapped twice', () => {
    const tree = powercap({ 'intel-rapl:0': { name: 'package-0', uj: 0, range: 65_532_610_987 } });
    let now = 0;
    const meter = raplOn(tree, () => now);
    meter.read();
    now = 600;
    tree.set('intel-rapl:0', 5_000_000);
    expect(meter.read()).toHaveProperty('missing', expect.stringContaining('more than once'));
    now = 601;
    tree.set('intel-rapl:0', 55_000_000);
    expect(meter.read()).toEqual({ energyJ: 50 });
  });

  it('does not take counters that stand still, as in some virtual machines, for 0 J', () => {
    const tree = powercap({ 'intel-rapl:0': { name: 'package-0', uj: 0, range } });
    let now = 0;
    const meter = raplOn(tree, () => now);
    meter.read();
    now = 1;
    expect(meter.read()).toHaveProperty('missing', expect.stringContaining('do not move'));
  });

  it('becomes a meter of the machine with a calibrated factor, and says so', () => {
    const tree = powercap({ 'intel-rapl:0': { name: 'package-0', uj: 0, range } });
    let now = 0;
    const opened = openRapl({ root: tree.root, clock: () => now, platformFactor: 1.9 });
    if (!('meter' in opened)) throw new Error(opened.unavailable);
    const { meter } = opened;
    meter.read();
    now = 1;
    tree.set('intel-rapl:0', 50_000_000);
    expect(meter.read()).toEqual({ energyJ: 95 });
    expect(meter).toMatchObject({
      name: 'rapl-factor',
      covers: 'machine',
      interval: { low: 0.8, high: 1.2 },
    });
    expect(meter.description).toContain('platform factor 1.9');
  });

  it('says what is in the way of reading it', () => {
    const empty = mkdtempSync(join(tmpdir(), 'powercap-'));
    expect(openRapl({ root: empty })).toEqual({
      unavailable: expect.stringContaining('no RAPL energy counters'),
    });
    const tree = powercap({ 'intel-rapl:0': { name: 'package-0', uj: 0, range } });
    const file = join(tree.root, 'intel-rapl:0', 'energy_uj');
    if (process.getuid?.() === 0) {
      // Root may read everything: a folder in place of the file stands for any other failure.
      rmSync(file);
      mkdirSync(file);
      expect(openRapl({ root: tree.root })).toEqual({
        unavailable: expect.stringContaining('cannot be read'),
      });
    } else {
      chmodSync(file, 0);
      expect(openRapl({ root: tree.root })).toEqual({
        unavailable: expect.stringContaining('permission'),
        help: expect.stringContaining('chmod'),
      });
    }
  });
});

describe('an estimate from CPU time', () => {
  it('is 30 J for a second at half load between 10 and 50 W', () => {
    expect(energyFromCpuTime({ idleW: 10, maxW: 50, assumed: false }, 2, 4, 1)).toBe(30);
  });

  it('never leaves the line between idle and full load', () => {
    expect(energyFromCpuTime({ idleW: 10, maxW: 50, assumed: false }, 99, 4, 1)).toBe(50);
  });

  it('assumes .74 and 3.5 W per CPU where nothing is configured, and says so with a wide interval', () => {
    expect(hostWatts({ idleW: null, maxW: null }, 2)).toEqual({ idleW: 1.48, maxW: 7, assumed: true });
    expect(hostWatts({ idleW: 20, maxW: 80 }, 2)).toEqual({ idleW: 20, maxW: 80, assumed: false });
    const cpu = () => ({ busyS: cpuSeconds(0), count: 2 });
    const assumed = new CpuTimeMeter({ watts: hostWatts({ idleW: null, maxW: null }, 2), cpu });
    const told = new CpuTimeMeter({ watts: hostWatts({ idleW: 20, maxW: 80 }, 2), cpu });
    expect(assumed.uncertainty).toBeGreaterThanOrEqual(0.5);
    expect(told.uncertainty).toBeLessThan(assumed.uncertainty);
    expect(assumed.description).toContain('assumed');
  });
});

describe('idle power', () => {
  it('is the 5th percentile of quiet samples once there are enough, never of busy ones', () => {
    const idle = new IdlePower(5, { fixed: false });
    for (let watts = 10; watts < 29; watts++) idle.observe(watts, 0.01);
    idle.observe(1, 0.5);
    expect(idle.watts).toBe(5);
    idle.observe(29, 0.01);
    expect(idle.watts).toBeGreaterThanOrEqual(10);
    expect(idle.watts).toBeLessThan(12);
    const fixed = new IdlePower(5, { fixed: true });
    for (let index = 0; index < 50; index++) fixed.observe(50, 0);
    expect(fixed.watts).toBe(5);
  });
});
