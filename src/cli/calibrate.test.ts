import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { configSchema } from '../config.ts';
import { Host } from '../energy/host.ts';
import { fakeFolder } from '../energy/meters/testing/folder.ts';
import { run } from './cli.ts';
import { checkMeters } from './doctor-meter.ts';
import type { Terminal } from './terminal.ts';

async function call(args: string[], env: NodeJS.ProcessEnv = {}) {
  const data = mkdtempSync(join(tmpdir(), 'commonwatt-data-'));
  let out = '';
  let err = '';
  const terminal: Terminal = {
    env: { COMMONWATT_DATA: data, COMMONWATT_CONFIG: '', HOME: data, ...env },
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    outIsTty: false,
    errIsTty: false,
    inIsTty: false,
    readInput: async () => '',
    exitCode: 0,
  };
  return { code: await run(args, terminal), out, err, file: join(data, 'calibration.json') };
}

describe('commonwatt calibrate', () => {
  it('keeps what a person read from a plug, with the error of two points', async () => {
    const { code, out, file } = await call(['calibrate', '--watts', 'idle=12,max=55']);
    expect(code).toBe(0);
    expect(out).toContain('stated from now on: ±42 %');
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({
      sensor: 'typed watts',
      covers: 'wall',
      curve: [
        [0, 12],
        [1, 55],
      ],
    });
  });

  it('prints a curve for the configuration, and then keeps nothing', async () => {
    const { code, out, file } = await call(['calibrate', '--points', '0:12,0.5:31,1:47', '--print']);
    expect(code).toBe(0);
    expect(out).toContain('energy:\n  curve: [[0,12],[0.5,31],[1,47]]\n');
    expect(existsSync(file)).toBe(false);
    // At .5 the line from 12 to 47 W tells 29.5 W; 31 W were read.
    expect(out).toContain('error after, each load told from the others: 5 %');
  });

  it.each([
    ['--watts', 'idle=12'],
    ['--watts', 'idle=much,max=55'],
    ['--points', '0:12,0:13'],
    ['--points', '0:12,50:31'],
    ['--points', '0:0,1:31'],
    ['--meter', 'crystal-ball'],
  ])('refuses %s %s', async (option, value) => {
    const { code, err, file } = await call(['calibrate', option, value]);
    expect(code).toBe(2);
    expect(err.length).toBeGreaterThan(20);
    expect(existsSync(file)).toBe(false);
  });

  it('says what to do where a demanded sensor cannot be read', async () => {
    const { code, err } = await call(['calibrate', '--meter', 'plug'], {
      COMMONWATT_METER: 'plug',
      COMMONWATT_METER_URL: 'http://127.0.0.1:1',
    });
    expect(code).toBe(1);
    expect(err).toContain('ECONNREFUSED');
  });
});

describe('commonwatt doctor on the meter', () => {
  const places = (root: string) => ({
    powercap: join(root, 'powercap'),
    hwmon: join(root, 'hwmon'),
    ipmi: [],
    nvidia: [],
  });
  const look = (energy: object, files: Record<string, string | number>, cpuinfo = '') => {
    const proc = fakeFolder({
      stat: 'cpu  0 0 0 99 0 0 0 0 0 0\ncpu0 0',
      meminfo: 'MemTotal: 8000000 kB',
      cpuinfo,
    });
    return checkMeters(
      { energy: configSchema.parse({ energy }).energy, data: '/nowhere' },
      { host: new Host({ procRoot: proc.root }), places: places(fakeFolder(files).root) },
    );
  };
  const rapl = { 'powercap/intel-rapl:0/name': 'package-0', 'powercap/intel-rapl:0/energy_uj': 1 };
  const board = { 'hwmon/hwmon0/name': 'power_meter', 'hwmon/hwmon0/power1_average': 80_000_000 };

  it('says what is used, what else there is, and what would be better', async () => {
    const [used, ...more] = await look({}, { ...rapl, ...board });
    expect(used).toMatchObject({
      check: 'meter',
      state: 'ok',
      message: expect.stringContaining("the board's input"),
    });
    expect(more).toContainEqual(
      expect.objectContaining({
        check: 'meter rapl',
        message: expect.stringContaining('not used, and there'),
      }),
    );
    const [cpuOnly] = await look({ meter: 'rapl' }, rapl);
    expect(cpuOnly?.hint).toContain('calibrate --meter plug');
  });

  it('tells a virtual machine whom to ask, and any host what is missing with commands', async () => {
    const [estimated, ...absent] = await look({}, {}, 'flags\t\t: fpu hypervisor sse');
    expect(estimated).toMatchObject({ state: 'note', hint: expect.stringContaining('virtual machine') });
    expect(absent.find(({ check }) => check === 'meter ipmi')?.hint).toContain('modprobe');
    const [bare] = await look({}, {}, 'flags\t\t: fpu sse');
    expect(bare?.hint).toContain('commonwatt calibrate');
  });

  it('calls a demanded sensor that cannot be read a problem', async () => {
    expect(await look({ meter: 'hwmon' }, {})).toEqual([
      expect.objectContaining({ state: 'problem', message: expect.stringContaining('hwmon') }),
    ]);
  });

  it('does not show passwords in the configuration', async () => {
    const { out } = await call(['doctor', '--json'], {
      COMMONWATT_METER: 'plug',
      COMMONWATT_METER_URL: 'http://user:hush1@127.0.0.1:1/',
      COMMONWATT_METER_PASSWORD: 'hush2',
    });
    expect(JSON.parse(out).config.energy.plug.url).toContain('127.0.0.1:1');
    expect(out).not.toMatch(/hush/);
  });
});
