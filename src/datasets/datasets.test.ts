import { execFileSync } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Db, openDatabase } from '../storage/db.ts';
import { assertPassed, Datasets, datasetJson } from './datasets.ts';
import { defaultSplit } from './split.ts';

const digits = readFileSync(new URL('../../examples/digits/digits.csv', import.meta.url));
const acme = { organisationId: 'org-acme', organisation: 'acme', member: 'ada' };
const settings = { name: 'digits', label: 'even', split: defaultSplit };

let db: Db;
let datasets: Datasets;
let actions: string[];

beforeEach(async () => {
  db = await openDatabase(':memory:');
  for (const name of ['acme', 'globex'])
    await db
      .insertInto('organisations')
      .values({ id: `org-${name}`, name, created_at: new Date().toISOString() })
      .execute();
  const blobs = new Map<string, Buffer>();
  actions = [];
  datasets = new Datasets({
    db,
    artifacts: {
      put: async (organisationId, bytes) => {
        const sha256 = createHash('sha256').update(bytes).digest('hex');
        blobs.set(`${organisationId}/${sha256}`, bytes);
      },
      read: async (organisationId, sha256) => blobs.get(`${organisationId}/${sha256}`) ?? Buffer.alloc(0),
    },
    audit: async (_trx, event) => {
      actions.push(`${event.action} ${event.subject}`);
    },
  });
});

afterEach(() => db.destroy());

describe('the digits of the example', () => {
  test('are accepted, profiled and split', async () => {
    const record = await datasets.create(acme, settings, digits);
    expect(record).toMatchObject({
      name: 'digits',
      rows: 2200,
      label: 'even',
      split: { seed: 42, rows: { train: 1540, validation: 330, test: 330 } },
      report: { passed: true },
      createdBy: 'ada',
    });
    expect(record.features).toHaveLength(100);
    expect(record.report.checks.filter((check) => !check.passed).map((check) => check.name)).toEqual([
      'constant_columns', // the corners of the picture are always background
    ]);
    expect(actions).toEqual(['dataset.create acme/digits']);
    expect(datasetJson(record)).not.toHaveProperty('organisationId');
    expect(await datasets.list('org-acme')).toEqual([record]);
    expect(await datasets.get('org-acme', record.id)).toEqual(record);
  });

  test('are the same when read again from the store', async () => {
    const record = await datasets.create(acme, settings, digits);
    const first = await datasets.load('org-acme', 'digits');
    // Another data set takes the place of the one remembered.
    await datasets.create(acme, { ...settings, name: 'other' }, digits);
    const again = await datasets.load('org-acme', record.id);
    expect(again).not.toBe(first);
    expect(again).toEqual(first);
  });

  test('are shown row by row', async () => {
    const record = await datasets.create(acme, settings, digits);
    const { row, features, label } = await datasets.rowOf(record, 'test', 7);
    const loaded = await datasets.load('org-acme', 'digits');
    const index = loaded.split.test[7] ?? -1;
    const line = digits.toString().split('\n')[index + 1]?.split(',').map(Number) ?? [];
    expect(row).toBe(7);
    expect(Object.values(features)).toEqual(line.slice(0, 100).map(Math.fround));
    expect(label).toBe(line[100]);
    await expect(datasets.rowOf(record, 'test', 330)).rejects.toMatchObject({
      code: 'NOT_FOUND',
      hint: 'rows of this split are 0 to 329',
    });
  });
});

test('uploading the same again answers with what is there, also at the same time', async () => {
  const [a, b] = await Promise.all([
    datasets.create(acme, settings, digits),
    datasets.create(acme, settings, digits),
  ]);
  expect(a).toEqual(b);
  expect(await datasets.create(acme, settings, digits)).toEqual(a);
  expect(actions).toHaveLength(1);
});

test('other bytes or another split under the same name is a conflict', async () => {
  await datasets.create(acme, settings, digits);
  const other = Buffer.from('a,even\n1,0\n2,1\n');
  await expect(datasets.create(acme, settings, other)).rejects.toMatchObject({
    code: 'CONFLICT',
    message: expect.stringContaining('bytes'),
    hint: expect.stringContaining('digits-2'),
  });
  await expect(
    datasets.create(acme, { ...settings, split: { ...defaultSplit, seed: 1 } }, digits),
  ).rejects.toMatchObject({ code: 'CONFLICT', message: expect.stringContaining('seed') });
});

test("another organisation's data set looks like one that does not exist", async () => {
  const record = await datasets.create(acme, settings, digits);
  const missing = randomUUID();
  for (const name of ['digits', record.id, missing])
    await expect(datasets.load('org-globex', name)).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: `data set "${name}" does not exist`,
    });
});

test('data that fails its checks is kept with its report, and says why it cannot be used', async () => {
  const record = await datasets.create(acme, settings, Buffer.from('a,even\n1,0\n,1\n'));
  expect(record.report.passed).toBe(false);
  expect((await datasets.get('org-acme', 'digits')).report).toEqual(record.report);
  expect(() => assertPassed(record)).toThrow(/did not pass its checks: 1 values are missing/);
});

test('a file above the limit, or with a wrong name, is refused before it is read', async () => {
  const small = new Datasets({
    db,
    artifacts: { put: async () => {}, read: async () => Buffer.alloc(0) },
    audit: async () => {},
    maxBytes: 10,
  });
  await expect(small.create(acme, settings, digits)).rejects.toMatchObject({ code: 'PAYLOAD_TOO_LARGE' });
  await expect(datasets.create(acme, { ...settings, name: 'a--b' }, digits)).rejects.toMatchObject({
    code: 'INVALID_NAME',
  });
});

test('the file of the example is made again byte for byte', () => {
  const folder = mkdtempSync(join(tmpdir(), 'digits-'));
  const script = fileURLToPath(new URL('../../scripts/make-digits.mjs', import.meta.url));
  execFileSync(process.execPath, [script, join(folder, 'digits.csv')]);
  expect(readFileSync(join(folder, 'digits.csv')).equals(digits)).toBe(true);
  rmSync(folder, { recursive: true });
  const readme = readFileSync(new URL('../../examples/digits/README.md', import.meta.url), 'utf8');
  expect(readme).toContain(createHash('sha256').update(digits).digest('hex'));
  expect(digits.length).toBeLessThan(1_000_000);
});
