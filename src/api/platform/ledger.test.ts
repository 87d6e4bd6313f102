import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runPython } from '../../../test/python.ts';
import type { Entry, LineHead } from '../../energy/attribution.ts';
import { bookInterval, type IntervalRow } from '../../energy/settlement.ts';
import { tidyStep } from '../../energy/store/tidy.ts';
import { type TestHouse, testHouse } from './testing/house.ts';

const minute = 60_000;
const now = Date.now();
/** Ten days ago: old enough to be packed. */
const then = now - 10 * 24 * 60 * minute;

let house: TestHouse;
let acme: { organisationId: string; organisation: string };
let globex: { organisationId: string; organisation: string };
let acmeKey: string;
let globexKey: string;
let operatorKey: string;
const booked: { interval: IntervalRow; entries: Entry[] }[] = [];

function entry(ids: string[], head: LineHead | null, energyJ: number, more: Partial<Entry> = {}): Entry {
  return {
    ids,
    kind: head?.kind ?? 'idle',
    note: head ? null : 'platform',
    head,
    owner: head?.use ?? null,
    atMs: then,
    rows: head ? 1 : 0,
    cpuS: 0.1,
    energyJ,
    idleShareJ: 0.5,
    carbonG: energyJ / 1e4,
    embodiedG: energyJ / 1e5,
    waterL: null,
    attributionMethod: head ? 'shared step' : 'proportional',
    outcome: 'finished',
    allocated: {
      energyJ: head ? energyJ + 1 : energyJ - 7,
      carbonG: energyJ / 1e4,
      embodiedG: energyJ / 1e5,
    },
    runnerPid: head ? 7 : null,
    ...more,
  };
}

async function book(id: string, startMs: number, entries: Entry[]): Promise<void> {
  const sum = (pick: (one: Entry) => number) =>
    entries.reduce((all, one) => all + one.ids.length * pick(one), 0);
  const interval: IntervalRow = {
    id,
    start_ms: startMs,
    end_ms: startMs + 1000,
    energy_j: sum(({ energyJ }) => energyJ),
    carbon_g: sum(({ carbonG }) => carbonG),
    embodied_g: sum(({ embodiedG }) => embodiedG),
    water_l: null,
    quality: 'estimated',
    method: 'cpu-time',
    method_version: '1.1',
    basis: '{"unknown":{"waterL":"no WUE is configured"}}',
    cpu_s_supplied: 4,
    cpu_s_used: 1,
    cpu_s_other: 0,
    memory_gbs_supplied: 8,
    memory_gbs_reserved: 2,
    memory_gbs_used: 1,
    node: 'here',
    zone: 'FRA',
    intensity_g_per_kwh: 44,
    signal: 'average',
    scope: 'life-cycle',
    accelerator_j: null,
  };
  await bookInterval(house.db, interval, entries);
  booked.push({ interval, entries });
}

/** globex and acme call acme's model, ten days ago and now; what is old is packed. */
beforeAll(async () => {
  house = await testHouse();
  operatorKey = house.operatorKey;
  const owner = await house.organisation('acme');
  const user = await house.organisation('globex');
  acme = { organisationId: owner.admin.organisationId, organisation: 'acme' };
  globex = { organisationId: user.admin.organisationId, organisation: 'globex' };
  [acmeKey, globexKey] = [owner.adminKey, user.adminKey];
  const use = { modelId: 'm1', model: 'acme/digits', version: 2, owner: acme };
  const head = (consumer: typeof acme, more: Partial<LineHead> = {}): LineHead => ({
    kind: 'inference',
    consumer,
    keyId: `key-of-${consumer.organisation}`,
    grantId: null,
    jobId: null,
    use,
    ...more,
  });
  const [ofAcme, ofGlobex] = [head(acme), head(globex)];
  const training = head(acme, { kind: 'training', jobId: 'job-1', use: null });
  const odd = head({ organisationId: 'x', organisation: '=HYPERLINK("http://x","a,b")' });
  const add = async (name: string, startMs: number) =>
    book(`i-${name}`, startMs, [
      entry([`${name}-1`, `${name}-2`, `${name}-3`], ofGlobex, 4, { atMs: startMs + 5 }),
      entry([`${name}-4`], ofAcme, 2, { atMs: startMs + 6 }),
      entry([`${name}-5`], ofGlobex, 1, { outcome: 'aborted', atMs: startMs + 7 }),
      entry([`job-1~i-${name}`], training, 8, { rows: 0 }),
      entry([`${name}-6`], odd, 0.5),
      entry([`i-${name}:idle:platform`], null, 12),
    ]);
  await add('a', then);
  await add('b', then + minute);
  while (await tidyStep(house.db, now, { detailDays: 7, keepDays: null }));
  await add('c', now - 10 * minute);
});
afterAll(() => house.close());

const everything = `from=${new Date(then - minute).toISOString()}`;
const get = (key: string, query: string) => house.call(key, 'GET', `/api/v1/ledger${query}`);
const ids = (answer: { json: { lines: { id: string }[] } }) => answer.json.lines.map(({ id }) => id);
const raw = async (key: string, query: string, accept = '*/*') => {
  const { statusCode, headers, rawPayload } = await house.app.inject({
    method: 'GET',
    url: `/api/v1/ledger${query}`,
    headers: { authorization: `Bearer ${key}`, accept },
  });
  return { statusCode, headers, rawPayload, text: rawPayload.toString() };
};

describe('lines of the ledger', () => {
  it('come a page at a time, old ones out of the archive, and each once', async () => {
    const seen: string[] = [];
    for (let cursor = '', pages = 0; cursor !== null; pages++) {
      const page = await get(operatorKey, `?${everything}&limit=5${cursor && `&cursor=${cursor}`}`);
      expect(page.status).toBe(200);
      seen.push(...ids(page));
      cursor = page.json.cursor;
      expect(pages).toBeLessThan(6);
    }
    const all = booked.flatMap(({ entries }) => entries.flatMap((one) => one.ids));
    expect(seen.sort()).toEqual(all.sort());
  });

  it('are those of the last day when no time is given, and of what is asked for', async () => {
    expect(ids(await get(operatorKey, '')).length).toBe(8);
    for (const [query, count] of [
      ['kind=training', 3],
      ['outcome=aborted', 3],
      ['model=acme/digits', 18],
      ['model=m1&version=2&tenant=globex', 12],
      ['version=1', 0],
      ['key=key-of-acme', 6],
      ['job=job-1', 3],
      [`to=${new Date(then + 1).toISOString()}`, 8],
    ] as const)
      expect(ids(await get(operatorKey, `?${everything}&${query}`)).length).toBe(count);
  });

  it('are shown to who consumed them or owns the model, and the key only to whose it is', async () => {
    const users = await get(globexKey, `?${everything}`);
    expect(ids(users).length).toBe(12);
    expect(users.json.lines[0]).toMatchObject({ consumer: 'globex', keyId: 'key-of-globex', owner: 'acme' });
    const owners = await get(acmeKey, `?${everything}`);
    expect(ids(owners).length).toBe(21);
    expect(owners.text).not.toContain('key-of-globex');
    expect(owners.text).toContain('key-of-acme');
    // Asking by another's key tells nothing either.
    expect(ids(await get(acmeKey, `?${everything}&key=key-of-globex`))).toEqual([]);
    expect((await get(globexKey, '/a-4')).status).toBe(404);
    expect((await get(globexKey, `/${encodeURIComponent('i-a:idle:platform')}`)).status).toBe(404);
    expect((await get(acmeKey, '/a-1')).json).toMatchObject({ consumer: 'globex', keyId: null });
  });

  it('are there one by one with all that is known of them, packed or not', async () => {
    for (const name of ['a', 'c'])
      expect((await get(globexKey, `/${name}-5`)).json).toMatchObject({
        id: `${name}-5`,
        interval: `i-${name}`,
        outcome: 'aborted',
        attributionMethod: 'shared step',
        energyWh: 1 / 3600,
        allocatedWh: 2 / 3600,
        waterL: null,
        node: 'here',
        runnerPid: 7,
        methodVersion: '1.1',
        signal: 'average',
        scope: 'life-cycle',
        intensityGPerKwh: 44,
      });
    const missing = await get(globexKey, '/nothing');
    expect(missing).toMatchObject({ status: 404, json: { code: 'NOT_FOUND' } });
  });

  it('are refused with what is wrong', async () => {
    for (const query of [
      '?cursor=abc',
      '?limit=0',
      '?limit=2000',
      '?kind=love',
      '?colour=red',
      '?from=2030-01-02T00:00:00Z&to=2030-01-01T00:00:00Z',
      '?format=xls',
    ])
      expect((await get(operatorKey, query)).status).toBe(400);
    expect((await house.call(undefined, 'GET', '/api/v1/ledger')).status).toBe(401);
  });
});

describe('the ledger as a file', () => {
  it('is JSON Lines from which, with the intervals, the report can be computed again', async () => {
    const { text, headers, statusCode } = await raw(operatorKey, `?${everything}&format=jsonl`);
    expect(statusCode).toBe(200);
    expect(headers['content-type']).toBe('application/jsonl');
    const lines = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    const intervals = (await get(operatorKey, `/intervals?${everything}`)).json.intervals;
    expect(intervals.length).toBe(3);
    for (const interval of intervals) {
      for (const [ofLines, ofInterval] of [
        ['energyWh', 'energyWh'],
        ['allocatedWh', 'energyWh'],
        ['carbonGCo2e', 'carbonGCo2e'],
        ['embodiedGCo2e', 'embodiedGCo2e'],
      ] as const) {
        const own = lines.filter((line) => line.interval === interval.id);
        const sum = own.reduce((total, line) => total + line[ofLines], 0);
        expect(Math.abs(sum / interval[ofInterval] - 1)).toBeLessThan(1e-9);
      }
    }
  });

  it('is asked for by Accept as well, and holds only what the caller may see', async () => {
    const { text } = await raw(globexKey, `?${everything}`, 'application/jsonl, */*');
    const lines = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.length).toBe(12);
    expect(new Set(lines.map(({ consumer }) => consumer))).toEqual(new Set(['globex']));
    expect((await raw(globexKey, '?kind=training', 'text/csv')).text.split('\r\n').length).toBe(2);
  });

  it('is CSV in which no text is a formula', async () => {
    const { text, headers } = await raw(operatorKey, `?${everything}&format=csv`);
    expect(headers['content-disposition']).toContain('ledger.csv');
    const [first = '', ...rest] = text.trimEnd().split('\r\n');
    expect(first.split(',').slice(0, 3)).toEqual(['id', 'at', 'interval']);
    expect(rest.length).toBe(24);
    expect(text).toContain(`,"'=HYPERLINK(""http://x"",""a,b"")",`);
    expect(text).not.toMatch(/(^|,)"?[=+@]/m);
  });

  it('is Parquet that other programs read', async () => {
    const { rawPayload } = await raw(operatorKey, `?${everything}&format=parquet`);
    const file = join(mkdtempSync(join(tmpdir(), 'parquet-')), 'ledger.parquet');
    writeFileSync(file, rawPayload);
    const program = `
import json, sys, duckdb
sql = """select count(*), sum(energyWh), count(waterL), min("at")::varchar, sum(rows)::int, max(version),
  list(distinct consumer order by consumer) from read_parquet('%s')""" % sys.argv[1]
print(json.dumps(duckdb.sql(sql).fetchone()))`;
    const [count, energyWh, waters, first, rows, version, consumers] = JSON.parse(runPython(program, [file]));
    const total = booked.reduce((sum, { interval }) => sum + interval.energy_j, 0);
    expect({ count, waters, rows, version }).toEqual({ count: 24, waters: 0, rows: 18, version: 2 });
    expect(energyWh).toBeCloseTo(total / 3600, 12);
    expect(first.slice(0, 19)).toBe(new Date(then).toISOString().slice(0, 19).replace('T', ' '));
    expect(consumers).toEqual(['=HYPERLINK("http://x","a,b")', 'acme', 'globex', null]);
  });
});
