/** Cards, statements, SCI scores and manifests through the doors: who may have them, in which form, and what is wrong. */
import { beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { makeMonth } from '../../energy/exports/testing/month.ts';
import { type TestHouse, testHouse } from './testing/house.ts';

let house: TestHouse;
let operatorKey: string;
let acmeKey: string;
let globexKey: string;
let strangerKey: string;

beforeAll(async () => {
  house = await testHouse();
  operatorKey = house.operatorKey;
  const keys: Record<string, string> = {};
  for (const name of ['acme', 'globex', 'initech']) {
    const { status, json } = await house.call(operatorKey, 'POST', '/api/v1/organisations', { name });
    expect(status).toBe(201);
    keys[name] = json.admin.apiKey;
  }
  ({ acme: acmeKey = '', globex: globexKey = '', initech: strangerKey = '' } = keys);
  const imported = await house.call(
    acmeKey,
    'POST',
    '/api/v1/models/acme--digits/versions',
    Buffer.from('model 1'),
    {
      'content-type': 'application/octet-stream',
    },
  );
  expect(imported.status).toBe(201);
  const grant = { organisation: 'globex', permissions: ['infer'] };
  expect((await house.call(acmeKey, 'POST', '/api/v1/models/acme--digits/grants', grant)).status).toBe(201);
  await makeMonth(house.db);
});

describe('an impact card', () => {
  const card = '/api/v1/models/acme--digits/card';

  it('is for whoever may see the model, in three forms', async () => {
    for (const key of [acmeKey, globexKey]) {
      const { status, json } = await house.call(key, 'GET', card);
      expect(status).toBe(200);
      expect(json).toMatchObject({
        model: 'acme/digits',
        version: 1,
        training: null,
        co2_eq_emissions: null,
      });
    }
    const markdown = await house.call(acmeKey, 'GET', card, undefined, { accept: 'text/markdown' });
    expect(markdown.headers['content-type']).toContain('text/markdown');
    expect(markdown.text).toContain('# Environmental impact of acme/digits, version 1');
    const spdx = await house.call(acmeKey, 'GET', `${card}?format=spdx`);
    expect(spdx.headers['content-type']).toContain('application/ld+json');
    expect(JSON.parse(spdx.text)['@context']).toContain('spdx.org/rdf/3.0.1');
  });

  it('is not there for others, nor for versions that do not exist', async () => {
    expect((await house.call(strangerKey, 'GET', card)).status).toBe(404);
    expect((await house.call(undefined, 'GET', card)).status).toBe(401);
    expect((await house.call(acmeKey, 'GET', `${card}?version=7`)).json.code).toBe('VERSION_NOT_FOUND');
    expect((await house.call(acmeKey, 'GET', `${card}?format=pdf`)).status).toBe(400);
  });
});

describe('a statement', () => {
  const statement = '/api/v1/statements/acme/2030-01';

  it('is for the organisation itself and the operator', async () => {
    for (const key of [acmeKey, operatorKey])
      expect((await house.call(key, 'GET', '/api/v1/statements/acme/2020-01')).status).toBe(200);
    for (const key of [globexKey, strangerKey]) {
      const { status, json } = await house.call(key, 'GET', statement);
      expect([status, json.code]).toEqual([404, 'NOT_FOUND']);
    }
    expect((await house.call(undefined, 'GET', statement)).status).toBe(401);
  });

  it('is a page that may load and run nothing', async () => {
    const page = await house.call(acmeKey, 'GET', '/api/v1/statements/acme/2020-01', undefined, {
      accept: 'text/html',
    });
    expect(page.headers['content-type']).toContain('text/html');
    expect(page.headers['content-security-policy']).toContain("default-src 'none'");
    expect(page.text).toContain('Nothing was booked in this month.');
  });

  it.each([
    ['2020-13', 400],
    ['20-1', 400],
    ['2099-01', 400],
  ])('of %s is refused', async (month, status) => {
    const { json, status: answered } = await house.call(acmeKey, 'GET', `/api/v1/statements/acme/${month}`);
    expect([answered, json.code]).toEqual([status, 'INVALID_REQUEST']);
  });
});

describe('SCI scores and manifests', () => {
  const window = 'from=2030-01-30T00:00:00Z&to=2030-02-01T00:00:00Z';

  it('are of the whole platform for the operator, of the own organisation for others', async () => {
    const all = (await house.call(operatorKey, 'GET', `/api/v1/impact/sci?${window}`)).json;
    expect(all).toMatchObject({ functionalUnit: 'request', functionalUnits: 528, methodVersion: '2' });
    expect(all.sciG).toBeCloseTo((all.energyKwh * all.gPerKwh + all.embodiedG) / 528, 12);
    // Made with other ids than the organisations of this house: nothing of it is theirs.
    const own = (await house.call(acmeKey, 'GET', `/api/v1/impact/sci?${window}`)).json;
    expect(own).toMatchObject({ functionalUnits: 0, sciG: null });
    expect(own.unknown.sciG).toContain('no request');
  });

  it('come as YAML', async () => {
    const answer = await house.call(operatorKey, 'GET', `/api/v1/impact/manifest?${window}&step=day`);
    expect(answer.headers['content-type']).toContain('application/yaml');
    expect(parse(answer.text).tree.children.windows.inputs).toHaveLength(2);
  });

  it.each([
    ['sci?functional_unit=token', 400],
    ['sci?from=2030-02-01T00:00:00Z&to=2030-01-01T00:00:00Z', 400],
    ['manifest?from=1990-01-01T00:00:00Z&step=hour', 400],
    ['manifest?step=week', 400],
    ['manifest?from=yesterday', 400],
  ])('%s is refused', async (path, status) => {
    expect((await house.call(operatorKey, 'GET', `/api/v1/impact/${path}`)).status).toBe(status);
  });
});
