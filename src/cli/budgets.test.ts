import { mkdtempSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Budget } from '@commonwatt/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestHouse, testHouse } from '../api/platform/testing/house.ts';
import { parseAmount, parseOf, parsePrice, parseWarnAt } from './budgets.ts';
import { run } from './cli.ts';

const folder = mkdtempSync(join(tmpdir(), 'cli-budgets-'));
let house: TestHouse;
let url: string;

beforeAll(async () => {
  house = await testHouse();
  await house.app.listen({ host: '127.0.0.1', port: 0 });
  url = `http://127.0.0.1:${(house.app.server.address() as AddressInfo).port}`;
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
  return { code: await run(['budgets', ...args], terminal), out, err };
}

describe('commonwatt budgets', () => {
  it('sets, shows, changes and removes a budget', async () => {
    const organisation = 'commonwatt';
    const set = await call('set', '50Wh/day', '--of', `organisation:${organisation}`, '--warn-at', '90');
    expect(set.err).toBe('');
    expect(set.out).toMatch(
      new RegExp(`^organisation ${organisation} may use at most 50 Wh/day \\(budget .{36}\\)\n$`),
    );
    const [budget] = (JSON.parse((await call('--json')).out) as { budgets: Budget[] }).budgets;
    expect(budget).toMatchObject({ unit: 'energyWh', amount: 50, mode: 'hard', warnAt: 0.9, used: 0 });
    const id = budget?.id ?? '';
    const changed = await call('set', '20Wh/day', id, '--mode', 'shadow');
    expect(changed.out).toContain('is counted against 20 Wh/day');
    expect((await call()).out).toMatch(/20 Wh\/day +shadow +0 +0 % +0 +0 would have been/);
    const other = await call('set', '20Wh/month', id);
    expect(other).toMatchObject({ code: 2, err: expect.stringContaining('is of 20 Wh/day') });
    expect((await call('remove', id)).code).toBe(0);
    expect((await call('remove', id)).err).toContain('does not exist');
  });

  it('says what is missing', async () => {
    expect(await call('set', '50Wh/day')).toMatchObject({
      code: 2,
      err: expect.stringContaining('a budget of what?'),
    });
    expect((await call('set', '50EUR/day', '--of', 'organisation:nobody')).err).toContain('needs prices');
    expect((await call('set', '50J/day', '--of', 'organisation:nobody')).err).toContain('50Wh/day');
  });
});

describe('what is written', () => {
  it('of amounts', () => {
    expect(parseAmount('1.5gCO2e/hour')).toEqual({
      amount: 1.5,
      unit: 'carbonGCo2e',
      currency: null,
      period: 'hour',
    });
    expect(parseAmount('5EUR/month')).toMatchObject({ amount: 5, unit: 'money', currency: 'EUR' });
    for (const wrong of ['5', '5/day', '0Wh/day', '-1Wh/day', '1Wh/year', '1constructor/day', '1e999Wh/day'])
      expect(() => parseAmount(wrong)).toThrow('50Wh/day');
  });

  it('of subjects, prices and warnings', () => {
    expect(parseOf('model:acme/digits')).toEqual({ kind: 'model', name: 'acme/digits' });
    expect(() => parseOf('acme')).toThrow('kinds are key, member');
    const prices = ['0.001/request', 'acme/digits=0.25/Wh', 'acme/digits=1e-6/row'].reduce<
      ReturnType<typeof parsePrice>
    >((before, text) => parsePrice(text, before), []);
    expect(prices).toEqual([{ perRequest: 0.001 }, { of: 'acme/digits', perWh: 0.25, perRow: 1e-6 }]);
    expect(() => parsePrice('1/joule', [])).toThrow('per request, row or Wh');
    expect(parseWarnAt('75%')).toBe(0.75);
    expect(parseWarnAt('never')).toBeNull();
    for (const wrong of ['0', '101', 'x', '']) expect(() => parseWarnAt(wrong)).toThrow('80');
  });
});
