import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { type TestHouse, testHouse } from '../api/platform/testing/house.ts';
import { makeMonth } from '../energy/exports/testing/month.ts';
import { run } from './cli.ts';

const folder = mkdtempSync(join(tmpdir(), 'cli-report-files-'));
let house: TestHouse;
let url: string;
let acmeKey: string;

beforeAll(async () => {
  house = await testHouse();
  const made = await house.call(house.operatorKey, 'POST', '/api/v1/organisations', { name: 'acme' });
  acmeKey = made.json.admin.apiKey;
  const type = { 'content-type': 'application/octet-stream' };
  const imported = await house.call(
    acmeKey,
    'POST',
    '/api/v1/models/acme--digits/versions',
    Buffer.from('model 1'),
    type,
  );
  expect(imported.status).toBe(201);
  await makeMonth(house.db);
  await house.app.listen({ host: '127.0.0.1', port: 0 });
  url = `http://127.0.0.1:${(house.app.server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  house.app.server.closeAllConnections();
  await house.close();
});

const call = (...args: string[]) => callAs(acmeKey, ...args);

async function callAs(apiKey: string, ...args: string[]) {
  let out = '';
  let err = '';
  const terminal = {
    env: { COMMONWATT_URL: url, COMMONWATT_API_KEY: apiKey, HOME: folder },
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
  return { code: await run(['impact', ...args], terminal), out, err };
}

describe('commonwatt impact', () => {
  it('card: for people, as a model card, and for bills of materials', async () => {
    const { out } = await call('card', 'acme/digits');
    expect(out).toMatch(/^acme\/digits:1, sha256 [0-9a-f]{12}…/);
    const markdown = await call('card', 'acme/digits', '--format', 'huggingface');
    expect(markdown.out).toContain('# Environmental impact of acme/digits, version 1');
    const file = join(folder, 'card.json');
    const spdx = await call('card', 'acme/digits', '--format', 'spdx', '--output', file, '--json');
    expect(JSON.parse(spdx.out)).toEqual({ output: file, sizeBytes: readFileSync(file).length });
    expect(JSON.parse(readFileSync(file, 'utf8'))['@context']).toContain('spdx.org/rdf/3.0.1');
  });

  it('statement: a page to print, of one’s own organisation', async () => {
    const file = join(folder, 'january.html');
    expect((await call('statement', '2020-01', '--output', file)).code).toBe(0);
    const page = readFileSync(file, 'utf8');
    expect(page).toMatch(/^<!doctype html>/i);
    expect(page).toContain('acme');
    const json = JSON.parse((await call('statement', '2020-01', '--json')).out);
    expect(json).toMatchObject({ organisation: 'acme', month: '2020-01' });
    expect((await call('statement', '2020-01', 'globex')).err).toContain('whose statements you may see');
  });

  it('sci: by its parts, E · I + M over R', async () => {
    const window = ['--from', '2030-01-01', '--to', '2030-02-01'];
    const sci = JSON.parse((await callAs(house.operatorKey, 'sci', ...window, '--json')).out);
    expect(sci.functionalUnits).toBeGreaterThan(0);
    expect(sci.sciG).toBeCloseTo((sci.energyKwh * sci.gPerKwh + sci.embodiedG) / sci.functionalUnits, 12);
    expect((await call('sci', ...window)).out).toContain('gCO2e per request');
  });

  it('manifest: what the Impact Framework reads', async () => {
    const { out } = await call('manifest', '--from', '2030-01-01', '--to', '2030-01-03', '--step', 'day');
    expect(parse(out)).toMatchObject({ name: 'commonwatt-acme', initialize: { plugins: {} } });
  });

  it('refuses what cannot be, and leaves no part of a file', async () => {
    const before = readdirSync(folder);
    expect(await call('statement', '2030-13')).toMatchObject({
      code: 2,
      err: expect.stringContaining('2026-01'),
    });
    expect(await call('card', 'acme/digits', '--output', join(folder, 'x'))).toMatchObject({ code: 2 });
    const unknown = await call('card', 'acme/none', '--format', 'spdx', '--output', join(folder, 'x'));
    expect(unknown).toMatchObject({ code: 1, err: expect.stringContaining('does not exist') });
    expect(readdirSync(folder)).toEqual(before);
  });
});
