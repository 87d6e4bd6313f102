import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import type { Entry } from './attribution.ts';
import { LiveFigures } from './live.ts';
import { residualRatio } from './residual.ts';
import type { Settlement } from './unsettled.ts';

const totals = { energy_j: 30, carbon_g: 3, embodied_g: 0.6, water_l: 0.3 };
const entry = (part: number): Entry => ({
  ids: ['a', 'b'],
  kind: 'inference',
  note: null,
  head: null,
  owner: null,
  atMs: 0,
  rows: 1,
  attributionMethod: 'direct',
  outcome: 'finished',
  runnerPid: 7,
  cpuS: 1,
  energyJ: 15 * part,
  idleShareJ: 0,
  carbonG: 1.5 * part,
  embodiedG: 0.3 * part,
  waterL: 0.15 * part,
  allocated: { energyJ: 15 * part, carbonG: 1.5 * part, embodiedG: 0.3 * part },
});

describe('the residual of an interval', () => {
  it('is what its entries lack of the meter, relative: the worst of all figures, on both bases', () => {
    expect(residualRatio([entry(1)], totals)).toBeLessThan(1e-15);
    expect(residualRatio([entry(1 + 2e-9)], totals)).toBeCloseTo(2e-9, 15);
    const whole = entry(1);
    const lacking = (change: Partial<Entry>) => residualRatio([{ ...whole, ...change }], totals);
    expect(lacking({ carbonG: 0.75 })).toBeCloseTo(0.5, 12);
    expect(lacking({ waterL: null })).toBe(1);
    expect(lacking({ allocated: { ...whole.allocated, embodiedG: 0 } })).toBe(1);
    expect(lacking({ energyJ: Number.NaN })).toBe(1);
  });

  it('is 0 where nothing was metered and nothing booked, all where something was', () => {
    const nothing = { energy_j: 0, carbon_g: 0, embodied_g: 0, water_l: null };
    expect(residualRatio([], nothing)).toBe(0);
    expect(residualRatio([entry(1)], nothing)).toBe(1);
  });
});

describe('the alarm', () => {
  async function house() {
    const registry = new Registry();
    const said: object[] = [];
    let nowMs = 0;
    const log = { error: (fields: object) => said.push(fields) };
    const live = new LiveFigures(registry, { cpu: 1, memory: 1 }, { log, now: () => nowMs });
    const settled = (id: string, residual: number) =>
      live.settled({
        row: {
          id,
          energy_j: 30,
          carbon_g: 3,
          start_ms: 0,
          end_ms: 1000,
          quality: 'measured',
          method: 'rapl',
        },
        requests: 1,
        energyByKind: {},
        carbonG: 3,
        avoidedJ: 0,
        computedS: 0.1,
        residualRatio: residual,
      } as unknown as Settlement);
    const later = (ms: number) => {
      nowMs += ms;
    };
    return { registry, said, live, settled, later };
  }

  it('counts every interval that does not add up, says so once a minute with its id, and shows the last', async () => {
    const { registry, said, live, settled, later } = await house();
    settled('i1', 1e-16);
    expect(said).toEqual([]);
    expect(live.selfCheck).toEqual({ residualRatio: 1e-16, alarms: 0, lastAlarm: null });
    settled('i2', 3e-9);
    settled('i3', Number.NaN);
    later(61_000);
    settled('i4', 1);
    settled('i5', 0);
    expect(said).toEqual([
      { interval: 'i2', residualRatio: 3e-9, alarms: 1 },
      { interval: 'i4', residualRatio: 1, alarms: 3 },
    ]);
    expect(live.selfCheck).toEqual({
      residualRatio: 0,
      alarms: 3,
      lastAlarm: { interval: 'i4', residualRatio: 1 },
    });
    const text = await registry.metrics();
    expect(text).toContain('commonwatt_ledger_residual_alarms_total 3');
    expect(text).toContain('commonwatt_ledger_residual_ratio 0');
  });
});
