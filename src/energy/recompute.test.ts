/** Every figure of a report can be computed again from what the ledger gives out: its lines, and its intervals. */
import { expect, it } from 'vitest';
import { configSchema } from '../config.ts';
import { readBasis } from './basis.ts';
import type { LedgerLine } from './ledger-lines.ts';
import { LedgerReader } from './ledger-reader.ts';
import { impactReport } from './reports.ts';
import { hourMs } from './store/tally.ts';
import { makeBooks } from './store/testing/books.ts';
import { tidyStep } from './store/tidy.ts';

const start = Date.UTC(2026, 9, 24, 20);
/** Not at full hours, over the night in which clocks are put back in Europe. */
const window = { fromMs: start + 10 * 60_000, toMs: start + 50 * hourMs };

it('gives the same report from exported lines and intervals, to 1e-9, packed or not', async () => {
  const books = await makeBooks();
  for (let number = 0; number < 55; number++)
    await books.add(
      start + number * 0.93 * hourMs,
      40,
      number % 3 === 0 ? [`e-${Math.floor(number / 6)}`] : [],
    );
  while (await tidyStep(books.db, start + 8 * 24 * hourMs, { detailDays: 7, keepDays: null }));
  const left = await books.db.selectFrom('ledger_lines').select('id').execute();
  expect(left.length).toBeGreaterThan(0);
  expect(left.length).toBeLessThan(books.booked.length);

  const reader = new LedgerReader(books.db, async () => {});
  let text = '';
  for await (const piece of await reader.export({ ...window, scope: 'all' }, 'jsonl'))
    text += Buffer.from(piece).toString();
  const lines = text
    .trimEnd()
    .split('\n')
    .map((line): LedgerLine => JSON.parse(line));
  const intervals = [];
  for (let fromMs: number | null = window.fromMs; fromMs !== null; ) {
    const page = await reader.intervals({ ...window, fromMs }, 7);
    intervals.push(...page.intervals);
    fromMs = page.nextMs;
  }
  expect(new Set(intervals.map(({ id }) => id)).size).toBe(intervals.length);
  expect(new Set(lines.map(({ interval }) => interval))).toEqual(new Set(intervals.map(({ id }) => id)));

  const { energy } = configSchema.parse({ energy: { zone: 'FRA', pue: 1, idleW: 10, maxW: 50 } });
  const host = {
    basis: await readBasis(energy, { cpuCount: 4, memoryBytes: 8e9 }),
    idleW: 10,
    maxW: 50,
    cpuCount: 4,
    memoryBytes: 8e9,
    uncertainty: 0.3,
    quality: 'estimated' as const,
    method: 'cpu-time',
    methodVersion: '1',
    memoryOfModels: {},
  };
  const report = await impactReport(books.db, host, {
    from: new Date(window.fromMs),
    to: new Date(window.toMs),
    groupBy: ['tenant', 'model'],
    scope: 'all',
  });

  const total = <T>(of: readonly T[], pick: (one: T) => number | null) =>
    of.reduce((sum, one) => sum + (pick(one) ?? 0), 0);
  const near = (is: number | null | undefined, should: number) =>
    expect(Math.abs((is ?? Number.NaN) - should)).toBeLessThanOrEqual(1e-9 * Math.abs(should));
  const request = ({ id }: LedgerLine) => id.split('~')[0];
  const requests = (of: readonly LedgerLine[]) =>
    new Set(of.filter(({ kind }) => kind === 'inference' || kind === 'explanation').map(request)).size;
  const work = lines.filter(({ kind }) => kind !== 'idle');

  near(
    report.consumption.energyWh,
    total(lines, (line) => line.energyWh),
  );
  near(
    report.consumption.carbonGCo2e,
    total(lines, (line) => line.carbonGCo2e),
  );
  near(
    report.consumption.embodiedGCo2e,
    total(lines, (line) => line.embodiedGCo2e),
  );
  near(
    report.consumption.waterL,
    total(lines, (line) => line.waterL),
  );
  near(
    report.consumption.allocated?.energyWh,
    total(lines, (line) => line.allocatedWh),
  );
  near(
    report.consumption.waste?.energyWh,
    total(lines, (line) => line.allocatedWh) - total(work, (line) => line.energyWh),
  );
  expect(report.consumption.requests).toBe(requests(lines));
  near(report.split.meterWh, total(intervals, (one) => one.energy_j) / 3600);
  expect(report.split.residualRatio).toBeLessThan(1e-9);
  near(
    report.supply.cpuSeconds,
    total(intervals, (one) => one.cpu_s_supplied),
  );
  near(
    report.rur.cpu.usedOverSupplied,
    total(intervals, (one) => one.cpu_s_used) / total(intervals, (one) => one.cpu_s_supplied),
  );
  near(report.intensityGPerKwh.value, 44);
  for (const group of report.groups) {
    const own = lines.filter(
      (line) =>
        (line.consumer ?? `${line.kind}: ${line.note}`) === group.by.tenant &&
        (line.model ?? `${line.kind}: ${line.note}`) === group.by.model,
    );
    near(
      group.energyWh,
      total(own, (line) => line.energyWh),
    );
    near(
      group.carbonGCo2e,
      total(own, (line) => line.carbonGCo2e),
    );
    expect(group.requests).toBe(requests(own));
    expect(group.rows).toBe(total(own, (line) => line.rows));
  }
});
