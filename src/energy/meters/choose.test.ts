import { chmodSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { configSchema } from '../../config.ts';
import { Host } from '../host.ts';
import { saveCalibration } from './calibration.ts';
import { chooseMeter, type Metering } from './choose.ts';
import { fakeFolder } from './testing/folder.ts';
import { webSensor } from './testing/web.ts';

const close: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const step of close.splice(0).reverse()) await step();
});

/** A host of this test's own: what it has, and a clock that is moved by hand. */
function home(files: Record<string, string | number> = {}) {
  const proc = fakeFolder({
    stat: 'cpu  0 0 0 99 0 0 0 0 0 0\ncpu0 0\ncpu1 0',
    meminfo: 'MemTotal:  8000000 kB',
    cpuinfo:
      'vendor_id\t: AuthenticAMD\ncpu family\t: 23\nmodel\t\t: 49\nmodel name\t: AMD EPYC\nstepping\t: 0',
  });
  const sys = fakeFolder(files);
  const nvidia = join(sys.root, 'nvidia');
  let now = 0;
  const said: string[] = [];
  const missed: string[] = [];
  const log = {
    info: (_: object, text: string) => said.push(text),
    warn: (_: object, text: string) => said.push(text),
  };
  const choose = async (
    energy: object,
    options: { dataFolder?: string; smi?: string } = {},
  ): Promise<Metering> => {
    const chosen = await chooseMeter(configSchema.parse({ energy }).energy, {
      host: new Host({ procRoot: proc.root }),
      log,
      clock: () => now,
      missed: (meter, reason) => missed.push(`${meter}: ${reason}`),
      ...(options.dataFolder === undefined ? {} : { dataFolder: options.dataFolder }),
      places: {
        powercap: join(sys.root, 'powercap'),
        hwmon: join(sys.root, 'hwmon'),
        ipmi: [join(sys.root, 'ipmi0')],
        nvidia: [options.smi === undefined ? '/nowhere' : sys.root],
        ...(options.smi === undefined ? {} : { smi: [options.smi] }),
      },
    });
    close.push(() => chosen.stop());
    return chosen;
  };
  return {
    choose,
    said,
    missed,
    nvidia,
    set: sys.set,
    /** Time passes; CPUs work, in hundredths of a second. */
    pass(seconds: number, ticks = 0) {
      now += seconds;
      proc.set('stat', `cpu  ${ticks} 0 0 99 0 0 0 0 0 0\ncpu0 0\ncpu1 0`);
    },
  };
}

const rapl = {
  'powercap/intel-rapl:0/name': 'package-0',
  'powercap/intel-rapl:0/energy_uj': 1_000_000,
  'powercap/intel-rapl:0/max_energy_range_uj': 262_143_328_850,
};
const board = { 'hwmon/hwmon0/name': 'power_meter', 'hwmon/hwmon0/power1_average': 80_000_000 };
const plugAnswer = { StatusSNS: { ENERGY: { Total: 1.5, Power: 90 } } };

describe('the choice of a meter', () => {
  it('prefers what covers more: a plug that is configured, then the board, then the CPU', async () => {
    const plug = await webSensor({ '/cm?cmnd=Status%208': plugAnswer });
    close.push(plug.close);
    const { choose, said } = home({ ...rapl, ...board });
    expect((await choose({ plug: { url: plug.url } })).meter).toMatchObject({
      name: 'tasmota',
      covers: 'wall',
    });
    expect((await choose({})).meter).toMatchObject({ name: 'hwmon', covers: 'machine' });
    expect((await choose({ meter: 'rapl' })).meter).toMatchObject({ name: 'rapl', covers: 'cpu' });
    expect((await home(rapl).choose({})).meter.name).toBe('rapl');
    expect(said.at(-1)).toContain('energy is measured by RAPL counters');
  });

  it('says aloud which it is, why none of the others, and that doctor knows more', async () => {
    const { choose, said } = home();
    const { meter, lines, reason } = await choose({ plug: { url: 'http://127.0.0.1:1' } });
    expect(meter).toMatchObject({ name: 'cpu-time', quality: 'estimated' });
    for (const text of [
      'ECONNREFUSED',
      'no management controller',
      'no power sensor',
      'no RAPL energy counters',
    ])
      expect(reason).toContain(text);
    expect(said).toEqual([
      expect.stringMatching(/^energy is estimated.*EPYC 2nd generation.*not measured because/),
    ]);
    expect(lines.join('\n')).toContain('commonwatt doctor');
  });

  it.each([
    ['rapl', {}, /RAPL meter cannot be used: no RAPL energy counters/],
    ['hwmon', {}, /hwmon meter cannot be used/],
    ['ipmi', {}, /no management controller/],
    ['plug', {}, /nothing says where it is/],
    ['plug', { plug: { url: 'http://127.0.0.1:1' } }, /ECONNREFUSED/],
    ['mqtt', { mqtt: { url: 'mqtt://127.0.0.1:1', topic: 't', powerPath: '', everyS: 1 } }, /ECONNREFUSED/],
    ['cpu-time', { curve: 'teads' }, /in parts of the processor's TDP/],
    ['cpu-time', { accelerators: 'nvidia-smi' }, /no NVIDIA driver/],
    ['cpu-time', { accelerators: 'dcgm', dcgm: { url: 'http://127.0.0.1:1' } }, /ECONNREFUSED/],
  ])('refuses to estimate where %s is demanded: %o', async (meter, settings, message) => {
    const failure = await home()
      .choose({ meter, ...settings })
      .catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'INVALID_CONFIG', message: expect.stringMatching(message) });
    expect(failure).toHaveProperty('hint');
  });

  it('lets the estimate stand in while a sensor is away, counts that, and takes it up again', async () => {
    const { choose, set, pass, missed, said } = home(rapl);
    const { meter, fallback } = await choose({ idleW: 10, maxW: 50 });
    meter.read();
    fallback.read();
    set('powercap/intel-rapl:0/energy_uj', 'garbage');
    pass(1, 100);
    expect(meter.read()).toHaveProperty('missing', expect.stringContaining('not a number'));
    expect(fallback.read()).toEqual({ energyJ: 30 });
    expect(missed).toEqual([expect.stringContaining('rapl: ')]);
    set('powercap/intel-rapl:0/energy_uj', 5_000_000);
    pass(1, 100);
    meter.read();
    set('powercap/intel-rapl:0/energy_uj', 17_000_000);
    pass(1, 100);
    expect(meter.read()).toEqual({ energyJ: 12 });
    expect(said.slice(1)).toEqual([
      'the meter gives no sample: an estimate stands in',
      'the meter gives samples again',
    ]);
  });

  it('stands in with what the sensor showed for the same CPU time, once it has seen enough of it', async () => {
    const { choose, set, pass } = home(rapl);
    const { meter, fallback } = await choose({ idleW: 10, maxW: 60 });
    let second = 0;
    const interval = (uj: number | string) => {
      second++;
      set('powercap/intel-rapl:0/energy_uj', uj);
      pass(1, second * 100);
      return [meter.read(), fallback.read()];
    };
    while (second < 12) interval(1e6 + second * 80e6);
    // The counters tell 80 W where the estimate is 35 W.
    expect(interval(1e6 + second * 80e6)).toEqual([{ energyJ: 80 }, { energyJ: 35 }]);
    const [gone, standIn] = interval('garbage');
    expect(gone).toHaveProperty('missing');
    expect(standIn).toEqual({ energyJ: expect.closeTo(80, 6) });
  });

  it('uses a calibration of this host, and says when it is of another one', async () => {
    const dataFolder = mkdtempSync(join(tmpdir(), 'data-'));
    const calibration = {
      version: 1 as const,
      at: '2026-01-02T00:00:00.000Z',
      processor: 'AMD EPYC',
      cpuCount: 2,
      sensor: 'shelly',
      covers: 'wall' as const,
      error: 0.09,
      curve: [
        [0, 20],
        [1, 60],
      ] as [number, number][],
    };
    await saveCalibration(dataFolder, calibration);
    const { choose } = home();
    const own = await choose({}, { dataFolder });
    expect(own.watts).toMatchObject({ idleW: 20, maxW: 60 });
    expect(own.meter.description).toContain('calibrated with shelly on 2026-01-02 (±9 %)');
    await saveCalibration(dataFolder, { ...calibration, processor: 'Intel 8088' });
    const other = await choose({}, { dataFolder });
    expect(other.watts.assumed).toBe(true);
    expect(other.lines.join('\n')).toContain('the calibration is of another host');
  });
});

describe('accelerators beside the host', () => {
  const card = (watts: number) => ({
    'hwmon/hwmon9/name': 'amdgpu',
    'hwmon/hwmon9/power1_label': 'PPT',
    'hwmon/hwmon9/power1_average': watts * 1e6,
  });

  it('are added to a meter of the CPU', async () => {
    const { choose, set, pass } = home({ ...rapl, ...card(200) });
    const { meter } = await choose({});
    expect(meter).toMatchObject({ name: 'rapl+hwmon', covers: 'cpu', quality: 'measured' });
    meter.read();
    set('powercap/intel-rapl:0/energy_uj', 61_000_000);
    pass(2);
    meter.read();
    set('powercap/intel-rapl:0/energy_uj', 121_000_000);
    pass(2);
    expect(meter.read()).toMatchObject({ energyJ: 60 + 400, acceleratorJ: 400 });
  });

  it('are a part of what a meter of the machine tells, never more than it', async () => {
    const { choose, pass } = home({ ...board, ...card(30) });
    const { meter } = await choose({});
    expect(meter.name).toBe('hwmon+hwmon');
    meter.read();
    pass(1);
    meter.read();
    pass(1);
    expect(meter.read()).toMatchObject({ energyJ: 80, acceleratorJ: 30 });
  });

  it('are in the estimate that stands in, too', async () => {
    const { choose, set, pass } = home({ ...rapl, ...card(200) });
    const { meter, fallback } = await choose({ idleW: 10, maxW: 50 });
    meter.read();
    fallback.read();
    pass(1, 100);
    meter.read();
    fallback.read();
    set('powercap/intel-rapl:0/energy_uj', 'garbage');
    pass(1, 200);
    expect(meter.read()).toHaveProperty('missing');
    expect(fallback.read()).toMatchObject({ energyJ: 30 + 200, acceleratorJ: 200 });
  });

  it('that fall silent are held at what they drew, and the reading says so', async () => {
    const { root } = fakeFolder({});
    const smi = join(root, 'nvidia-smi');
    const rows = 'GPU-a, Tesla T4, 25, 8, 8\\n';
    writeFileSync(smi, `#!/bin/sh\nprintf '${rows}${rows}${rows}'\nexec sleep 20\n`);
    chmodSync(smi, 0o755);
    const { choose, pass, missed } = home();
    const { meter } = await choose({ meter: 'cpu-time', idleW: 10, maxW: 50 }, { smi });
    expect(meter).toMatchObject({ name: 'cpu-time+nvidia-smi', quality: 'estimated' });
    meter.read();
    pass(1);
    meter.read();
    pass(1);
    expect(meter.read()).toMatchObject({
      energyJ: 18,
      acceleratorJ: 8,
      acceleratorIdleW: 8,
      acceleratorS: { supplied: 1, busy: 0.25 },
    });
    pass(60);
    const reading = meter.read();
    expect(reading).toMatchObject({ energyJ: 60 * 18, partly: expect.stringContaining('accelerators: ') });
    expect(missed.at(-1)).toContain('accelerators: ');
  });
});
