import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type TestHouse, testHouse } from './platform/testing/house.ts';

let house: TestHouse;
let webRoot: string;
let adminKey: string;
let memberKey: string;
beforeAll(async () => {
  webRoot = mkdtempSync(join(tmpdir(), 'commonwatt-web-'));
  mkdirSync(join(webRoot, 'assets'));
  writeFileSync(join(webRoot, 'index.html'), '<!doctype html><title>Commonwatt</title>');
  writeFileSync(join(webRoot, 'assets', 'index-abc123.js'), 'export {};');
  writeFileSync(join(webRoot, '.secret'), 'not for anybody');
  house = await testHouse({ webRoot });
  const { admin, adminKey: key } = await house.organisation('acme');
  adminKey = key;
  memberKey = (await house.member(admin, 'bob')).key;
  await house.app.ready();
});
afterAll(async () => {
  await house.close();
  rmSync(webRoot, { recursive: true });
});

describe('who may reach a route', () => {
  test('without credentials, only what is declared public', async () => {
    const open: string[] = [];
    for (const { method, path } of house.rules.list()) {
      const url = path
        .replaceAll(/:(number)/g, '1')
        .replaceAll(/:model/g, 'acme--digits')
        .replaceAll(/:\w+/g, 'x');
      const { statusCode } = await house.app.inject({
        method: method as 'GET',
        url,
        remoteAddress: '203.0.113.9',
      });
      if (statusCode !== 401) open.push(`${method} ${path}`);
    }
    expect(open.toSorted()).toEqual(
      [
        '/',
        '/.well-known/commonwatt-receipts.json',
        '/index.html',
        '/assets/index-abc123.js',
        '/docs',
        '/api/openapi.json',
        '/health/live',
        '/health/ready',
      ]
        .flatMap((path) => [`GET ${path}`, `HEAD ${path}`])
        .toSorted(),
    );
  });

  test('a wrong key is no key', async () => {
    for (const { method, path, access } of house.rules.list()) {
      if (access === 'public') continue;
      const { statusCode } = await house.app.inject({
        method: method as 'GET',
        url: path.replaceAll(/:\w+/g, '1'),
        remoteAddress: '203.0.113.9',
        headers: { authorization: `Bearer cw_${'A'.repeat(43)}` },
      });
      expect([method, path, statusCode]).toEqual([method, path, 401]);
    }
  });

  test('what is for the operator or admins refuses others', async () => {
    const tried = [
      [adminKey, '/api/v1/organisations', { name: 'x' }],
      [memberKey, '/api/v1/organisations', { name: 'x' }],
      [memberKey, '/api/v1/members', { name: 'x', role: 'member' }],
    ] as const;
    for (const [key, url, body] of tried)
      expect(await house.call(key, 'POST', url, body)).toMatchObject({
        status: 403,
        json: { code: 'FORBIDDEN' },
      });
  });

  test('metrics are free for this host only, whatever the headers say', async () => {
    const metrics = (remoteAddress: string, headers = {}) =>
      house.app.inject({ url: '/metrics', remoteAddress, headers });
    expect((await metrics('127.0.0.1')).body).toBe('commonwatt_up 1\n');
    const lies = { host: 'localhost', 'x-forwarded-for': '127.0.0.1' };
    expect((await metrics('203.0.113.9', lies)).statusCode).toBe(401);
    expect((await metrics('203.0.113.9', { authorization: `Bearer ${adminKey}` })).statusCode).toBe(403);
    const operator = { authorization: `Bearer ${house.operatorKey}` };
    expect((await metrics('203.0.113.9', operator)).statusCode).toBe(200);
  });

  test('a route that declares nothing does not start', async () => {
    const other = await testHouse();
    expect(() => other.app.get('/forgotten', () => 'open')).toThrow(
      'route GET /forgotten does not declare who may reach it',
    );
    await other.close();
  });

  test('a door that forgets to ask is guarded all the same', async () => {
    const other = await testHouse();
    other.app.get('/v2/models/:model', { config: { access: 'key' } }, (request) => request.principal);
    const answer = await other.call(undefined, 'GET', '/v2/models/acme--digits');
    expect(answer).toMatchObject({ status: 401, json: { error: expect.stringContaining('API key') } });
    const known = await other.call(other.operatorKey, 'GET', '/v2/models/acme--digits');
    expect(known.json).toMatchObject({ member: 'operator' });
    await other.close();
  });
});

describe('errors', () => {
  test('have the shape of the protocol', async () => {
    const api = await house.call(adminKey, 'GET', '/api/v1/nothing');
    expect(api.headers['content-type']).toContain('application/problem+json');
    expect(api.json).toEqual({
      type: 'about:blank',
      title: 'Not Found',
      status: 404,
      code: 'NOT_FOUND',
      detail: 'GET /api/v1/nothing does not exist',
      hint: 'the reference at /docs lists every route',
      requestId: api.headers['x-commonwatt-request-id'],
    });
    const v2 = await house.call(adminKey, 'GET', '/v2/nothing');
    expect(v2.status).toBe(404);
    expect(Object.keys(v2.json)).toEqual(['error']);
  });

  test('unknown methods, bad encodings and long names are answered', async () => {
    expect((await house.call(adminKey, 'DELETE', '/api/v1/models')).json.code).toBe('NOT_FOUND');
    const bad = await house.call(adminKey, 'GET', '/api/v1/models/%E0%A4%A');
    expect(bad).toMatchObject({ status: 400, json: { code: 'INVALID_REQUEST' } });
    const long = await house.call(adminKey, 'GET', `/api/v1/models/${'a'.repeat(500)}`);
    expect(long.status).toBeLessThan(500);
    expect(long.headers['content-type']).toContain('application/problem+json');
  });

  test('say what was wrong, where, and what would be right', async () => {
    const post = (body: object | string, headers = {}) =>
      house.call(adminKey, 'POST', '/api/v1/keys', body, headers);
    expect((await post({ name: 'x', surprise: 1 })).json).toMatchObject({
      status: 400,
      code: 'INVALID_REQUEST',
      detail: expect.stringContaining('"surprise"'),
      where: 'body',
    });
    expect((await post({})).json).toMatchObject({ where: 'body.name' });
    expect((await post('{"name": ', { 'content-type': 'application/json' })).json).toMatchObject({
      status: 400,
      code: 'MALFORMED_JSON',
    });
    expect((await post('', { 'content-type': 'application/json' })).json).toMatchObject({
      status: 400,
      code: 'MALFORMED_JSON',
    });
    expect((await post('name=x', { 'content-type': 'text/plain' })).json).toMatchObject({
      status: 415,
      code: 'UNSUPPORTED_MEDIA_TYPE',
    });
    expect((await post({ name: 'x'.repeat(1024 * 1024) })).json).toMatchObject({
      status: 413,
      code: 'PAYLOAD_TOO_LARGE',
    });
    expect((await post({ name: 'x', expiresAt: 'tomorrow' })).json).toMatchObject({
      where: 'body.expiresAt',
    });
    expect((await house.call(adminKey, 'GET', '/api/v1/impact?group_by=colour')).json).toMatchObject({
      where: 'query.group_by',
    });
  });

  test('a refused caller is told how to sign in', async () => {
    const answer = await house.call(undefined, 'GET', '/api/v1/whoami');
    expect(answer).toMatchObject({ status: 401, headers: { 'www-authenticate': 'Bearer' } });
    expect(answer.json.hint).toContain('Authorization: Bearer');
  });
});

describe('requests', () => {
  test('have an id of ours, and the echo of theirs', async () => {
    const ids = [];
    for (let count = 0; count < 3; count++) {
      const { headers } = await house.call(adminKey, 'GET', '/api/v1/whoami', undefined, {
        'x-request-id': 'theirs',
      });
      expect(headers['x-request-id']).toBe('theirs');
      ids.push(headers['x-commonwatt-request-id']);
    }
    expect(new Set(ids).size).toBe(3);
    expect(ids.toSorted()).toEqual(ids);
    const { headers } = await house.call(adminKey, 'GET', '/health/live', undefined, {
      'x-request-id': 'a'.repeat(201),
    });
    expect(headers['x-request-id']).toBeUndefined();
  });

  test('malformed HTTP does not end the server', async () => {
    await house.app.listen({ port: 0, host: '127.0.0.1' });
    const address = house.app.server.address();
    if (address === null || typeof address === 'string') throw new Error('the server has no port');
    const socket = connect(address.port, '127.0.0.1');
    socket.end('NONSENSE\r\n\r\n');
    const [answer] = await once(socket, 'data');
    expect(String(answer)).toContain('400');
    const [response] = await once(
      httpRequest({ port: address.port, path: '/health/live' }).end(),
      'response',
    );
    expect(response.statusCode).toBe(200);
    response.resume();
  });
});

describe('the page', () => {
  test('is served with a policy that lets nothing else in', async () => {
    const page = await house.call(undefined, 'GET', '/');
    expect(page.text).toContain('<title>Commonwatt</title>');
    expect(page.headers).toMatchObject({
      'content-security-policy': expect.stringContaining("default-src 'self'"),
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-cache',
    });
    const asset = await house.call(undefined, 'GET', '/assets/index-abc123.js');
    expect(asset.headers['cache-control']).toContain('immutable');
  });

  test.each(['/.secret', '/assets/../.secret', '/assets/%2e%2e/.secret', '/assets%2findex-abc123.js'])(
    'nothing but its own files: %s',
    async (url) => {
      expect((await house.call(undefined, 'GET', url)).status).toBe(404);
    },
  );
});

describe('the reference', () => {
  test('describes every route of the platform', async () => {
    const { json } = await house.call(undefined, 'GET', '/api/openapi.json');
    expect(json.openapi).toBe('3.1.0');
    const described = Object.entries<object>(json.paths).flatMap(([path, operations]) =>
      Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
    );
    const routes = house.rules
      .list()
      .filter(({ method, path }) => method !== 'HEAD' && path.startsWith('/api/v1'))
      .map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, '{$1}')}`);
    expect(described).toEqual(expect.arrayContaining(routes));
    expect(json.paths['/api/v1/models/{model}/grants'].post.responses).toMatchObject({
      201: expect.anything(),
      409: { description: 'CONFLICT' },
    });
  });

  test('is a page without outside assets', async () => {
    const { text } = await house.call(undefined, 'GET', '/docs');
    expect(text).toContain('/api/v1/models/{model}/explain');
    expect(text).not.toMatch(/<script|src=|href="http/);
  });
});
