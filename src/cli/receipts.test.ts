import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CompactSign, exportJWK, generateKeyPair } from 'jose';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { run } from './cli.ts';

let folder: string;
let receipt: string;
let server: Server;
let url: string;
const asked: (string | undefined)[] = [];
const at = (name: string) => join(folder, name);

const claims = {
  iss: 'https://models.example',
  sub: 'r1',
  iat: Math.floor(Date.now() / 1000),
  time: new Date().toISOString(),
  consumer: 'o2',
  model: 'acme/digits',
  version: 3,
  modelDigest: 'sha256:abcd',
  energyWh: 0.01,
  carbonGCo2e: null,
  quality: 'measured',
  method: 'rapl',
  methodVersion: '7',
  settled: true,
  unknown: { carbonGCo2e: 'the zone is not known' },
};

/** An issuer that has nothing of ours but the words of a receipt. */
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'verify-'));
  const { privateKey, publicKey } = await generateKeyPair('EdDSA', { extractable: true });
  receipt = await new CompactSign(Buffer.from(JSON.stringify(claims)))
    .setProtectedHeader({ alg: 'EdDSA', kid: 'k1', typ: 'commonwatt-receipt+jwt' })
    .sign(privateKey);
  const keys = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'k1' }] });
  writeFileSync(at('keys.json'), keys);
  writeFileSync(at('receipt.txt'), `${receipt}\n`);
  writeFileSync(at('altered.json'), JSON.stringify({ receipt, claims: { ...claims, model: 'acme/other' } }));
  server = createServer((request, response) => {
    asked.push(request.headers.authorization);
    if (request.url === '/.well-known/commonwatt-receipts.json') response.end(keys);
    else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.close();
  rmSync(folder, { recursive: true });
});

async function verify(args: string[], input = '') {
  let out = '';
  let err = '';
  const code = await run(['impact', 'verify', ...args], {
    env: { HOME: folder },
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    outIsTty: false,
    errIsTty: false,
    inIsTty: false,
    readInput: async () => input,
    exitCode: 0,
  });
  return { code, out, err };
}

it('a receipt is verified offline, as text, as a file, or from standard input', async () => {
  const key = ['--key', at('keys.json')];
  const spoken = await verify([receipt, ...key]);
  expect(spoken).toMatchObject({ code: 0, err: '' });
  expect(spoken.out).toContain('valid: signed by https://models.example with key k1');
  expect(spoken.out).toContain('model     acme/digits:3  sha256:abcd');
  expect(spoken.out).toContain('measured by rapl (method version 7), settled');
  expect(spoken.out).toContain('unknown: carbonGCo2e: the zone is not known');
  expect((await verify([at('receipt.txt'), ...key])).out).toBe(spoken.out);
  expect((await verify(['-', ...key], receipt)).out).toBe(spoken.out);
  const { code, out } = await verify([receipt, ...key, '--json']);
  expect([code, JSON.parse(out)]).toEqual([0, { valid: true, kid: 'k1', claims }]);
});

it('or with the keys that its server publishes, which is given no API key', async () => {
  expect((await verify([receipt, '--server', url])).code).toBe(0);
  expect(asked).toEqual([undefined]);
});

it('says exactly what is wrong, and exits with 1', async () => {
  const key = ['--key', at('keys.json')];
  const [head, , signature] = receipt.split('.');
  const payload = Buffer.from(JSON.stringify({ ...claims, energyWh: 0 })).toString('base64url');
  const altered = await verify([`${head}.${payload}.${signature}`, ...key]);
  expect(altered).toMatchObject({ code: 1, out: expect.stringContaining('NOT VALID: bad signature') });
  const beside = await verify([at('altered.json'), ...key]);
  expect(beside.code).toBe(1);
  expect(beside.out).toContain('altered claim\n  model reads "acme/other"; signed was "acme/digits"');
  const json = await verify([`${head}.${payload}.${signature}`, ...key, '--json']);
  expect([json.code, JSON.parse(json.out)]).toMatchObject([1, { valid: false, failure: 'bad signature' }]);
});

it('wrong use exits with 2 and says what would be right', async () => {
  expect(await verify(['nothing-here', '--key', at('keys.json')])).toMatchObject({
    code: 2,
    err: expect.stringContaining('neither a file nor a receipt'),
  });
  expect(await verify([receipt, '--key', at('none.json')])).toMatchObject({
    code: 2,
    err: expect.stringContaining('does not exist'),
  });
  expect(await verify([receipt, '--key', at('receipt.txt')])).toMatchObject({
    code: 2,
    err: expect.stringContaining('no set of public keys'),
  });
  expect(await verify([receipt, '--server', `${url}/elsewhere`])).toMatchObject({
    code: 2,
    err: expect.stringContaining('answered 404'),
  });
});
