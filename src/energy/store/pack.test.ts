import fc from 'fast-check';
import { expect, it } from 'vitest';
import { pack, unpack } from './pack.ts';
import type { Interval, Line } from './tally.ts';

const interval = (id: string): Interval => ({
  id,
  start_ms: 1000,
  end_ms: 2000,
  energy_j: 12.5,
  carbon_g: 1 / 3,
  embodied_g: 1e-7,
  water_l: null,
  quality: 'estimated',
  method: 'cpu-time',
  method_version: '1.1',
  basis: '{"pue":1.2}',
  cpu_s_supplied: 4,
  cpu_s_used: 1,
  cpu_s_other: 0.1,
  memory_gbs_supplied: 8,
  memory_gbs_reserved: 1,
  memory_gbs_used: 1,
  node: 'here',
  zone: 'FRA',
  intensity_g_per_kwh: 44.18,
  signal: 'average',
  scope: 'life-cycle',
  accelerator_j: null,
  accelerator_s_supplied: null,
  accelerator_s_reserved: null,
  accelerator_s_used: null,
});

const figure = fc.double({ noNaN: true });
const unknown = fc.option(figure, { nil: null });
const line = fc.record({
  id: fc.string({ unit: 'binary', maxLength: 300 }),
  head: fc.integer({ min: 1, max: 2 ** 40 }),
  at_ms: fc.integer({ min: 0, max: 4e12 }),
  rows: fc.integer({ min: 0, max: 2 ** 40 }),
  cpu_s: figure,
  energy_j: figure,
  idle_share_j: figure,
  carbon_g: figure,
  embodied_g: figure,
  water_l: unknown,
  avoided_j: figure,
  avoided_g: figure,
  allocated_j: unknown,
  allocated_g: unknown,
  allocated_embodied_g: unknown,
});

it('gives back every bit of every line, whatever is in it', () => {
  const parts = fc.array(fc.array(line, { maxLength: 5 }), { maxLength: 4 });
  fc.assert(
    fc.property(parts, (intervals) => {
      const rows = intervals.map((_, index) => interval(`i${index}`));
      const lines = intervals.flatMap((own, index): Line[] =>
        own.map((one) => ({ ...one, interval_id: `i${index}` })),
      );
      const again = unpack(pack({ intervals: rows, lines }));
      expect(again.intervals).toEqual(rows);
      expect(again.lines.length).toBe(lines.length);
      for (const [index, one] of again.lines.entries()) expect(one).toEqual(lines[index]);
    }),
  );
});

it('needs less than 40 bytes for a request that was computed alone', () => {
  const lines = Array.from({ length: 5000 }, (_, index): Line => {
    const cpuS = 1e-4 * (1 + Math.sin(index * 12.9898) ** 2);
    const idleJ = cpuS * 0.31;
    const energyJ = cpuS * 7.3 + idleJ;
    return {
      id: `0m3h8x2k1a1b2c3-${index.toString(36).padStart(7, '0')}`,
      interval_id: 'i0',
      head: 1 + (index % 50),
      at_ms: 1_700_000_000_000 + index * 7,
      rows: 1,
      cpu_s: cpuS,
      energy_j: energyJ,
      idle_share_j: idleJ,
      carbon_g: energyJ * 1.3e-4,
      embodied_g: cpuS * 2.1e-4,
      water_l: energyJ * 1.1e-6,
      avoided_j: 0,
      avoided_g: 0,
      allocated_j: energyJ * 1.4,
      allocated_g: energyJ * 1.4 * 1.3e-4,
      allocated_embodied_g: cpuS * 5e-4,
    };
  });
  expect(pack({ intervals: [interval('i0')], lines }).length / lines.length).toBeLessThan(40);
});
