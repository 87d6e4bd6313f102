/** What `import … from 'commonwatt/energy'` brings along. */
import { readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { carbon, counterfactual, formulas, sci } from './calc.ts';

const src = fileURLToPath(new URL('../..', import.meta.url));

/** Every file and package that a module loads, types left out. */
function loadedBy(file: string, seen = new Set<string>()): Set<string> {
  if (seen.has(file)) return seen;
  seen.add(file);
  const code = readFileSync(file, 'utf8');
  for (const [, what = '', from = ''] of code.matchAll(/^(?:import|export) (.*?)from '([^']+)';/gms)) {
    if (what.startsWith('type ')) continue;
    if (from.startsWith('.')) loadedBy(join(dirname(file), from), seen);
    else seen.add(from);
  }
  return seen;
}

describe('the export commonwatt/energy', () => {
  const loaded = [...loadedBy(join(src, 'energy/calc/calc.ts'))];

  it('loads formulas only: no server, no database, no network', () => {
    const files = loaded.filter((path) => path.startsWith(src)).map((path) => relative(src, path));
    const outside = files.filter((path) => !path.startsWith('energy/'));
    expect(outside.sort()).toEqual(['errors.ts', 'models/names.ts']);
    expect(loaded.filter((path) => !path.startsWith(src)).sort()).toEqual(['simple-statistics', 'zod']);
  });

  it('has functions with types: what goes in is checked, what comes out can be cited', () => {
    const { result, formula, source } = carbon({ energyKwh: 1, pue: 1.2, gPerKwh: 400 });
    expect(result.carbonG).toBeCloseTo(480, 9);
    expect([formula, source]).toEqual([carbon.formula, carbon.source]);
    expect(sci(sci.example).result.sciG).toBeGreaterThan(0);
    expect(counterfactual(counterfactual.example).result.headlineBaseline).toBe('B3');
    expect(formulas.map(({ id }) => id)).toContain(carbon.id);
  });
});

describe('docs/calculator.md', () => {
  it('names every formula, as it is', () => {
    const page = readFileSync(join(src, '../docs/calculator.md'), 'utf8');
    for (const { id, title, formula } of formulas) {
      expect(page).toContain(`| \`${id}\` | ${title} | ${formula.replaceAll('|', '\\|')} |`);
    }
  });
});
