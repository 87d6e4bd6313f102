import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type TestHouse, testHouse } from './testing/house.ts';

let house: TestHouse;
beforeAll(async () => {
  house = await testHouse();
});
afterAll(() => house.close());

describe('the grid', () => {
  test('is shown to whoever has a key: now, forecast, sources', async () => {
    const { adminKey } = await house.organisation('acme');
    const { status, json } = await house.call(adminKey, 'GET', '/api/v1/grid?hours=6');
    expect(status).toBe(200);
    expect(json.current).toEqual({
      zone: 'DEU',
      gPerKwh: 342.06,
      kind: 'average',
      scope: 'life-cycle',
      estimated: true,
      stale: false,
      source: expect.stringContaining('Ember'),
      at: null,
      instead: null,
    });
    const [slot] = json.forecast;
    expect(Date.parse(slot.end) - Date.parse(slot.start)).toBe(6 * 3_600_000);
    expect(json.sources).toEqual([expect.objectContaining({ name: 'yearly DEU', problem: null })]);
  });

  test('is not shown without a key, nor for no hours', async () => {
    expect((await house.call(undefined, 'GET', '/api/v1/grid')).status).toBe(401);
    expect((await house.call(house.operatorKey, 'GET', '/api/v1/grid?hours=0')).status).toBe(400);
  });
});
