import { describe, expect, it } from 'vitest';
import { embodiedGrams, embodiedShare } from './embodied.ts';
import { carbonOf, gridIntensity, waterOf, waterRate } from './grid.ts';

describe('grid intensity', () => {
  it('is the yearly average that Ember publishes: DEU 342.06, FRA 44.18, USA 383.55, GBR 215.79, WORLD 472.94', async () => {
    const values = await Promise.all(['DEU', 'fra', 'USA', 'GBR', 'WORLD'].map(gridIntensity));
    expect(values.map(({ value }) => value)).toEqual([342.06, 44.18, 383.55, 215.79, 472.94]);
    expect(values[0]).toMatchObject({
      kind: 'average',
      estimated: true,
      source: expect.stringContaining('Ember'),
    });
  });

  it.each(['Germany', '', 'constructor', 'CAF'])(
    'refuses the zone %j, for which there is no figure',
    async (zone) => {
      await expect(gridIntensity(zone)).rejects.toMatchObject({
        code: 'INVALID_CONFIG',
        hint: expect.stringContaining('DEU'),
      });
    },
  );
});

describe('carbon and water of energy', () => {
  it('is 480 g for 1 kWh at PUE 1.2 and 400 g/kWh', () => {
    expect(carbonOf(3_600_000, 1.2, 400)).toBeCloseTo(480, 9);
  });

  it('counts the PUE once, on the grid’s part only: 1.8 + 1.2 · 3 = 5.4 L/kWh', () => {
    const rate = waterRate(1.2, { onSite: 1.8, offSite: 3 });
    expect(rate).toMatchObject({ litresPerKwh: expect.closeTo(5.4, 12), assumed: false, unknown: {} });
    expect(waterOf(1_800_000, rate)).toBeCloseTo(2.7, 12);
  });

  it('names the part that is not known and leaves it out', () => {
    const rate = waterRate(1, { onSite: null, offSite: 3 });
    expect(rate.litresPerKwh).toBe(3);
    expect(rate.unknown.waterPart).toMatch(/not included.*building/);
  });

  it('says when the figure of the grid is a world average nobody configured', () => {
    expect(waterRate(1, { onSite: null, offSite: null })).toMatchObject({
      litresPerKwh: 3.908,
      assumed: true,
    });
  });

  it('is unknown with a reason when neither part is known', () => {
    const rate = waterRate(1, { onSite: null, offSite: null }, null);
    expect(rate.litresPerKwh).toBeNull();
    expect(rate.unknown.waterL).toMatch(/neither/);
    expect(waterOf(1, rate)).toBeNull();
  });
});

describe('embodied carbon', () => {
  it('of the default server for an hour is 28.538812785388128 g (Impact Framework, SciEmbodied)', () => {
    expect(embodiedGrams({ vcpus: 1, memoryGb: 16 })).toBe(1_000_000);
    expect(embodiedShare(1_000_000, 4, 3600)).toBeCloseTo(28.538812785388128, 12);
  });

  it('grows with CPUs, memory, disks and GPUs', () => {
    expect(embodiedGrams({ vcpus: 3, memoryGb: 400, ssds: 2, hdds: 1, gpus: 1 })).toBe(
      1_000_000 + 200_000 + 533_000 + 100_000 + 100_000 + 150_000,
    );
  });
});
