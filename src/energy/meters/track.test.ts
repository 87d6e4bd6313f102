import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EnergyTrack } from './track.ts';

const plenty = 20_000;

/** A host with a power over time, seen through a sensor; read once a second. */
function watch(
  sample: (second: number, usedJ: number, powerW: number) => { counterJ?: number; powerW?: number } | null,
  powerAt: (second: number) => number,
  seconds: number,
) {
  const track = new EnergyTrack(plenty);
  const readings: ({ energyJ: number } | { missing: string })[] = [];
  let usedJ = 0;
  for (let second = 0; second <= seconds; second++) {
    const told = sample(second, usedJ, powerAt(second));
    if (told) track.add({ at: second, ...told });
    readings.push(track.read(second));
    usedJ += powerAt(second);
  }
  return { readings, usedJ: usedJ - powerAt(seconds) };
}

const sumOf = (readings: readonly ({ energyJ: number } | { missing: string })[]) =>
  readings.reduce((sum, reading) => sum + ('energyJ' in reading ? reading.energyJ : 0), 0);

describe('energy of a source that is asked now and then', () => {
  it('integrates a power', () => {
    const { readings } = watch(
      (_, __, powerW) => ({ powerW }),
      () => 40,
      10,
    );
    expect(readings[0]).toEqual({ missing: expect.any(String) });
    expect(sumOf(readings)).toBeCloseTo(400, 9);
  });

  it('follows a fine counter to the joule', () => {
    const { readings, usedJ } = watch(
      (_, counterJ) => ({ counterJ }),
      (second) => 30 + second,
      60,
    );
    // The first step of a counter is of unknown size, and the rate is known after the second.
    expect(readings.slice(0, 3).every((reading) => 'missing' in reading)).toBe(true);
    expect(sumOf(readings)).toBeCloseTo(usedJ - 30 - 31, 6);
  });

  it('adds up to a counter of watt-hours that steps about once a minute, without a second of 0 J', () => {
    const coarse = (usedJ: number) => Math.floor(usedJ / 3600) * 3600;
    const { readings, usedJ } = watch(
      (_, used) => ({ counterJ: coarse(used) }),
      () => 50,
      3600,
    );
    const given = readings.filter((reading) => 'energyJ' in reading);
    expect(given.every((reading) => reading.energyJ > 10)).toBe(true);
    expect(sumOf(readings)).toBeGreaterThan(usedJ - 3 * 3600);
    expect(sumOf(readings)).toBeLessThanOrEqual(usedJ + 3600);
    const quarter = sumOf(readings.slice(1800, 2700));
    expect(quarter / 900).toBeCloseTo(50, 0);
  });

  it('takes the shape from the power and the amount from the counter', () => {
    // The plug shows 10 % too little; its counter is right, in steps of 3.6 kJ.
    const power = (second: number) => (second % 100 < 50 ? 40 : 160);
    const { readings } = watch(
      (_, used, powerW) => ({ counterJ: Math.floor(used / 3600) * 3600, powerW: powerW * 0.9 }),
      power,
      4000,
    );
    const late = readings.slice(2000, 4000);
    expect(sumOf(late) / 2000).toBeGreaterThan(98);
    expect(sumOf(late) / 2000).toBeLessThan(102);
    const slow = readings.filter((_, second) => second > 2000 && second % 100 > 5 && second % 100 < 45);
    expect(sumOf(slow) / slow.length).toBeLessThan(60);
  });

  it.each([
    ['0 W: a host that runs draws something', { powerW: 0 }],
    ['less than nothing', { powerW: -5 }],
    ['not a number', { powerW: Number.NaN }],
    ['more than any host', { powerW: 1e9 }],
    ['a counter below 0', { counterJ: -1 }],
  ])('refuses %s, and starts anew after that', (_, nonsense) => {
    const track = new EnergyTrack(plenty);
    track.add({ at: 0, powerW: 40 });
    track.read(0);
    expect(track.read(1)).toEqual({ energyJ: 40 });
    expect(track.add({ at: 1.5, ...nonsense })).toEqual(expect.any(String));
    expect(track.read(2)).toHaveProperty('missing');
    track.add({ at: 3, powerW: 40 });
    track.read(3);
    expect(track.read(4)).toEqual({ energyJ: 40 });
  });

  it('sees a counter that was reset, and one that jumped', () => {
    const track = new EnergyTrack(1000);
    for (let second = 0; second < 5; second++) {
      track.add({ at: second, counterJ: 5000 + 40 * second });
      track.read(second);
    }
    expect(track.add({ at: 5, counterJ: 3 })).toContain('reset');
    expect(track.read(5)).toHaveProperty('missing');
    for (let second = 6; second < 10; second++) {
      track.add({ at: second, counterJ: 3 + 40 * (second - 5) });
      track.read(second);
    }
    expect(track.add({ at: 10, counterJ: 1e9 })).toContain('more than this host can draw');
    expect(track.read(10)).toHaveProperty('missing');
  });

  it('does not take the change of a device for use', () => {
    const track = new EnergyTrack(plenty);
    for (let second = 0; second < 4; second++) {
      track.add({ at: second, counterJ: 1000 + 100 * second, devices: 'a,b' });
      track.read(second);
    }
    track.add({ at: 4, counterJ: 90_000, devices: 'a,b,c' });
    expect(track.read(4)).toHaveProperty('missing');
  });

  it('calls a counter broken that stands still for a quarter of an hour', () => {
    const { readings } = watch(
      (second) => ({ counterJ: Math.min(second, 10) * 50 }),
      () => 50,
      1000,
    );
    expect(readings.slice(0, 900).filter((reading) => 'missing' in reading)).toHaveLength(3);
    expect(readings[950]).toHaveProperty('missing', expect.stringContaining('not moved'));
  });

  it('adds up for any power, resolution and delay of the counter', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 5, max: 400 }), { minLength: 400, maxLength: 400 }),
        fc.constantFrom(0.001, 3.6, 60, 1000),
        fc.integer({ min: 1, max: 30 }),
        fc.boolean(),
        (powers, stepJ, everyS, withPower) => {
          let counterJ = 0;
          const { readings, usedJ } = watch(
            (second, used, powerW) => {
              if (second % everyS === 0) counterJ = Math.floor(used / stepJ) * stepJ;
              return { counterJ, ...(withPower ? { powerW } : {}) };
            },
            (second) => powers[second] ?? 100,
            399,
          );
          const lastMissing = readings.findLastIndex((reading) => 'missing' in reading);
          const since = powers.slice(lastMissing, 399).reduce((sum, power) => sum + power, 0);
          // What the counter has not told yet, at each end: its resolution, and what it is late by.
          const slack = 2 * (stepJ + 2 * everyS * 400);
          expect(lastMissing).toBeLessThan(399);
          expect(Math.abs(sumOf(readings) - since)).toBeLessThan(slack + usedJ * 1e-9);
          expect(readings.slice(lastMissing + 1).every((each) => 'energyJ' in each && each.energyJ > 0)).toBe(
            true,
          );
        },
      ),
      { numRuns: 60 },
    );
  });
});
