import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { gridFile, parseSeries } from './file.ts';

const average = { kind: 'average', scope: 'life-cycle' } as const;
const iso = (ms: number) => new Date(ms).toISOString();

describe('a time series in a file', () => {
  it('is CSV with a header; lines in any order, repeated lines counted once', () => {
    const points = parseSeries(
      [
        '# Germany, our own measurements',
        'time,gPerKwh,estimated',
        '2026-01-01T01:00:00Z,300,true',
        '2026-01-01T00:00:00Z,400,',
        '2026-01-01T01:00:00Z,300,true',
      ].join('\n'),
      'grid.csv',
      average,
    );
    expect(points).toEqual([
      {
        startMs: Date.parse('2026-01-01T00:00Z'),
        endMs: Date.parse('2026-01-01T01:00Z'),
        gPerKwh: 400,
        estimated: false,
      },
      {
        startMs: Date.parse('2026-01-01T01:00Z'),
        endMs: Date.parse('2026-01-01T02:00Z'),
        gPerKwh: 300,
        estimated: true,
      },
    ]);
  });

  it('has both hours 02:00 of the night in which clocks are set back', () => {
    const points = parseSeries(
      [
        'time,gPerKwh',
        '2026-10-25T01:00+02:00,1',
        '2026-10-25T02:00+02:00,2',
        '2026-10-25T02:00+01:00,3',
        '2026-10-25T03:00+01:00,4',
      ].join('\n'),
      'autumn.csv',
      average,
    );
    expect(points.map(({ startMs, gPerKwh }) => [iso(startMs), gPerKwh])).toEqual([
      ['2026-10-24T23:00:00.000Z', 1],
      ['2026-10-25T00:00:00.000Z', 2],
      ['2026-10-25T01:00:00.000Z', 3],
      ['2026-10-25T02:00:00.000Z', 4],
    ]);
  });

  it('is JSON with the same names', () => {
    const text = JSON.stringify({
      zone: 'DE',
      kind: 'average',
      points: [{ time: '2026-01-01T00:00:00Z', end: '2026-01-01T00:15:00Z', gPerKwh: 400 }],
    });
    const [point] = parseSeries(text, 'grid.json', average);
    expect(point && point.endMs - point.startMs).toBe(900_000);
  });

  it.each([
    ['a local time', 'time,gPerKwh\n2026-03-29T02:30:00,100', /line 2.*/, /with their zone/],
    ['another header', 'timestamp,value\n2026-01-01T00:00Z,1', /line 1/, /time,gPerKwh/],
    ['a negative value', 'time,gPerKwh\n2026-01-01T00:00Z,-5', /negative.*line 2/, undefined],
    ['an absurd value', 'time,gPerKwh\n2026-01-01T00:00Z,450000', /above 3000.*line 2/, undefined],
    ['zero for a life cycle', 'time,gPerKwh\n2026-01-01T00:00Z,0', /no life cycle/, undefined],
    ['an empty value', 'time,gPerKwh\n2026-01-01T00:00Z,', /not a number.*line 2/, undefined],
    [
      'two values for one time',
      'time,gPerKwh\n2026-01-01T00:00Z,1\n2026-01-01T01:00+01:00,2',
      /1 and 2/,
      undefined,
    ],
    [
      'an end before its start',
      'time,gPerKwh,end\n2026-01-01T01:00Z,1,2026-01-01T00:00Z',
      /after its start/,
      undefined,
    ],
    ['nothing', 'time,gPerKwh\n', /has no values/, undefined],
    ['marginal values', '{"kind":"marginal","points":[]}', /its kind is marginal/, undefined],
    ['half a JSON', '{"points":[', /not JSON/, undefined],
    ['lines of another length', 'time,gPerKwh\n2026-01-01T00:00Z,1,2,3,4', /not CSV/, undefined],
  ])('refuses %s and says where', (_what, text, message, hint) => {
    expect(() => parseSeries(text, 'grid.csv', average)).toThrow(
      expect.objectContaining({
        code: 'INVALID_CONFIG',
        message: expect.stringMatching(message),
        ...(hint ? { hint: expect.stringMatching(hint) } : {}),
      }),
    );
  });

  describe('on disk', () => {
    let folder: string;
    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), 'grid-file-'));
    });
    afterEach(() => rmSync(folder, { recursive: true }));

    it('is read again when it has changed', async () => {
      const path = join(folder, 'grid.csv');
      writeFileSync(path, 'time,gPerKwh\n2026-01-01T00:00Z,100');
      const source = gridFile({ path, zone: 'DE', ...average });
      const signal = new AbortController().signal;
      expect((await source.read(signal))[0]?.gPerKwh).toBe(100);
      writeFileSync(path, 'time,gPerKwh\n2026-01-01T00:00Z,200');
      utimesSync(path, 1, 1);
      expect((await source.read(signal))[0]?.gPerKwh).toBe(200);
    });

    it('that is not there is a wrong configuration', async () => {
      const source = gridFile({ path: join(folder, 'none.csv'), zone: 'DE', ...average });
      await expect(source.read(new AbortController().signal)).rejects.toMatchObject({
        code: 'INVALID_CONFIG',
      });
    });
  });
});
