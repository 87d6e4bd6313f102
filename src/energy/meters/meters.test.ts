import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Host } from '../host.ts';
import { cpuSeconds } from '../units.ts';
import { chooseMeter } from './choose.ts';
import { CpuTimeMeter, energyFromCpuTime, hostWatts } from './cpu-time.ts';
import { IdlePower } from './idle-power.ts';
import type { Meter } from './meter.ts';
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
  'intel-rapl:1': { name: 'package-1', uj: 1_000_000, range },
  'intel-rapl:2': { name: 'psys', uj: 9_000_000, range },
  'intel-rapl-mmio:0': { name: 'package-0', uj: 1_000_000, range },
};

const siblings: Record<string, () => { meter: Meter; advance(seconds: number): void }> = {
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
};

describe.each(Object.entries(siblings))('every meter: %s', (name, make) => {
  it('tells its name, quality, version, uncertainty and what it covers', () => {
    const { meter } = make();
    expect(meter.name).toBe(name);
    expect(['measured', 'estimated']).toContain(meter.quality);
    expect(meter.methodVersion).toMatch(/^\d/);
    expect(meter.description.length).toBeGreaterThan(20);
    expect(meter.uncertainty).toBeGreaterThan(0);
  });

  it('is missing, never 0, on its first read and when no time has passed', () => {
    const { meter } = make();
    expect(meter.read()).toHaveProperty('missing');
    expect(meter.read()).toHaveProperty('missing');
  });

  it('gives the joules since the last read, each once', () => {
    const { meter, advance } = make();
    meter.read();
    advance(1);
    expect(meter.read()).toEqual({ energyJ: 30 });
    advance(2);
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
    const reading = meter.read();
    // 10 J of each package and 10.8 J of memory.
    expect(reading).toEqual({ energyJ: 10 + 10 + 10.8 });
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
      expect(openRapl({ root: tree.root })).toEqual({ unavailable: expect.stringContaining('permission') });
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

describe('the choice of a meter', () => {
  const host = new Host();
  const said: string[] = [];
  const log = {
    info: (_: object, message: string) => said.push(message),
    warn: (_: object, message: string) => said.push(message),
  };
  const config = { idleW: null, maxW: null };

  it('measures where it can', () => {
    const { root } = powercap(twoPackages);
    const { meter, reason } = chooseMeter({ ...config, meter: 'auto' }, { host, log, powercapRoot: root });
    expect(meter.name).toBe('rapl');
    expect(reason).toBeNull();
  });

  it('says aloud that it estimates, and why', () => {
    const chosen = chooseMeter({ ...config, meter: 'auto' }, { host, log, powercapRoot: '/nowhere' });
    expect(chosen.meter.quality).toBe('estimated');
    expect(said.at(-1)).toMatch(/estimated.*not measured because no RAPL/);
  });

  it('refuses to estimate where a sensor is demanded', () => {
    expect(() => chooseMeter({ ...config, meter: 'rapl' }, { host, log, powercapRoot: '/nowhere' })).toThrow(
      /RAPL/,
    );
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
