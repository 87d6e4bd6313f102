/** The routes of consolidation and regions: who may, and what they answer. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type TestHouse, testHouse } from './testing/house.ts';

let house: TestHouse;
let adminKey: string;
beforeAll(async () => {
  house = await testHouse();
  adminKey = (await house.organisation('acme')).adminKey;
});
afterAll(() => house.close());

describe('consolidation', () => {
  test('is the operator’s alone', async () => {
    for (const [method, url] of [
      ['GET', '/api/v1/consolidation'],
      ['POST', '/api/v1/consolidation/perform'],
      ['POST', '/api/v1/consolidation/undo'],
    ] as const) {
      expect((await house.call(undefined, method, url)).status).toBe(401);
      expect((await house.call(adminKey, method, url)).json).toMatchObject({ code: 'FORBIDDEN' });
    }
  });

  test('proposes nothing where nothing is served, and takes back nothing that was not done', async () => {
    const shown = await house.call(house.operatorKey, 'GET', '/api/v1/consolidation');
    expect(shown.json).toMatchObject({
      mode: 'propose',
      steps: [],
      performed: null,
      before: { runners: 0, rur: null },
    });
    expect((await house.call(house.operatorKey, 'POST', '/api/v1/consolidation/perform')).status).toBe(200);
    expect((await house.call(house.operatorKey, 'POST', '/api/v1/consolidation/undo')).json.code).toBe(
      'CONFLICT',
    );
  });
});

describe('regions', () => {
  test('are none unless configured, for whoever has a key', async () => {
    expect((await house.call(undefined, 'GET', '/api/v1/regions')).status).toBe(401);
    const shown = await house.call(adminKey, 'GET', '/api/v1/regions?maxLatencyMs=50&hours=2');
    expect(shown.json).toEqual({ best: null, why: null, regions: [], forecast: [] });
    expect((await house.call(adminKey, 'GET', '/api/v1/regions?maxLatencyMs=-1')).status).toBe(400);
  });
});
