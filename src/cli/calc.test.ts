import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { run } from './cli.ts';
import { gridLines } from './grid.ts';

const folder = mkdtempSync(join(tmpdir(), 'calc-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Runs one command line without server, login or key. */
async function call(args: string[], input = '') {
  let out = '';
  let err = '';
  const terminal = {
    env: { HOME: folder },
    out: (text: string) => {
      out += text;
    },
    err: (text: string) => {
      err += text;
    },
    outIsTty: false,
    errIsTty: false,
    inIsTty: false,
    readInput: async () => input,
    exitCode: 0,
  };
  return { code: await run(args, terminal), out, err };
}

describe('commonwatt calc', () => {
  it('lists every formula with an example input, which it then computes', async () => {
    const { code, out } = await call(['calc', '--list', '--json']);
    expect(code).toBe(0);
    const all: { id: string; example: unknown; formula: string; source: string }[] = JSON.parse(out);
    expect(all.length).toBeGreaterThan(30);
    for (const { id, example } of all) {
      const answer = await call(['calc', id, '--input', '-', '--json'], JSON.stringify(example));
      expect(answer.code).toBe(0);
      expect(JSON.parse(answer.out)).toMatchObject({ id, methodVersion: expect.any(String) });
    }
  });

  it('prints an example that can be changed and given back as a file', async () => {
    const { out: example } = await call(['calc', 'carbon', '--example']);
    const file = join(folder, 'input.json');
    writeFileSync(file, example);
    const { code, out } = await call(['calc', 'carbon', '--input', file]);
    expect(code).toBe(0);
    expect(out).toMatch(/^carbonG {2}480 {2}gCO2e\nformula {2}C = E · PUE · I\nsource/);
  });

  it.each([
    ['no formula', ['calc'], '', /which formula/],
    ['one that there is not', ['calc', 'carb'], '', /perhaps .*\bcarbon or/],
    ['no input', ['calc', 'carbon'], '', /--input FILE/],
    ['a file that is not there', ['calc', 'carbon', '--input', '/nowhere.json'], '', /cannot be read/],
    ['half a JSON', ['calc', 'carbon', '--input', '-'], '{"energy', /is not JSON/],
    [
      'PUE .9',
      ['calc', 'carbon', '--input', '-'],
      '{"energyKwh":1,"gPerKwh":1,"pue":0.9}',
      /carbon: pue: .*1/,
    ],
    ['−1 g/kWh', ['calc', 'carbon', '--input', '-'], '{"energyKwh":1,"gPerKwh":-1}', /carbon: gPerKwh/],
    ['overflow', ['calc', 'carbon', '--input', '-'], '{"energyKwh":1e308,"gPerKwh":3000}', /Infinity/],
  ])('exits 2 for %s', async (_what, args, input, message) => {
    const { code, out, err } = await call(args, input);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toMatch(message);
  });
});

describe('commonwatt grid', () => {
  const current = {
    gPerKwh: 215.79,
    zone: 'GBR',
    kind: 'average',
    scope: 'life-cycle',
    estimated: true,
    stale: true,
    source: 'Ember',
    at: null,
    instead: 'carbonintensity-uk has no value for this time',
  } as const;

  it('says what holds now, how old it is and why, and draws what is forecast', () => {
    const lines = gridLines({
      zone: 'GBR',
      current,
      forecast: [
        { start: '2026-11-20T12:00:00.000Z', end: '2026-11-20T12:30:00.000Z', gPerKwh: 100 },
        { start: '2026-11-20T12:30:00.000Z', end: '2026-11-20T13:00:00.000Z', gPerKwh: 200 },
      ],
      sources: [],
    });
    expect(lines[0]).toBe('now       215.8 gCO2e/kWh in GBR (average, life-cycle, estimated, STALE)');
    expect(lines[2]).toMatch(/^because .*no value/);
    expect(lines.at(-2)).toMatch(/100 {2}▇{15}$/);
    expect(lines.at(-1)).toMatch(/200 {2}▇{30}$/);
  });

  it('says that nothing can be moved where nothing is forecast', () => {
    expect(gridLines({ zone: 'GBR', current, forecast: [], sources: [] }).join()).toMatch(/forecast {2}none/);
  });
});
