import { mkdtempSync, readFileSync, statSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Commonwatt } from '@commonwatt/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestHouse, testHouse } from '../api/platform/testing/house.ts';
import { type Books, makeBooks } from '../energy/store/testing/books.ts';
import { run } from './cli.ts';

const folder = mkdtempSync(join(tmpdir(), 'cli-ledger-'));
let house: TestHouse;
let books: Books;
let url: string;

beforeAll(async () => {
  house = await testHouse();
  await house.app.listen({ host: '127.0.0.1', port: 0 });
  url = `http://127.0.0.1:${(house.app.server.address() as AddressInfo).port}`;
  books = await makeBooks(house.db);
  for (let number = 5; number > 0; number--)
    await books.add(Date.now() - number * 60_000, 500, [`e-${number}`]);
});
afterAll(async () => {
  // Connections that clients keep.
  house.app.server.closeAllConnections();
  await house.close();
});

async function call(...args: string[]) {
  let out = '';
  let err = '';
  const terminal = {
    env: { COMMONWATT_URL: url, COMMONWATT_API_KEY: house.operatorKey, HOME: folder },
    out: (text: string) => {
      out += text;
    },
    err: (text: string) => {
      err += text;
    },
    outIsTty: false,
    errIsTty: false,
    inIsTty: false,
    readInput: async () => '',
    exitCode: 0,
  };
  return { code: await run(['ledger', ...args], terminal), out, err };
}

describe('commonwatt ledger', () => {
  it('shows lines, those that are asked for, and says that there are more', async () => {
    const { code, out } = await call('--tenant', 'globex', '--kind', 'explanation', '--limit', '2');
    expect(code).toBe(0);
    const [head, first, second, more] = out.split('\n');
    expect(head).toMatch(/TIME +ID +KIND +MODEL +FOR +ENERGY +CARBON/);
    expect(first).toMatch(/ e-5~\S+ +explanation +acme\/model-1 +globex .* J .*gCO2e/);
    expect(second).toContain(' e-4~');
    expect(more).toMatch(/there are more/);
  });

  it('shows one line with all that is known of it', async () => {
    const { out } = await call('e-1');
    expect(out).toMatch(/consumer +globex\n/);
    expect(out).toMatch(/attributionMethod +shared step\n/);
    expect((await call('e-100')).code).toBe(1);
  });

  it('saves all of them as a file, whole or not at all', async () => {
    for (const format of ['csv', 'jsonl', 'parquet']) {
      const file = join(folder, `ledger.${format}`);
      const { code, out } = await call('--format', format, '--output', file);
      expect(code).toBe(0);
      expect(out).toContain(`→ ${file}`);
      expect(statSync(file).size).toBeGreaterThan(10_000);
    }
    const ids = readFileSync(join(folder, 'ledger.jsonl'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).id);
    expect(ids).toEqual(books.booked.map(({ id }) => id));
  });

  it.each([
    [['--format', 'csv'], /needs --output/],
    [['--output', 'x.csv'], /needs --format/],
    [['--format', 'xls', '--output', 'x'], /csv, jsonl, parquet/],
    [['--kind', 'love'], /inference, explanation/],
    [['--limit', 'few'], /whole number/],
    [['--from', 'yesterday'], /time/],
  ])('refuses %j', async (args, why) => {
    const { code, err } = await call(...args);
    expect(code).toBe(2);
    expect(err).toMatch(why);
  });
});

it('gives the client every line page after page, and the intervals', async () => {
  const client = new Commonwatt({ baseUrl: url, apiKey: house.operatorKey });
  const ids: string[] = [];
  for await (const { id } of client.ledger.lines({ model: 'acme/model-2' })) ids.push(id);
  const own = books.booked.filter(({ entry }) => entry.owner?.model === 'acme/model-2').map(({ id }) => id);
  expect(own.length).toBeGreaterThan(1000);
  expect(ids).toEqual(own);
  const first = await client.ledger.intervals({ limit: 3 });
  expect(first.intervals.length).toBe(3);
  const rest = await client.ledger.intervals({ from: first.next ?? '' });
  expect([...first.intervals, ...rest.intervals].map(({ id }) => id)).toEqual([
    ...new Set(books.booked.map(({ interval }) => interval.id)),
  ]);
  expect(rest.next).toBeNull();
});

it('ends an export whose reader has left, and refuses one too many before its answer begins', async () => {
  const client = new Commonwatt({ baseUrl: url, apiKey: house.operatorKey });
  // All at once: each has a thread to start before it can end.
  const asked = await Promise.allSettled(Array.from({ length: 12 }, () => client.ledger.download('jsonl')));
  const refused = asked.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []));
  expect(refused.length).toBeGreaterThan(0);
  for (const error of refused) expect(error).toMatchObject({ status: 429, code: 'LIMIT_EXCEEDED' });
  const streams = asked.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  expect(streams.length).toBeGreaterThanOrEqual(4);
  for (const stream of streams) await stream.cancel();
  for (let tries = 0; ; tries++) {
    const stream = await client.ledger.download('csv').catch(() => undefined);
    if (stream) {
      await stream.cancel();
      break;
    }
    expect(tries).toBeLessThan(50);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
});
