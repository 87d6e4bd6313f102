/**
 * A time series in a file. CSV: a header with `time` and `gPerKwh`, optionally `end` and `estimated`. JSON: the same
 * names, `{"zone": …, "kind": …, "scope": …, "points": [{"time": …, "gPerKwh": …}]}`. Times are ISO 8601 with
 * their zone. Lines may be in any order and at any step; it is read again when it has changed.
 */
import { readFile, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { parse } from 'csv-parse/sync';
import { z } from 'zod';
import { CommonwattError } from '../../errors.ts';
import type { Intensity } from '../grid.ts';
import { type GridPoint, implausible, steps } from './series.ts';
import type { GridSource } from './source.ts';
import { parseInstant } from './time.ts';

const hourMs = 3_600_000;
const mostBytes = 64 * 1024 * 1024;

export interface FileOptions {
  path: string;
  zone: string;
  kind: Intensity['kind'];
  scope: Intensity['scope'];
}

interface Row {
  /** Where it stands, for messages: `line 7`, `points.3`. */
  where: string;
  time: string;
  gPerKwh: string | number;
  end?: string | undefined;
  estimated?: string | boolean | undefined;
}

export function gridFile({ path, zone, kind, scope }: FileOptions): GridSource {
  let known: { stamp: string; points: GridPoint[] } | undefined;
  return {
    // Callers see it; where files lie on this machine is not their business.
    name: `file ${basename(path)}`,
    zone,
    kind,
    scope,
    origin: path,
    description: `time series ${basename(path)}`,
    everyMs: 60_000,
    local: true,
    async read() {
      const { mtimeMs, size } = await stat(path).catch((cause: unknown) => {
        throw wrong(path, 'cannot be read', { cause });
      });
      if (size > mostBytes) throw wrong(path, `is larger than ${mostBytes} bytes`);
      const stamp = `${mtimeMs} ${size}`;
      if (known?.stamp !== stamp) {
        const text = await readFile(path, 'utf8');
        known = { stamp, points: parseSeries(text, path, { kind, scope }) };
      }
      return known.points;
    },
  };
}

/** Throws INVALID_CONFIG that names the line. */
export function parseSeries(
  text: string,
  path: string,
  expected: Pick<Intensity, 'kind' | 'scope'>,
): GridPoint[] {
  const isJson = /^[\s\ufeff]*\{/.test(text);
  const rows = isJson ? jsonRows(text, path, expected) : csvRows(text, path);
  if (rows.length === 0) throw wrong(path, 'has no values');
  const values = rows.map((row) => checked(row, path, expected.scope));
  const byStart = new Map<number, number>();
  for (const [index, { startMs, gPerKwh }] of values.entries()) {
    const other = byStart.get(startMs);
    if (other !== undefined && other !== gPerKwh) {
      throw wrong(path, `has ${other} and ${gPerKwh} g/kWh for one time`, { at: rows[index]?.where });
    }
    byStart.set(startMs, gPerKwh);
  }
  return steps(values, hourMs);
}

function checked({ where, time, gPerKwh, end, estimated }: Row, path: string, scope: Intensity['scope']) {
  const startMs = parseInstant(time);
  if (startMs === null) {
    throw wrong(path, `has the time ${JSON.stringify(time)}`, {
      at: where,
      hint: 'write times with their zone, e.g. 2026-03-29T01:00:00Z or 2026-03-29T03:00:00+02:00',
    });
  }
  const value = typeof gPerKwh === 'number' ? gPerKwh : gPerKwh.trim() === '' ? Number.NaN : Number(gPerKwh);
  const reason = implausible(value, scope);
  if (reason) throw wrong(path, `has a value that ${reason}: ${JSON.stringify(gPerKwh)}`, { at: where });
  const endMs = end === undefined || end === '' ? undefined : parseInstant(end);
  if (endMs === null || (endMs !== undefined && endMs <= startMs)) {
    throw wrong(path, `has the end ${JSON.stringify(end)}, which is not a time after its start`, {
      at: where,
    });
  }
  return { startMs, endMs, gPerKwh: value, estimated: /^(true|1|yes)$/i.test(String(estimated ?? '')) };
}

const csvNames = ['time', 'gPerKwh', 'end', 'estimated'];

function csvRows(text: string, path: string): Row[] {
  let lines: { record: string[]; info: { lines: number } }[];
  try {
    // With `info` each record says where it stood, which the types do not know.
    lines = parse(text, {
      bom: true,
      trim: true,
      skip_empty_lines: true,
      comment: '#',
      info: true,
    }) as unknown as typeof lines;
  } catch (cause) {
    throw wrong(path, `is not CSV: ${(cause as Error).message}`, { cause });
  }
  const [header, ...rest] = lines;
  const names = header?.record ?? [];
  const unknown = names.find((name) => !csvNames.includes(name));
  if (!names.includes('time') || !names.includes('gPerKwh') || unknown !== undefined) {
    throw wrong(path, `has the header ${JSON.stringify(names.join(','))}`, {
      at: 'line 1',
      hint: 'write time,gPerKwh and optionally end,estimated',
    });
  }
  return rest.map(({ record, info }) => {
    const cell = (name: string) => record[names.indexOf(name)];
    const [time = '', gPerKwh = ''] = [cell('time'), cell('gPerKwh')];
    return { where: `line ${info.lines}`, time, gPerKwh, end: cell('end'), estimated: cell('estimated') };
  });
}

const jsonSchema = z.strictObject({
  zone: z.string().optional(),
  kind: z.enum(['average', 'marginal']).optional(),
  scope: z.enum(['life-cycle', 'direct']).optional(),
  points: z.array(
    z.strictObject({
      time: z.string(),
      gPerKwh: z.number(),
      end: z.string().optional(),
      estimated: z.boolean().optional(),
    }),
  ),
});

function jsonRows(text: string, path: string, expected: Pick<Intensity, 'kind' | 'scope'>): Row[] {
  let json: unknown;
  try {
    json = JSON.parse(text.replace(/^\ufeff/, ''));
  } catch (cause) {
    throw wrong(path, `is not JSON: ${(cause as Error).message}`, { cause });
  }
  const parsed = jsonSchema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw wrong(path, `: ${issue?.message}`, { at: issue?.path.join('.') || 'file' });
  }
  for (const name of ['kind', 'scope'] as const) {
    const own = parsed.data[name];
    if (own && own !== expected[name]) {
      throw wrong(path, `says that its ${name} is ${own}, the configuration says ${expected[name]}`);
    }
  }
  return parsed.data.points.map((point, index) => ({ where: `points.${index}`, ...point }));
}

function wrong(
  path: string,
  reason: string,
  { at, hint, cause }: { at?: string | undefined; hint?: string; cause?: unknown } = {},
): CommonwattError {
  return new CommonwattError('INVALID_CONFIG', `the grid series ${path} ${reason}${at ? ` (${at})` : ''}`, {
    where: at ? `${path}, ${at}` : path,
    ...(hint ? { hint } : {}),
    ...(cause === undefined ? {} : { cause }),
  });
}
