/** Against the real Impact Framework: `if-run` computes every window of the ledger again. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { sci } from '../calc/calc.ts';
import type { Scope } from '../report-queries.ts';
import { acme, type Month, makeMonth, window } from './testing/month.ts';

type Row = Record<string, number>;

const program = createRequire(import.meta.url).resolve('@grnsft/if/package.json');
const folder = mkdtempSync(join(tmpdir(), 'manifest-'));
let month: Month;
beforeAll(async () => {
  month = await makeMonth();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function ifRun(manifest: string, name: string) {
  const [input, output] = [join(folder, `${name}.yaml`), join(folder, `${name}-out`)];
  writeFileSync(input, manifest);
  const script = join(dirname(program), 'build/if-run/index.js');
  await promisify(execFile)(process.execPath, [script, '--manifest', input, '--output', output], {
    cwd: folder,
  });
  const { children } = parse(readFileSync(`${output}.yaml`, 'utf8')).tree;
  return { windows: children.windows.outputs as Row[], whole: children.whole.outputs[0] as Row };
}

const close = (actual: number | undefined, expected: number | undefined) =>
  expect(Math.abs((actual ?? Number.NaN) / (expected ?? Number.NaN) - 1)).toBeLessThan(1e-9);

describe('if-run', () => {
  it.each<[string, Scope, 'hour' | 'day', number]>([
    ['platform', 'all', 'hour', 48],
    ['acme', acme, 'day', 2],
  ])(
    'reproduces what was booked for %s',
    async (name, scope, step, parts) => {
      const { windows, whole } = await ifRun(await month.exports.manifest(window, step, scope, name), name);
      expect(windows).toHaveLength(parts);
      for (const row of [...windows, whole]) {
        close(row['carbon-operational'], row['ledger/carbon-operational']);
        close(row['carbon-embodied'], row['ledger/carbon-embodied']);
        close(row.carbon, (row['ledger/carbon-operational'] ?? 0) + (row['ledger/carbon-embodied'] ?? 0));
      }
      const sum = (pick: string) => windows.reduce((all, row) => all + (row[pick] ?? 0), 0);
      for (const pick of ['carbon', 'energy', 'requests']) close(sum(pick), whole[pick]);
      const score = await month.exports.sci(window, scope, 'request');
      close(whole.sci, score.sciG ?? undefined);
      close(whole.carbon, score.operationalG + score.embodiedG);
    },
    60_000,
  );
});

describe('a manifest', () => {
  it('has the sums of the lines themselves, hour by hour, with the intensity and PUE of that hour', async () => {
    const text = await month.exports.manifest(window, 'hour', 'all', 'platform');
    const inputs: Row[] = parse(text).tree.children.windows.inputs;
    for (const input of inputs) {
      const start = Date.parse(String(input.timestamp));
      const own = month.booked.filter(({ row }) => row.start_ms >= start && row.start_ms < start + 3_600_000);
      const kept = own.flatMap(({ entries }) => entries.filter(({ kind }) => kind !== 'training'));
      const total = kept.reduce((sum, { ids, allocated }) => sum + ids.length * allocated.energyJ, 0);
      close(input['energy-of-servers'], total / 3_600_000);
      close(input['grid/carbon-intensity'], own[0]?.row.intensity_g_per_kwh ?? undefined);
      expect(input.pue).toBe(1.4);
      expect(input['time-reserved']).toBe(1200);
      expect(input['device/carbon-embodied']).toBe(month.basis.embodied.grams);
      expect(input['ledger/carbon-operational']).toBeGreaterThan(0);
    }
  });

  it('refuses a window with too many parts', async () => {
    const long = { fromMs: window.fromMs, toMs: window.fromMs + 1001 * 3_600_000 };
    await expect(month.exports.manifest(long, 'hour', 'all', 'platform')).rejects.toThrow(
      'more than 1000 parts',
    );
  });
});

describe('an SCI score', () => {
  it.each(['request', 'row', 'job'] as const)(
    'per %s is that of the calculator on its own inputs',
    async (unit) => {
      const score = await month.exports.sci(window, 'all', unit);
      const { energyKwh, gPerKwh, embodiedG, functionalUnits } = score;
      expect(sci({ energyKwh, gPerKwh: gPerKwh ?? 0, embodiedG, functionalUnits }).result.sciG).toBe(
        score.sciG,
      );
      const entries = month.booked.flatMap(({ entries }) => entries);
      const own = entries.filter(({ kind }) => (kind === 'training') === (unit === 'job'));
      const carbonG = own.reduce((sum, { ids, allocated }) => sum + ids.length * allocated.carbonG, 0);
      close(energyKwh * (gPerKwh ?? 0), carbonG);
      // 12 busy hours on each of two days, twice in an hour: 11 requests of 3 rows.
      expect(functionalUnits).toBe({ request: 528, row: 1584, job: 1 }[unit]);
      expect(score).toMatchObject({ basis: 'allocation', methodVersion: '2', formulaVersion: sci.version });
    },
  );

  it('is null, with its reason, where there was nothing', async () => {
    const before = { fromMs: 0, toMs: 1000 };
    const score = await month.exports.sci(before, 'all', 'request');
    expect(score).toMatchObject({ sciG: null, gPerKwh: null, functionalUnits: 0 });
    expect(score.unknown).toMatchObject({ sciG: 'there was no request in this window' });
  });
});
