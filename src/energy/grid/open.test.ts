import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { configSchema, loadConfig } from '../../config.ts';
import { type Grid, openGridSignal } from './open.ts';
import { type Answer, gridService, type Service } from './testing/service.ts';

const hour = 3_600_000;
const start = Date.parse('2026-11-20T12:00:00Z');
const minute = (ms: number) => `${new Date(ms).toISOString().slice(0, 16)}Z`;

let folder: string;
let nowMs: number;
let logged: string[];
let service: Service | undefined;
let grids: Grid[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'grid-'));
  nowMs = start;
  logged = [];
  grids = [];
});
afterEach(async () => {
  await Promise.all(grids.map((grid) => grid.stop()));
  await service?.close();
  service = undefined;
  rmSync(folder, { recursive: true });
});

const note = (fields: object, message: string) => {
  logged.push(`${JSON.stringify(fields)} ${message}`);
};

async function open(energy: object, env: NodeJS.ProcessEnv = {}): Promise<Grid> {
  const config = configSchema.parse({ energy: { zone: 'GBR', ...energy } }).energy;
  const log = { info: note, warn: note };
  const grid = await openGridSignal(config, { log, dataFolder: folder, now: () => nowMs, env });
  grids.push(grid);
  await grid.start();
  return grid;
}

/** Half hours from a day before to a day after, all alike. */
function uk(gPerKwh: number, { hoursAhead = 24 } = {}): Answer {
  const data = [];
  for (let at = start - 24 * hour; at < start + hoursAhead * hour; at += hour / 2) {
    data.push({
      from: minute(at),
      to: minute(at + hour / 2),
      intensity: { forecast: gPerKwh, actual: null },
    });
  }
  return { body: { data } };
}

async function ukGrid(answer: () => Answer, energy: object = {}): Promise<Grid> {
  service = await gridService(answer);
  const baseUrl = service.url;
  const grid = await open({ grid: { sources: [{ type: 'carbonintensity-uk', baseUrl }], ...energy } });
  await grid.refresh();
  return grid;
}

describe('the grid signal', () => {
  it('is the yearly average of the zone where nothing else is configured', async () => {
    const grid = await open({ zone: 'DEU' });
    expect(grid.over(start, start + hour)).toMatchObject({
      zone: 'DEU',
      value: 342.06,
      kind: 'average',
      scope: 'life-cycle',
      atMs: null,
      instead: null,
    });
    expect(grid.forecast(start, start + hour)).toEqual([
      { startMs: start, endMs: start + hour, gPerKwh: 342.06 },
    ]);
    expect(grid.sources()).toHaveLength(1);
  });

  it('is that of a service, with its kind, scope and licence', async () => {
    const grid = await ukGrid(() => uk(120));
    expect(grid.over(start, start + 1000)).toMatchObject({
      zone: 'GB',
      value: 120,
      kind: 'average',
      scope: 'direct',
      source: expect.stringContaining('CC BY 4.0'),
      stale: false,
    });
    expect(grid.forecast(start, start + 2 * hour)).toHaveLength(4);
  });

  it('stands on the yearly average until the service has answered, and says that it is of another scope', async () => {
    service = await gridService(() => ({ silent: true }));
    const baseUrl = service.url;
    const grid = await open({ grid: { sources: [{ type: 'carbonintensity-uk', baseUrl }] } });
    expect(grid.over(start, start + 1000)).toMatchObject({
      value: 215.79,
      scope: 'life-cycle',
      instead: expect.stringMatching(/an average, life-cycle figure beside average, direct ones/),
    });
  });

  it('asks nobody again after a restart before it is time', async () => {
    const first = await ukGrid(() => uk(120));
    await first.stop();
    const asked = service?.asked.length;
    nowMs += 60_000;
    const again = await open({
      grid: { sources: [{ type: 'carbonintensity-uk', baseUrl: service?.url }] },
    });
    expect(again.over(nowMs, nowMs + 1000)).toMatchObject({ value: 120, instead: null });
    await again.stop();
    expect(service?.asked.length).toBe(asked);
  });

  it('begins anew where what is on disk cannot be read', async () => {
    const first = await ukGrid(() => uk(120));
    await first.stop();
    const [file] = readdirSync(join(folder, 'grid'));
    writeFileSync(join(folder, 'grid', file ?? ''), '{"version":1,"points":[[0');
    const again = await open({ grid: { sources: [{ type: 'carbonintensity-uk', baseUrl: service?.url }] } });
    await again.refresh();
    expect(again.over(nowMs, nowMs + 1000).value).toBe(120);
  });

  it('carries on with old values, labels them, then falls back, when the service is gone', async () => {
    let answer = uk(120, { hoursAhead: 1 });
    const grid = await ukGrid(() => answer);
    answer = { status: 500, body: '' };
    const later = (hours: number) => {
      nowMs = start + hours * hour;
      return grid.over(nowMs, nowMs + 1000);
    };
    expect(later(0.9)).toMatchObject({ value: 120, stale: false });
    expect(later(2.5)).toMatchObject({ value: 120, stale: true });
    await grid.refresh();
    expect(later(8)).toMatchObject({
      value: 215.79,
      instead: expect.stringMatching(/answered 500.*yearly average of GBR/),
    });
  });

  it('keeps away for as long as the service asks for', async () => {
    let answer: Answer = { status: 429, headers: { 'retry-after': '600' }, body: '' };
    const grid = await ukGrid(() => answer);
    const asked = service?.asked.length;
    answer = uk(120);
    nowMs += 599_000;
    await grid.refresh();
    expect(service?.asked.length).toBe(asked);
    nowMs += 2_000;
    await grid.refresh();
    expect(grid.over(start, start + 1000).value).toBe(120);
    expect(logged.join('\n')).toMatch(/answered 429/);
    expect(logged.join('\n')).toMatch(/answers again/);
  });

  it('leaves out what cannot be true, and counts it', async () => {
    const grid = await ukGrid(() => {
      const { body } = uk(120) as { body: { data: { from: string; intensity: { forecast: number } }[] } };
      for (const slot of body.data) if (slot.from === minute(start)) slot.intensity.forecast = -40;
      return { body };
    });
    expect(grid.sources()[0]).toMatchObject({ refused: { count: 2, reason: '-40 is negative' } });
    // The half hour before is carried on.
    expect(grid.over(start, start + 1000)).toMatchObject({ value: 120, stale: false });
  });

  it('remembers what has been, but never mixes an old forecast with a new one', async () => {
    let answer = uk(120);
    const grid = await ukGrid(() => answer);
    // The next answer knows less of the past and of the future.
    answer = {
      body: {
        data: [{ from: minute(start + hour), to: minute(start + 2 * hour), intensity: { forecast: 80 } }],
      },
    };
    nowMs = start + hour;
    await grid.refresh();
    expect(grid.over(start, start + hour).value).toBe(120);
    expect(grid.over(nowMs, nowMs + 1000).value).toBe(80);
    expect(grid.forecast(nowMs, nowMs + 6 * hour)).toEqual([
      { startMs: nowMs, endMs: nowMs + hour, gPerKwh: 80 },
    ]);
  });

  it('lets a second source of the same kind stand in for the first', async () => {
    service = await gridService(() => ({ status: 500, body: '' }));
    const path = join(folder, 'backup.csv');
    writeFileSync(path, `time,gPerKwh\n${minute(start)},99\n${minute(start + hour)},98`);
    const grid = await open({
      grid: {
        sources: [
          { type: 'carbonintensity-uk', baseUrl: service.url },
          { type: 'file', path, scope: 'direct' },
          'yearly',
        ],
      },
    });
    await grid.refresh();
    expect(grid.over(start, start + 1000)).toMatchObject({
      value: 99,
      scope: 'direct',
      instead: expect.stringMatching(/^carbonintensity-uk has no value for this time \(.*500\)$/),
    });
  });

  it.each([
    ['sources of two scopes', { sources: ['carbonintensity-uk', 'electricity-maps:GB'] }, /cannot stand in/],
    ['average and marginal', { sources: ['electricity-maps:GB', 'watttime:UK'] }, /marginal, direct/],
    [
      'something behind the yearly average',
      { sources: ['yearly', 'carbonintensity-uk'] },
      /nothing comes after/,
    ],
  ])('refuses %s', async (_what, grid, message) => {
    const env = {
      COMMONWATT_ELECTRICITY_MAPS_TOKEN: 't',
      COMMONWATT_WATTTIME_USERNAME: 'u',
      COMMONWATT_WATTTIME_PASSWORD: 'p',
    };
    await expect(open({ grid }, env)).rejects.toMatchObject({
      code: 'INVALID_CONFIG',
      message: expect.stringMatching(message),
    });
  });

  it('refuses a service whose credentials are not in the environment, naming the variable', async () => {
    await expect(open({ grid: 'electricity-maps:DE' })).rejects.toMatchObject({
      code: 'INVALID_CONFIG',
      hint: expect.stringContaining('COMMONWATT_ELECTRICITY_MAPS_TOKEN'),
    });
  });

  it('refuses to start on a broken file, but goes on with the old values when it breaks later', async () => {
    const path = join(folder, 'grid.csv');
    writeFileSync(path, 'time,gPerKwh\n2026-11-20T12:00,1');
    await expect(open({ grid: `file:${path}` })).rejects.toMatchObject({ code: 'INVALID_CONFIG' });
    writeFileSync(path, `time,gPerKwh\n${minute(start)},77`);
    const grid = await open({ grid: `file:${path}` });
    writeFileSync(path, 'broken');
    await grid.refresh();
    expect(grid.over(start, start + 1000).value).toBe(77);
    expect(grid.sources()[0]?.problem).toMatch(/header/);
  });

  it('writes no credential to the disk or the log', async () => {
    service = await gridService(() => ({ status: 401, body: {} }));
    const grid = await open(
      { grid: { sources: [{ type: 'electricity-maps', zone: 'GB', baseUrl: service.url }] } },
      { COMMONWATT_ELECTRICITY_MAPS_TOKEN: 'a-secret' },
    );
    await grid.refresh();
    const kept = existsSync(join(folder, 'grid'))
      ? readdirSync(join(folder, 'grid')).map((file) => readFileSync(join(folder, 'grid', file), 'utf8'))
      : [];
    expect([...logged, ...kept, JSON.stringify(grid.sources())].join('\n')).not.toContain('a-secret');
    expect(logged.join('\n')).toContain('refuses the credentials');
  });
});

describe('the configuration', () => {
  it('takes sources in short, from the environment too', () => {
    const { energy } = loadConfig({ COMMONWATT_GRID: 'carbonintensity-uk:13, yearly' });
    expect(energy.grid.sources).toEqual([{ type: 'carbonintensity-uk', region: '13' }, { type: 'yearly' }]);
  });

  it.each([
    ['a source that there is not', { sources: ['entsoe:DE'] }],
    ['a region that there is not', { sources: ['carbonintensity-uk:99'] }],
    ['a token in the file', { sources: [{ type: 'electricity-maps', zone: 'DE', token: 'x' }] }],
    ['no source at all', { sources: [] }],
  ])('refuses %s', (_what, grid) => {
    expect(configSchema.safeParse({ energy: { grid } }).success).toBe(false);
  });
});
