import { describe, expect, it } from 'vitest';
import {
  type BaselineId,
  baselines,
  gramsOf,
  type SharingFacts,
  saving,
  savingBand,
} from './counterfactual.ts';

/** docs/accounting.md: ten tenants at u = .05 on the 8 × H100 server; shared at u = .5 plus a warm spare. */
const carbon = { pue: 1.2, intensity: 400 };
const server = {
  idleW: 1160,
  maxW: 6800,
  embodiedGPerH: 7_012_000 / (3 * 365 * 24),
  cpus: 96,
  memoryBytes: 2e12,
};
const facts: SharingFacts = {
  windowH: 24,
  server,
  tenants: Array.from({ length: 10 }, (_, index) => ({
    id: `t${index}`,
    busyH: 0.05 * 24,
    activeH: 24,
    memoryBytes: 16e9,
  })),
  shared: {
    idleWh: 2 * server.idleW * 24,
    dynamicWh: (server.maxW - server.idleW) * 0.5 * 24,
    embodiedG: 2 * server.embodiedGPerH * 24,
  },
};
const burdenOf = (id: BaselineId) => {
  const found = baselines(facts).find((baseline) => baseline.id === id);
  if (!found) throw new Error(`no baseline ${id}`);
  return found.burden;
};

describe('sharing against everyone running their own', () => {
  it('costs 3000.8 g/h shared, the warm spare included', () => {
    expect(gramsOf(facts.shared, carbon) / 24).toBeCloseTo(3000.8, 1);
  });

  it('costs 9589.8 g/h always on (B0): sharing saves 68.7 %', () => {
    expect(gramsOf(burdenOf('B0'), carbon) / 24).toBeCloseTo(9589.8, 1);
    expect(saving(burdenOf('B0'), facts.shared, carbon).percent).toBeCloseTo(68.7, 1);
  });

  it('would claim 77.3 % if the spare were hidden', () => {
    const hidden = {
      idleWh: facts.shared.idleWh / 2,
      dynamicWh: facts.shared.dynamicWh,
      embodiedG: facts.shared.embodiedG / 2,
    };
    expect(saving(burdenOf('B0'), hidden, carbon).percent).toBeCloseTo(77.3, 1);
  });

  it('costs 5877.8 g/h switched off out of hours (B1): 48.9 %', () => {
    expect(gramsOf(burdenOf('B1'), carbon) / 24).toBeCloseTo(5877.8, 1);
    expect(saving(burdenOf('B1'), facts.shared, carbon).percent).toBeCloseTo(48.9, 1);
  });

  it('gets stricter from B0 to B5, which saves nothing', () => {
    const grams = baselines(facts).map(({ burden }) => gramsOf(burden, carbon));
    expect(grams[1]).toBeLessThan(grams[0] ?? 0);
    expect(grams[3]).toBeLessThan(grams[2] ?? 0);
    expect(saving(burdenOf('B4'), facts.shared, carbon).savingG).toBe(0);
    expect(saving(burdenOf('B5'), facts.shared, carbon).savingG).toBeLessThan(0);
  });

  it('shows a negative saving: one tenant alone on a server could have rented a slice', () => {
    const alone = { ...facts, tenants: facts.tenants.slice(0, 1) };
    const slice = baselines(alone).find(({ id }) => id === 'B3');
    expect(slice && saving(slice.burden, facts.shared, carbon).savingG).toBeLessThan(0);
  });
});

describe('the band of a saving', () => {
  const uncertainty = {
    idlePower: 0.6,
    dynamicPower: 0.6,
    intensity: 0.1,
    embodied: 0.5,
    pue: { low: 1, high: 1.6 },
  };

  it('holds the saving, and is the same for the same seed', () => {
    const band = savingBand(burdenOf('B0'), facts.shared, carbon, uncertainty, { seed: 7 });
    const { percent } = saving(burdenOf('B0'), facts.shared, carbon);
    expect(percent).toBeGreaterThan(band.lowPercent ?? 100);
    expect(percent).toBeLessThan(band.highPercent ?? 0);
    expect(band.distinguishable).toBe(true);
    expect(savingBand(burdenOf('B0'), facts.shared, carbon, uncertainty, { seed: 7 })).toEqual(band);
  });

  it('against nobody is unknown, not 0, and what is used then is surely additional', () => {
    expect(savingBand(burdenOf('B5'), facts.shared, carbon, uncertainty)).toEqual({
      lowPercent: null,
      highPercent: null,
      distinguishable: true,
    });
    const nothing = burdenOf('B5');
    expect(savingBand(nothing, nothing, carbon, uncertainty).distinguishable).toBe(false);
  });

  it('of two equal sides is 0 whatever is drawn, and not distinguishable', () => {
    expect(savingBand(facts.shared, facts.shared, carbon, uncertainty)).toEqual({
      lowPercent: 0,
      highPercent: 0,
      distinguishable: false,
    });
  });
});
