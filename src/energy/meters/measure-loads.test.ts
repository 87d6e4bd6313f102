import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { cpuSeconds, joules } from '../units.ts';
import { fitCurve, leaveOneOutError, relativeError } from './calibration.ts';
import { wattsAt } from './curves.ts';
import { measureLoads, quietness } from './measure-loads.ts';
import type { Meter } from './meter.ts';

/** A host with a bent curve, whose time passes at once. Other programs take `others` of its CPUs. */
function host(wattsOf: (u: number) => number, { others = 0, silentFrom = Infinity } = {}) {
  let now = 0;
  let busyS = 0;
  let energyJ = 0;
  let load = 0;
  let readings = 0;
  const sensor = (factor: number): Meter => {
    let last = 0;
    return {
      name: 'plug',
      quality: 'measured',
      methodVersion: '1',
      description: 'a plug of this test',
      covers: 'wall',
      interval: { low: 0.97, high: 1.03 },
      uncertainty: 0.03,
      read() {
        if (readings++ >= silentFrom) return { missing: 'unplugged' };
        const used = energyJ * factor - last;
        last = energyJ * factor;
        return used > 0 ? { energyJ: joules(used) } : { missing: 'the meter has just been started' };
      },
    };
  };
  return {
    meter: sensor(1),
    rapl: sensor(0.5),
    cpu: () => ({ busyS: cpuSeconds(busyS), count: 8 }),
    clock: () => now,
    pause: async (ms: number) => {
      const u = Math.min(1, load + others);
      now += ms / 1000;
      busyS += (8 * u * ms) / 1000;
      energyJ += (wattsOf(u) * ms) / 1000;
    },
    startLoad: (wanted: number) => {
      load = wanted;
      return async () => {
        load = 0;
      };
    },
  };
}

describe('measuring a host at several loads', () => {
  it('tells how busy the CPUs really were and what the meter told', async () => {
    const { rapl, ...own } = host((u) => 20 + 60 * Math.sqrt(u));
    const points = await measureLoads({ ...own, beside: rapl, seconds: 10 });
    expect(points.map(({ load }) => load)).toEqual([0, 0.25, 0.5, 0.75, 1]);
    for (const { load, utilisation, watts, seconds, besideW } of points) {
      expect(utilisation).toBeCloseTo(load, 9);
      expect(watts).toBeCloseTo(20 + 60 * Math.sqrt(load), 6);
      expect(seconds).toBeCloseTo(10, 9);
      expect(besideW).toBeCloseTo(watts / 2, 6);
    }
    const curve = fitCurve(points);
    const unseen = [0.1, 0.4, 0.6, 0.9].map((u) => ({ utilisation: u, watts: 20 + 60 * Math.sqrt(u) }));
    expect(relativeError(unseen, (u) => wattsAt(curve, u))).toBeLessThan(0.06);
    expect(relativeError(unseen, (u) => 20 + 60 * u)).toBeGreaterThan(0.15);
    expect(leaveOneOutError(points)).toBeLessThan(0.1);
  });

  it('counts what other programs use as load, too', async () => {
    const { rapl: _, ...own } = host((u) => 20 + 60 * u, { others: 0.1 });
    const points = await measureLoads({ ...own, seconds: 5 });
    expect(points[0]?.utilisation).toBeCloseTo(0.1, 9);
    expect(points[0]?.watts).toBeCloseTo(26, 6);
    expect(await quietness(own.cpu, { pause: own.pause, clock: own.clock })).toBeCloseTo(0.1, 9);
  });

  it('stops when the meter falls silent, and its load with it', async () => {
    const { rapl: _, ...own } = host((u) => 20 + 60 * u, { silentFrom: 6 });
    let ended = 0;
    const startLoad = (load: number) => {
      const end = own.startLoad(load);
      return async () => {
        ended++;
        await end();
      };
    };
    await expect(measureLoads({ ...own, startLoad, seconds: 10 })).rejects.toThrow('unplugged');
    expect(ended).toBe(1);
    const never = host((u) => 20 + 60 * u, { silentFrom: 0 });
    await expect(measureLoads({ ...never, seconds: 10 })).rejects.toMatchObject({ code: 'NOT_READY' });
  });

  it('keeps CPUs busy with threads of its own', async () => {
    const { rapl: _, startLoad: __, ...own } = host((u) => 20 + 60 * u);
    const before = process.cpuUsage();
    const real = { ...own, pause: (ms: number) => own.pause(ms).then(() => sleep(20)) };
    await measureLoads({ ...real, cpu: () => ({ ...own.cpu(), count: 1 }), seconds: 10 });
    const { user } = process.cpuUsage(before);
    // 2.5 loads of one CPU for 15 × 20 ms each, less the start of the threads.
    expect(user / 1000).toBeGreaterThan(150);
  });
});
