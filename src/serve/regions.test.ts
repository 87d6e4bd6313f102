import { describe, expect, it } from 'vitest';
import { configSchema } from '../config.ts';
import { openGridSignal } from '../energy/grid/open.ts';
import { Regions, regionsSettings } from './regions.ts';

const hour = 3_600_000;

/** Intensities hour by hour; beyond, nothing is known. */
const signals: Record<string, number[]> = { here: [300, 300, 100], there: [200, 400, 400] };

function regions(settings: object = {}): Regions {
  const list = Object.keys(signals).map((name, index) => ({
    name,
    url: `https://${name}.example`,
    zone: 'DEU',
    latencyMs: index * 80,
  }));
  return new Regions({
    settings: regionsSettings.parse({ list, ...settings }),
    open: async ({ name }) => ({
      async start() {},
      async stop() {},
      over: (startMs) => ({
        zone: 'DEU',
        value: signals[name]?.[Math.floor(startMs / hour)] ?? 0,
        source: 'test',
        kind: 'average',
        scope: 'life-cycle',
        estimated: false,
        stale: false,
        atMs: null,
        instead: null,
      }),
      forecast: (fromMs, toMs) =>
        (signals[name] ?? []).map((gPerKwh, index) => ({
          startMs: Math.max(fromMs, index * hour),
          endMs: Math.min(toMs, (index + 1) * hour),
          gPerKwh,
        })),
    }),
  });
}

describe('regions', () => {
  it('tell the cleanest that is near enough, now and by the forecast', async () => {
    const of = regions();
    await of.start();
    expect(of.now(0).choice).toMatchObject({ best: 'there', why: 'cleanest' });
    expect(of.now(0, { maxLatencyMs: 50 }).choice).toMatchObject({ best: 'here' });
    expect(of.forecast(0, 3 * hour)).toEqual([
      { startMs: 0, endMs: hour, best: 'there', gPerKwh: 200 },
      { startMs: hour, endMs: 2 * hour, best: 'here', gPerKwh: 300 },
      { startMs: 2 * hour, endMs: 3 * hour, best: 'here', gPerKwh: 100 },
    ]);
  });

  it('that are none are no choice', () => {
    const none = new Regions({
      settings: regionsSettings.parse({}),
      open: () => Promise.reject(new Error()),
    });
    expect(none.now(0)).toEqual({ regions: [], choice: null });
    expect(none.forecast(0, hour)).toEqual([]);
  });

  it('have the yearly averages of their zones where no source is named: France before Germany', async () => {
    const { energy, regions: settings } = configSchema.parse({
      regions: {
        list: [
          { name: 'fra', url: 'https://fra.example', zone: 'DEU', latencyMs: 5 },
          { name: 'par', url: 'https://par.example', zone: 'FRA', latencyMs: 25 },
        ],
      },
    });
    const log = { info() {}, warn() {} };
    const real = new Regions({
      settings,
      open: ({ zone, grid }) => openGridSignal({ ...energy, zone, grid }, { log, dataFolder: null }),
    });
    await real.start();
    expect(real.now(Date.now()).choice).toMatchObject({
      best: 'par',
      scores: [{ score: 342.06 }, { score: 44.18 }],
    });
    expect(real.forecast(0, hour)).toMatchObject([{ best: 'par', gPerKwh: 44.18 }]);
    await real.stop();
  });
});
