import { createHmac } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runPython } from '../../../test/python.ts';
import { verifyReceipt } from '../../cli/verify-receipt.ts';
import { configSchema } from '../../config.ts';
import { type TestPlatform, testPlatform } from '../../gate/testing/platform.ts';
import { openVault, type Vault } from '../../vault/vault.ts';
import { createEnergy, type Energy } from '../create.ts';
import type { ModelUse, WorkContext } from '../energy.ts';
import { unmetered } from '../footprint.ts';
import { gramsCo2e, joules } from '../units.ts';
import { receiptWrappingKeys } from './keys.ts';
import { Receipts } from './receipts.ts';

const sha256 = 'ab'.repeat(32);
let folder: string;
let platform: TestPlatform;
let vault: Vault;
let energy: Energy;
let use: ModelUse;
let clock = Date.parse('2026-11-01T12:00:00Z');

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'receipts-'));
  platform = await testPlatform();
  vault = await openVault(folder);
  const { admin } = await platform.organisation('acme');
  const model = await platform.model(admin, 'digits');
  use = { modelId: model.id, model: 'acme/digits', version: 1, owner: admin };
  await platform.db
    .insertInto('versions')
    .values({
      id: 'v1',
      model_id: model.id,
      number: 1,
      format: 'onnx',
      artifact_sha256: sha256,
      onnx_sha256: sha256,
      size_bytes: 1,
      signature: '{}',
      created_at: '2026-01-01T00:00:00Z',
      created_by: 'ada',
      job_id: null,
      dataset_id: null,
    })
    .execute();
  energy = createEnergy({
    db: platform.db,
    config: configSchema.parse({ energy: { meter: 'cpu-time' } }),
    dataFolder: folder,
    log: pino({ level: 'silent' }),
    metrics: new Registry(),
  });
  await energy.start();
});
afterAll(async () => {
  await energy.stop();
  await platform.close();
  rmSync(folder, { recursive: true });
});

const open = (issuer: string | null = 'https://models.example') =>
  Receipts.open({
    db: platform.db,
    vault,
    always: false,
    issuer,
    settle: () => energy.settle(),
    now: () => new Date(clock),
  });

const footprint = {
  ...unmetered,
  energyJ: joules(36),
  carbonGCo2e: gramsCo2e(0.5),
  quality: 'measured',
  method: 'rapl',
  methodVersion: '7',
  unknown: {},
} as const;
const facts = () => ({
  requestId: 'r1',
  consumerId: 'o2',
  model: 'acme/digits',
  version: 1,
  versionId: 'v1',
  footprint,
  answeredAt: new Date(clock),
});
const claims = () => ({
  iss: 'https://models.example',
  sub: 'r1',
  iat: clock / 1000,
  time: new Date(clock).toISOString(),
  consumer: 'o2',
  model: 'acme/digits',
  version: 1,
  modelDigest: `sha256:${sha256}`,
  energyWh: 0.01,
  carbonGCo2e: 0.5,
  quality: 'measured',
  method: 'rapl',
  methodVersion: '7',
  settled: false,
  unknown: {},
});

describe('a receipt', () => {
  it('says what was used, and anyone verifies it with the published keys', async () => {
    const receipts = await open();
    const receipt = await receipts.sign(facts());
    const keys = receipts.publicKeys();
    expect(await verifyReceipt(receipt, keys, clock)).toEqual({
      valid: true,
      kid: keys.keys[0]?.kid,
      claims: claims(),
    });
  });

  it('verifies in Python with PyJWT, by the key whose thumbprint it names', async () => {
    const receipts = await open();
    const receipt = await receipts.sign(facts());
    const script = `
import json, sys, jwt
given = json.load(sys.stdin)
header = jwt.get_unverified_header(given["receipt"])
[key] = [key for key in jwt.PyJWKSet.from_dict(given["jwks"]).keys if key.key_id == header["kid"]]
claims = jwt.decode(given["receipt"], key.key, algorithms=["EdDSA"], options={"verify_iat": False})
try:
    jwt.decode(given["altered"], key.key, algorithms=["EdDSA"], options={"verify_iat": False})
    refused = None
except jwt.InvalidSignatureError as error:
    refused = type(error).__name__
print(json.dumps({"header": header, "claims": claims, "refused": refused}))`;
    const [head, payload, signature] = receipt.split('.');
    const altered = [head, encoded({ ...decoded(payload), energyWh: 0.001 }), signature].join('.');
    const answer = runPython(script, [], JSON.stringify({ receipt, altered, jwks: receipts.publicKeys() }));
    expect(JSON.parse(answer)).toEqual({
      header: { alg: 'EdDSA', kid: receipts.publicKeys().keys.at(-1)?.kid, typ: 'commonwatt-receipt+jwt' },
      claims: claims(),
      refused: 'InvalidSignatureError',
    });
  });

  it('says of an unknown figure why', async () => {
    const receipts = await open();
    const receipt = await receipts.sign({ ...facts(), footprint: unmetered, versionId: 'gone' });
    expect(await verifyReceipt(receipt, receipts.publicKeys(), clock)).toMatchObject({
      valid: true,
      claims: {
        energyWh: null,
        carbonGCo2e: null,
        modelDigest: null,
        unknown: {
          energyWh: 'metering is off',
          carbonGCo2e: 'metering is off',
          modelDigest: 'this version is not kept any more',
        },
      },
    });
  });
});

const decoded = (part = '') => JSON.parse(Buffer.from(part, 'base64url').toString());
const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

describe('what is not what was signed is refused, and named', () => {
  it('any changed character of it', async () => {
    const receipts = await open();
    const receipt = await receipts.sign(facts());
    const keys = receipts.publicKeys();
    await fc.assert(
      fc.asyncProperty(fc.nat(receipt.length - 1), fc.constantFrom(...'AZaz09-_.'), async (at, put) => {
        const changed = receipt.slice(0, at) + put + receipt.slice(at + 1);
        fc.pre(changed !== receipt);
        const verdict = await verifyReceipt(changed, keys, clock);
        // The last character of a signature has bits that mean nothing: those bytes are the same.
        const same = Buffer.from(changed.split('.')[2] ?? '', 'base64url').equals(
          Buffer.from(receipt.split('.')[2] ?? '', 'base64url'),
        );
        expect(verdict.valid && !same).toBe(false);
      }),
      { numRuns: 300 },
    );
  });

  it('other algorithms: none, and HMAC with the public key as its secret', async () => {
    const receipts = await open();
    const [, payload] = (await receipts.sign(facts())).split('.');
    const keys = receipts.publicKeys();
    const [key] = keys.keys;
    const header = (alg: string) => encoded({ alg, kid: key?.kid, typ: 'commonwatt-receipt+jwt' });
    const refused = { valid: false, failure: 'wrong algorithm' };
    for (const alg of ['none', 'None', 'nOnE'])
      expect(await verifyReceipt(`${header(alg)}.${payload}.`, keys, clock)).toMatchObject(refused);
    for (const secret of [key?.x ?? '', JSON.stringify(key), Buffer.from(key?.x ?? '', 'base64url')]) {
      const signed = `${header('HS256')}.${payload}`;
      const mac = createHmac('sha256', secret).update(signed).digest('base64url');
      expect(await verifyReceipt(`${signed}.${mac}`, keys, clock)).toMatchObject(refused);
    }
    // And with the right word over the wrong signature.
    expect(await verifyReceipt(`${header('EdDSA')}.${payload}.`, keys, clock)).toMatchObject({
      valid: false,
      failure: 'bad signature',
    });
  });

  it('a key of its own, a claim beside it that reads otherwise, a time that cannot be', async () => {
    const receipts = await open();
    const receipt = await receipts.sign(facts());
    const keys = receipts.publicKeys();
    const [mine] = keys.keys;
    if (!mine) throw new Error('there is a key');
    const strange = { keys: [{ ...mine, kid: 'another' }] };
    expect(await verifyReceipt(receipt, strange, clock)).toMatchObject({ failure: 'unknown key' });
    const handed = (energyWh: number) => JSON.stringify({ receipt, claims: { ...claims(), energyWh } });
    expect(await verifyReceipt(handed(0.01), keys, clock)).toMatchObject({ valid: true });
    expect(await verifyReceipt(handed(0.001), keys, clock)).toEqual({
      valid: false,
      failure: 'altered claim',
      detail: 'energyWh reads 0.001; signed was 0.01',
    });
    expect(await verifyReceipt(receipt, keys, clock - 61_000)).toMatchObject({
      failure: 'wrong time',
      detail: expect.stringContaining('61 s ahead of this clock'),
    });
    expect(await verifyReceipt(receipt, keys, clock - 59_000)).toMatchObject({ valid: true });
    expect(await verifyReceipt('hello', keys, clock)).toMatchObject({ failure: 'malformed' });
    expect(await verifyReceipt('a.b.c', keys, clock)).toMatchObject({ failure: 'malformed' });
  });
});

describe('keys', () => {
  it('are made once, and rest encrypted under the master key', async () => {
    const before = (await open()).publicKeys();
    expect((await open()).publicKeys()).toEqual(before);
    const { value } = await platform.db
      .selectFrom('settings')
      .where('name', '=', 'receipt-keys')
      .select('value')
      .executeTakeFirstOrThrow();
    expect(value).not.toContain('"d"');
    expect(await receiptWrappingKeys(platform.db)).toEqual([vault.keyId]);
    const otherFolder = mkdtempSync(join(tmpdir(), 'receipts-'));
    const other = await openVault(otherFolder);
    await expect(
      Receipts.open({ db: platform.db, vault: other, always: false, issuer: null, settle: async () => {} }),
    ).rejects.toMatchObject({ code: 'STORE_FAILED', message: expect.stringContaining('master key') });
    rmSync(otherFolder, { recursive: true });
    // What was written to disk is the wrapped form only.
    expect(readFileSync(join(folder, 'keys/master.key')).length).toBe(32);
  });

  it('that were replaced still verify what they signed, and nothing later', async () => {
    const receipts = await open();
    const old = await receipts.sign(facts());
    const first = receipts.publicKeys().keys.at(-1);
    clock += 3_600_000;
    const kid = await receipts.rotate();
    expect(kid).not.toBe(first?.kid);
    const keys = receipts.publicKeys();
    expect(keys.keys.map((key) => key.kid)).toEqual([first?.kid, kid]);
    const next = await receipts.sign(facts());
    expect(await verifyReceipt(old, keys, clock)).toMatchObject({ valid: true, kid: first?.kid });
    expect(await verifyReceipt(next, keys, clock)).toMatchObject({ valid: true, kid });
    // Whoever stole the old key cannot sign for today.
    const retiredLongAgo = keys.keys.map((key) =>
      key.kid === kid ? { ...key, commonwatt_until: new Date(clock - 3_600_000).toISOString() } : key,
    );
    expect(await verifyReceipt(next, { keys: retiredLongAgo }, clock)).toMatchObject({
      failure: 'wrong time',
      detail: expect.stringContaining('was replaced'),
    });
    expect((await open()).publicKeys()).toEqual(keys);
    // Two at once: neither key is lost.
    const both = await Promise.all([receipts.rotate(), receipts.rotate()]);
    expect(receipts.publicKeys().keys.map((key) => key.kid)).toEqual([first?.kid, kid, ...both]);
  });

  it('name the installation where the operator names no issuer', async () => {
    const { issuer } = await open(null);
    expect(issuer).toMatch(/^urn:uuid:[0-9a-f-]{36}$/);
    expect((await open(null)).issuer).toBe(issuer);
  });
});

describe('a settled receipt', () => {
  const context = (requestId: string, organisationId: string): WorkContext => ({
    ...({ memberId: null } as object),
    kind: 'inference',
    requestId,
    consumer: { organisationId, organisation: 'globex' },
    keyId: null,
    grantId: null,
    jobId: null,
  });

  it('says what the ledger says, to who asked and to nobody else', async () => {
    energy.recordBatch({
      use,
      runnerPid: process.pid,
      computeNs: 2e6,
      items: [{ context: context('booked-1', 'o2'), rows: 1 }],
    });
    const receipts = await open();
    clock = Date.now();
    const { receipt, claims: said } = await receipts.ofEntry('booked-1', 'o2');
    const entry = await platform.db
      .selectFrom('ledger_entries')
      .where('id', '=', 'booked-1')
      .select(['energy_j', 'carbon_g'])
      .executeTakeFirstOrThrow();
    expect(said).toMatchObject({
      sub: 'booked-1',
      settled: true,
      consumer: 'o2',
      model: 'acme/digits',
      version: 1,
      modelDigest: `sha256:${sha256}`,
      carbonGCo2e: entry.carbon_g,
      method: 'cpu-time',
    });
    expect(Math.abs((said.energyWh ?? 0) * 3600 - entry.energy_j)).toBeLessThan(1e-12);
    expect(entry.energy_j).toBeGreaterThan(0);
    const handed = JSON.stringify({ receipt, claims: said });
    expect(await verifyReceipt(handed, receipts.publicKeys(), clock)).toMatchObject({ valid: true });
    await expect(receipts.ofEntry('booked-1', 'o1')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect((await receipts.ofEntry('booked-1', null)).claims.sub).toBe('booked-1');
    const [idle] = await platform.db
      .selectFrom('ledger_entries')
      .where('kind', '=', 'idle')
      .select('id')
      .execute();
    await expect(receipts.ofEntry(idle?.id ?? '', null)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});
