import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { assumedIdleW, dcgmSource, parseDcgm, parseSmiRow, smiSource } from './nvidia.ts';
import { parseText } from './prometheus.ts';
import { fakeFolder } from './testing/folder.ts';
import { soon, webSensor } from './testing/web.ts';

const series = (metric: string, labels: string, value: number) =>
  `${metric}{${labels},device="nvidia0",Hostname="n1",DCGM_FI_DRIVER_VERSION="535.129.03"} ${value}`;
const t4 = 'gpu="0",UUID="GPU-6d5c0ac5-74d7-3130-46f1-e93ed57f469a",modelName="Tesla T4"';
const a100 = 'gpu="1",UUID="GPU-1f027ee8-6e1e-2b8c-0108-3d370e5f0418",modelName="NVIDIA A100-SXM4-80GB"';

/** As dcgm-exporter writes it. */
const exporter = [
  '# HELP DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION Total energy consumption since boot (in mJ).',
  '# TYPE DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION counter',
  series('DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION', t4, 15_152_422_938),
  series('DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION', `${a100},GPU_I_PROFILE="2g.20gb",GPU_I_ID="3"`, 257_858_316),
  series('DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION', `${a100},GPU_I_PROFILE="2g.20gb",GPU_I_ID="5"`, 257_858_316),
  series('DCGM_FI_DEV_POWER_USAGE', t4, 68.244),
  series('DCGM_FI_DEV_POWER_USAGE', a100, 131.756),
  series('DCGM_FI_DEV_GPU_UTIL', t4, 90),
  series('DCGM_FI_DEV_GPU_UTIL', a100, 10),
].join('\n');

let close: (() => Promise<void>) | undefined;
afterEach(async () => {
  await close?.();
  close = undefined;
});

describe('the energy counters of NVIDIA accelerators', () => {
  it('are summed in mJ, each device once however many instances it has', () => {
    expect(parseDcgm(parseText(exporter))).toEqual({
      counterJ: (15_152_422_938 + 257_858_316) / 1000,
      powerW: 200,
      utilisation: 0.5,
      devices: 'GPU-1f027ee8-6e1e-2b8c-0108-3d370e5f0418,GPU-6d5c0ac5-74d7-3130-46f1-e93ed57f469a',
      idleW: 8 + 46,
    });
  });

  it('are read from the exporter; what it leaves out is told', async () => {
    const sensor = await webSensor({ '/metrics': exporter, '/empty': '# nothing\n' });
    close = sensor.close;
    const at = (path: string) => dcgmSource({ url: `${sensor.url}${path}`, everyS: 1 });
    expect(await at('/metrics').ask(soon())).toMatchObject({ powerW: 200 });
    await expect(at('/empty').ask(soon())).rejects.toThrow('add it to its counters file');
  });

  it('assume what each kind draws without work', () => {
    expect(assumedIdleW(['NVIDIA A100-SXM4-80GB', 'NVIDIA A100-SXM4-80GB'])).toBe(92);
  });
});

/** A program that stands for nvidia-smi. */
function smi(script: string) {
  const { root } = fakeFolder({});
  const file = join(root, 'nvidia-smi');
  writeFileSync(file, `#!/bin/sh\n${script}\n`);
  chmodSync(file, 0o755);
  const source = smiSource({ command: [file], everyS: 1 });
  close = async () => source.close?.();
  return source;
}

describe('nvidia-smi', () => {
  it('prefers the average over a second to a moment', () => {
    expect(parseSmiRow('GPU-6d5c, Tesla T4, 93, 70.10, 68.24')).toMatchObject({
      powerW: 68.24,
      utilisation: 0.93,
    });
    expect(parseSmiRow('GPU-6d5c, Tesla T4, 93, 70.10, [N/A]')).toMatchObject({ powerW: 70.1 });
    expect(parseSmiRow('GPU-6d5c, Tesla T4, [N/A], [N/A]')).toMatchObject({
      powerW: null,
      utilisation: null,
    });
    expect(parseSmiRow('NVIDIA-SMI has failed')).toBeNull();
  });

  it('is one process that goes on; its rounds are averaged, its devices summed', async () => {
    const source = smi(`
printf 'GPU-a, Tesla T4, 10, 30, 30\\nGPU-b, Tesla T4, 30, 50, 50\\n'
printf 'GPU-a, Tesla T4, 10, 40, 40\\nGPU-b, Tesla T4, 30, 60, 60\\n'
printf 'GPU-a, Tesla T4, 10, 1, 1\\n'
exec sleep 20`);
    const answer = await source.ask(soon());
    expect(answer).toMatchObject({ devices: 'GPU-a,GPU-b', idleW: 16, utilisation: 0.2 });
    // One round may come before the other was read.
    expect([80, 90]).toContain(answer.powerW);
    expect(source.interval.high).toBeGreaterThan(1.5);
  });

  it('is nearly as good as a counter where its averages leave no gap: from Hopper on', async () => {
    const row = (name: string, index: number) => `GPU-${index}, ${name}, 10, 690, 685.5\\n`;
    const of = async (...names: string[]) => {
      await close?.();
      const rows = names.map(row).join('');
      const source = smi(`printf '${rows}${rows}'; exec sleep 20`);
      await source.ask(soon());
      return [source.interval, source.told] as const;
    };
    const [hopper, told] = await of('NVIDIA H100 80GB HBM3');
    // Seen on such a card: at most 2 % beside the driver's own counter, of which NVIDIA says ±5 %.
    expect(hopper).toEqual({ low: 0.93, high: 1.07 });
    expect(told).toContain('means over whole seconds');
    expect((await of('NVIDIA A100-SXM4-80GB'))[0].high).toBe(1.65);
    expect((await of('NVIDIA H100 80GB HBM3', 'NVIDIA A100-SXM4-80GB'))[0].high).toBe(1.65);
  });

  it('asks an older driver for what it knows', async () => {
    const source = smi(`
case "$1" in *power.draw.average*) echo 'Field "power.draw.average" is not a valid field to query.'; exit 2;; esac
printf 'GPU-a, Tesla V100, 10, 30\\nGPU-a, Tesla V100, 10, 30\\n'
exec sleep 20`);
    expect(await source.ask(soon())).toMatchObject({ powerW: 30, idleW: 35 });
  });

  it('says what is wrong: no driver, no power, not installed', async () => {
    const failed = smi(
      'echo "NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver."; exit 9',
    );
    await expect(failed.ask(soon())).rejects.toThrow('could not communicate');
    await close?.();
    const silent = smi(
      "printf 'GPU-a, GeForce 210, 10, [N/A], [N/A]\\nGPU-a, GeForce 210, 10, [N/A], [N/A]\\n'; exec sleep 20",
    );
    await expect(silent.ask(soon())).rejects.toThrow('does not tell the power of GeForce 210');
    await close?.();
    const absent = smiSource({ command: ['/nowhere/nvidia-smi'], everyS: 1 });
    await expect(absent.ask(soon())).rejects.toThrow('not installed');
  });
});
