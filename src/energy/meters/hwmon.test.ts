import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openHwmon } from './hwmon.ts';
import { fakeFolder } from './testing/folder.ts';
import { soon } from './testing/web.ts';

function open(files: Record<string, string | number>, options = {}) {
  const folder = fakeFolder(files);
  const opened = openHwmon({ root: folder.root, ...options });
  if (!('source' in opened)) throw new Error(opened.unavailable);
  return { ...folder, source: opened.source };
}

describe('sensors of the board', () => {
  it('reads an ACPI power meter: µW of the whole machine, its average rather than a moment', async () => {
    const { source } = open({
      'hwmon0/name': 'power_meter',
      'hwmon0/power1_average': 123_000_000,
      'hwmon0/power1_input': 150_000_000,
    });
    expect(source.covers).toBe('machine');
    expect(await source.ask(soon())).toEqual({ powerW: 123 });
  });

  it('sums the inputs of power supplies, and not their outputs', async () => {
    const files = (hwmon: string, inW: number) => ({
      [`${hwmon}/name`]: 'pmbus',
      [`${hwmon}/power1_label`]: 'pin',
      [`${hwmon}/power1_input`]: inW * 1e6,
      [`${hwmon}/power2_label`]: 'pout1',
      [`${hwmon}/power2_input`]: inW * 0.9e6,
    });
    const { source } = open({ ...files('hwmon1', 210), ...files('hwmon2', 190) });
    expect(await source.ask(soon())).toEqual({ powerW: 400 });
  });

  it("counts AMD's sockets in µJ, and not their cores", async () => {
    const { source, set } = open({
      'hwmon3/name': 'amd_energy',
      'hwmon3/energy1_label': 'Ecore000',
      'hwmon3/energy1_input': 999_000_000,
      'hwmon3/energy2_label': 'Esocket0',
      'hwmon3/energy2_input': 5_000_000,
      'hwmon3/energy3_label': 'Esocket1',
      'hwmon3/energy3_input': 7_000_000,
    });
    expect(source.covers).toBe('cpu');
    expect(source.told).toContain('not included');
    expect(await source.ask(soon())).toEqual({ counterJ: 12 });
    set('hwmon3/energy2_input', 6_500_000);
    expect(await source.ask(soon())).toEqual({ counterJ: 13.5 });
  });

  it("takes the rail at a Jetson's entrance, never with the rails behind it", async () => {
    const { source } = open({
      'hwmon1/name': 'ina3221',
      'hwmon1/power1_label': 'VDD_IN',
      'hwmon1/power1_input': 9_000_000,
      'hwmon1/power2_label': 'VDD_CPU_GPU_CV',
      'hwmon1/power2_input': 4_000_000,
    });
    expect(await source.ask(soon())).toEqual({ powerW: 9 });
  });

  it('prefers the machine to the CPU, and leaves accelerators to their own meter', async () => {
    const files = {
      'hwmon0/name': 'amdgpu',
      'hwmon0/power1_label': 'PPT',
      'hwmon0/power1_average': 40_000_000,
      'hwmon1/name': 'fam15h_power',
      'hwmon1/power1_input': 30_000_000,
      'hwmon2/name': 'power_meter',
      'hwmon2/power1_average': 120_000_000,
    };
    expect(await open(files).source.ask(soon())).toEqual({ powerW: 120 });
    expect(await open(files, { chip: 'fam15h_power' }).source.ask(soon())).toEqual({ powerW: 30 });
    const accelerators = open(files, { accelerators: true }).source;
    expect(accelerators.covers).toBe('accelerators');
    expect(await accelerators.ask(soon())).toEqual({ powerW: 40 });
  });

  it('says what is there when it is only parts of an unknown whole, and when there is nothing', () => {
    const parts = fakeFolder({
      'hwmon0/name': 'ltc2978',
      'hwmon0/power1_label': 'pout1',
      'hwmon0/power1_input': 5e6,
    });
    expect(openHwmon({ root: parts.root })).toEqual({
      unavailable: expect.stringContaining('ltc2978 pout1'),
    });
    expect(openHwmon({ root: '/nowhere' })).toEqual({
      unavailable: expect.stringContaining('no power sensor'),
    });
  });

  it('fails, and never tells 0, when a sensor is unplugged or tells garbage', async () => {
    const { source, root, set } = open({ 'hwmon0/name': 'power_meter', 'hwmon0/power1_average': 5e7 });
    set('hwmon0/power1_average', 'n/a');
    await expect(source.ask(soon())).rejects.toThrow('not a number');
    rmSync(join(root, 'hwmon0/power1_average'));
    await expect(source.ask(soon())).rejects.toThrow('ENOENT');
    const garbage = fakeFolder({ 'hwmon0/name': 'power_meter', 'hwmon0/power1_average': 'n/a' });
    expect(openHwmon({ root: garbage.root })).toEqual({
      unavailable: expect.stringContaining('not a number'),
    });
  });
});
