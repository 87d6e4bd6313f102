import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type TestHouse, testHouse } from './testing/house.ts';

let house: TestHouse;
beforeAll(async () => {
  house = await testHouse();
});
afterAll(() => house.close());

describe('the server', () => {
  test('is shown to its operator, and to nobody else', async () => {
    const shown = await house.call(house.operatorKey, 'GET', '/api/v1/server');
    expect(shown.status).toBe(200);
    expect(shown.json).toEqual(house.house.server.facts());
    const { adminKey } = await house.organisation('acme');
    for (const [method, url] of [
      ['GET', '/api/v1/server'],
      ['POST', '/api/v1/runners/restart'],
    ] as const) {
      expect((await house.call(undefined, method, url)).status).toBe(401);
      const refused = await house.call(adminKey, method, url);
      expect(refused.status).toBe(403);
      expect(refused.json.code).toBe('FORBIDDEN');
    }
    expect(house.house.server.facts().runners.restarts).toBe(0);
  });

  test('has its runners replaced when its operator asks', async () => {
    const answer = await house.call(house.operatorKey, 'POST', '/api/v1/runners/restart');
    expect(answer.status).toBe(200);
    expect(answer.json).toEqual({ runners: 1, tookMs: expect.any(Number) });
    expect(house.house.server.facts().runners.restarts).toBe(1);
  });
});
