import { describe, expect, it } from 'vitest';
import type { Footprint } from './energy.ts';
import { impactJson, sumFootprints, unmetered } from './footprint.ts';
import { gramsCo2e, joules, litres } from './units.ts';

const one: Footprint = {
  energyJ: joules(7200),
  dynamicJ: joules(3600),
  idleShareJ: joules(3600),
  carbonGCo2e: gramsCo2e(1),
  embodiedGCo2e: gramsCo2e(0.5),
  waterL: litres(0.25),
  quality: 'measured',
  method: 'rapl',
  methodVersion: '1',
  settled: true,
  unknown: {},
};

describe('a footprint on the wire', () => {
  it('is in watt-hours: 7,200 J are 2 Wh', () => {
    expect(impactJson(one)).toMatchObject({ energyWh: 2, dynamicWh: 1, idleShareWh: 1, waterL: 0.25 });
  });

  it('shows what is unknown as null with its reason, never as 0', () => {
    const json = impactJson({ ...one, waterL: null, unknown: { waterL: 'no water intensity is known' } });
    expect(json.waterL).toBeNull();
    expect(json.unknown.waterL).toMatch(/water intensity/);
    const off = impactJson(unmetered);
    expect(off.energyWh).toBeNull();
    expect(off.carbonGCo2e).toBeNull();
    expect(off.unknown.energyWh).toBe('metering is off');
  });
});

describe('a sum of footprints', () => {
  it('adds every figure', () => {
    expect(sumFootprints([one, one])).toMatchObject({
      energyJ: 14400,
      carbonGCo2e: 2,
      waterL: 0.5,
      settled: true,
    });
  });

  it('is as good as its worst part, and unknown where one part is unknown', () => {
    const other: Footprint = {
      ...one,
      quality: 'estimated',
      method: 'cpu-time',
      settled: false,
      waterL: null,
      unknown: { waterL: 'why' },
    };
    expect(sumFootprints([one, other])).toMatchObject({
      quality: 'estimated',
      method: 'rapl + cpu-time',
      settled: false,
      waterL: null,
      unknown: { waterL: 'why' },
    });
  });

  it('of nothing does not exist', () => {
    expect(() => sumFootprints([])).toThrow(RangeError);
  });
});
