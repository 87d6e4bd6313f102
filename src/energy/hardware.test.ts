import { describe, expect, it } from 'vitest';
import { configSchema } from '../config.ts';
import { readBasis } from './basis.ts';
import { hardwareOf, hardwarePresets } from './hardware.ts';

const host = { cpuCount: 4, memoryBytes: 16e9 };
const embodied = async (energy: object) =>
  (await readBasis(configSchema.parse({ energy }).energy, host)).embodied;

describe('hardware', () => {
  it('is known by name, with its source: 7,012 kg for 8 GPUs (EcoLogits), 1,356 kg for an R740 (Dell)', () => {
    expect(hardwareOf('8-gpu-server')).toMatchObject({ embodiedKgCo2e: 7012, lifeYears: 3 });
    // Dell: 8,640 kg over four years, 84.3 % of it in use.
    expect(hardwareOf('dell-r740').embodiedKgCo2e).toBeCloseTo(1356.48, 2);
    for (const { source, embodiedKgCo2e } of Object.values(hardwarePresets)) {
      expect(source.length).toBeGreaterThan(10);
      expect(embodiedKgCo2e).toBeGreaterThan(100);
    }
  });

  it('is estimated from the parts of this host where nothing is said, and labelled so', async () => {
    expect(await embodied({})).toEqual({
      grams: 1_300_000,
      lifeYears: 4,
      assumed: true,
      source: expect.stringContaining('SciEmbodied'),
    });
  });

  it('may be described by its parts, or by a figure of one’s own', async () => {
    expect(await embodied({ hardware: { vcpus: 1, memoryGb: 16, gpus: 2, lifeYears: 6 } })).toMatchObject({
      grams: 1_300_000,
      lifeYears: 6,
      assumed: false,
    });
    expect(await embodied({ hardware: { embodiedKgCo2e: 900, source: 'our LCA' } })).toMatchObject({
      grams: 900_000,
      source: 'our LCA',
    });
  });

  it('is overruled by what is configured directly', async () => {
    const both = { hardware: '8-gpu-server', embodiedKgCo2e: 10, lifeYears: 1 };
    expect(await embodied(both)).toMatchObject({ grams: 10_000, lifeYears: 1, source: 'configured' });
  });

  it.each([
    ['toaster', /not a known machine \(rack-server, .*\), nor .*vcpus/],
    [{ vcpus: 0, memoryGb: 16 }, />=1/],
    [{ embodiedKgCo2e: -1 }, />0/],
    [{ vcpus: 1, memoryGb: 1, fans: 3 }, /fans/],
  ])('refuses %j and says why', (hardware, why) => {
    const { error } = configSchema.safeParse({ energy: { hardware } });
    expect(error?.issues[0]?.path.slice(0, 2)).toEqual(['energy', 'hardware']);
    expect(error?.issues[0]?.message).toMatch(why);
  });
});
