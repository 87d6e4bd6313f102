import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { verifyReceipt } from '../../cli/verify-receipt.ts';
import { unmetered } from '../../energy/footprint.ts';
import { Receipts } from '../../energy/receipts/receipts.ts';
import { openVault } from '../../vault/vault.ts';
import { type TestHouse, testHouse } from './testing/house.ts';

const keysPath = '/.well-known/commonwatt-receipts.json';
let folder: string;
let house: TestHouse;
let receipts: Receipts;
let admin: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'receipts-'));
  house = await testHouse();
  receipts = await Receipts.open({
    db: house.db,
    vault: await openVault(folder),
    always: false,
    issuer: null,
    settle: async () => {},
  });
  Object.assign(house.house.receipts, {
    ofEntry: receipts.ofEntry.bind(receipts),
    publicKeys: receipts.publicKeys.bind(receipts),
    rotate: receipts.rotate.bind(receipts),
  });
  ({ adminKey: admin } = await house.organisation('acme'));
});
afterAll(async () => {
  await house.close();
  rmSync(folder, { recursive: true });
});

const sign = () =>
  receipts.sign({
    requestId: 'r1',
    consumerId: 'o2',
    model: 'acme/digits',
    version: 1,
    versionId: 'v',
    footprint: unmetered,
    answeredAt: new Date(),
  });

it('anyone may have the public keys, and keep them for a while', async () => {
  const { status, json, headers } = await house.call(undefined, 'GET', keysPath);
  expect(status).toBe(200);
  expect(headers['cache-control']).toBe('public, max-age=300');
  expect(Object.keys(json.keys[0])).not.toContain('d');
  expect(await verifyReceipt(await sign(), json, Date.now())).toMatchObject({ valid: true });
});

it('only the operator replaces the key; what was signed before stays valid', async () => {
  const before = await sign();
  expect((await house.call(admin, 'POST', '/api/v1/receipt-keys')).status).toBe(403);
  const { status, json } = await house.call(house.operatorKey, 'POST', '/api/v1/receipt-keys');
  const after = await sign();
  const { json: keys } = await house.call(undefined, 'GET', keysPath);
  expect([status, keys.keys.map(({ kid }: { kid: string }) => kid)]).toEqual([
    201,
    [expect.any(String), json.kid],
  ]);
  for (const receipt of [before, after])
    expect(await verifyReceipt(receipt, keys, Date.now())).toMatchObject({ valid: true });
});

it('an entry that is not there has no receipt', async () => {
  const path = '/api/v1/ledger/nothing/receipt';
  expect((await house.call(undefined, 'GET', path)).status).toBe(401);
  const { status, json } = await house.call(admin, 'GET', path);
  expect([status, json.code]).toEqual([404, 'NOT_FOUND']);
  expect(json.hint).toContain('x-commonwatt-request-id');
});
