import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CommonwattError } from '../../errors.ts';
import { type TestHouse, testHouse } from './testing/house.ts';

let house: TestHouse;
let acme: string;
let bob: string;
let globex: string;
beforeEach(async () => {
  house = await testHouse();
  const owner = await house.organisation('acme');
  acme = owner.adminKey;
  bob = (await house.member(owner.admin, 'bob')).key;
  globex = (await house.organisation('globex')).adminKey;
});
afterEach(() => house.close());

const bytes = Buffer.from('model of digits');
const octets = { 'content-type': 'application/octet-stream' };
const importModel = (key: string, model: string, content: Buffer = bytes) =>
  house.call(key, 'POST', `/api/v1/models/${model}/versions`, content, octets);
const share = (body: object = {}) =>
  house.call(acme, 'POST', '/api/v1/models/acme--digits/grants', { organisation: 'globex', ...body });
const explain = (key: string, body: object = {}) =>
  house.call(key, 'POST', '/api/v1/models/acme--digits/explain', { instances: [[1, 2]], ...body });

async function deployed() {
  await importModel(acme, 'acme--digits');
  return house.call(acme, 'POST', '/api/v1/deployments', { model: 'acme/digits:1' });
}

describe('identity', () => {
  test('an organisation is made with a key that works, shown once', async () => {
    const made = await house.call(house.operatorKey, 'POST', '/api/v1/organisations', {
      name: 'initech',
      admin: 'bill',
    });
    expect(made).toMatchObject({ status: 201, headers: { 'cache-control': 'no-store' } });
    const who = await house.call(made.json.admin.apiKey, 'GET', '/api/v1/whoami');
    expect(who.json).toEqual({
      organisation: 'initech',
      member: 'bill',
      role: 'admin',
      keyId: made.json.admin.keyId,
    });
    const keys = await house.call(made.json.admin.apiKey, 'GET', '/api/v1/keys');
    expect(keys.text).not.toContain(made.json.admin.apiKey);
  });

  test('a key that is revoked answers no more', async () => {
    const made = await house.call(bob, 'POST', '/api/v1/keys', { name: 'laptop' });
    expect((await house.call(made.json.apiKey, 'GET', '/api/v1/whoami')).status).toBe(200);
    expect((await house.call(globex, 'DELETE', `/api/v1/keys/${made.json.id}`)).status).toBe(404);
    // As clients do that name a type on every request.
    const type = { 'content-type': 'application/json' };
    const revoked = await house.call(bob, 'DELETE', `/api/v1/keys/${made.json.id}`, undefined, type);
    expect(revoked).toMatchObject({ status: 204, text: '' });
    expect((await house.call(made.json.apiKey, 'GET', '/api/v1/whoami')).status).toBe(401);
  });
});

describe('models', () => {
  test('an import makes the model and its first version; both spellings of the name find it', async () => {
    const imported = await importModel(acme, 'acme--digits');
    expect(imported).toMatchObject({ status: 201, json: { number: 1, createdBy: 'admin', jobId: null } });
    expect((await importModel(acme, 'acme%2Fdigits')).json.id).toBe(imported.json.id);
    const { json } = await house.call(bob, 'GET', '/api/v1/models/acme%2Fdigits');
    expect(json).toMatchObject({ ref: 'acme/digits', flat: 'acme--digits', owned: true, grant: null });
    expect(json.versions).toEqual([imported.json]);
    expect((await house.call(bob, 'GET', '/api/v1/models')).json.models).toEqual([json]);
  });

  test('the name is decoded once', async () => {
    await importModel(acme, 'acme--digits');
    const twice = await house.call(acme, 'GET', '/api/v1/models/acme%252Fdigits');
    expect(twice).toMatchObject({ status: 400, json: { code: 'INVALID_NAME' } });
    expect((await house.call(acme, 'GET', '/api/v1/models/acme--digits:1')).json.code).toBe('INVALID_NAME');
  });

  test('what is refused leaves nothing behind', async () => {
    const refused = [
      await importModel(bob, 'acme--digits'),
      await importModel(acme, 'acme--digits', Buffer.from('GIF89a')),
      await importModel(acme, 'acme--digits', Buffer.alloc(4001, 'm')),
      await house.call(acme, 'POST', '/api/v1/models/acme--digits/versions', { no: 'json' }),
      await house.call(acme, 'POST', '/api/v1/models/acme--digits/versions', undefined, octets),
    ];
    expect(refused.map(({ status, json }) => [status, json.code])).toEqual([
      [403, 'FORBIDDEN'],
      [400, 'UNSUPPORTED_FORMAT'],
      [413, 'PAYLOAD_TOO_LARGE'],
      [415, 'UNSUPPORTED_MEDIA_TYPE'],
      [400, 'INVALID_REQUEST'],
    ]);
    expect((await house.call(acme, 'GET', '/api/v1/models')).json.models).toEqual([]);
  });

  test('a body of unknown length is cut off at the limit', async () => {
    await house.app.listen({ port: 0, host: '127.0.0.1' });
    const address = house.app.server.address();
    if (address === null || typeof address === 'string') throw new Error('the server has no port');
    const upload = httpRequest({
      port: address.port,
      method: 'POST',
      path: '/api/v1/models/acme--digits/versions',
      headers: { ...octets, authorization: `Bearer ${acme}` },
    });
    upload.on('error', () => {});
    const answered = once(upload, 'response');
    upload.write(Buffer.alloc(2400, 'm'));
    upload.write(Buffer.alloc(2400, 'm'));
    const [response] = await answered;
    expect(response.statusCode).toBe(413);
    response.resume();
    upload.destroy();
  });

  test('an artifact comes back as it was', async () => {
    await importModel(acme, 'acme--digits');
    const url = '/api/v1/models/acme--digits/versions/1/artifact';
    const h5 = await house.call(bob, 'GET', url);
    expect(h5).toMatchObject({ status: 200, text: bytes.toString() });
    expect(h5.headers['content-disposition']).toBe('attachment; filename="digits-1.h5"');
    expect((await house.call(bob, 'GET', `${url}?format=onnx`)).text).toBe('onnx of model of digits');
    expect((await house.call(bob, 'GET', `${url}?format=pickle`)).status).toBe(400);
    expect((await house.call(bob, 'GET', url.replace('/1/', '/9/'))).json.code).toBe('VERSION_NOT_FOUND');
  });

  test('production needs a passed gate', async () => {
    const { json: version } = await importModel(acme, 'acme--digits');
    const point = (alias: string) =>
      house.call(acme, 'PUT', `/api/v1/models/acme--digits/aliases/${alias}`, { version: 1 });
    expect(await point('staging')).toMatchObject({ status: 200, json: { alias: 'staging', version: 1 } });
    expect(await point('production')).toMatchObject({ status: 409, json: { code: 'GATE_NOT_PASSED' } });
    const deploy = { model: 'acme/digits:1', alias: 'production' };
    expect((await house.call(acme, 'POST', '/api/v1/deployments', deploy)).status).toBe(409);
    expect((await house.call(acme, 'GET', '/api/v1/deployments')).json.deployments).toEqual([]);
    house.passed.add(version.id);
    expect((await house.call(acme, 'POST', '/api/v1/deployments', deploy)).status).toBe(201);
    const { json } = await house.call(acme, 'GET', '/api/v1/models/acme--digits');
    expect(json.aliases).toContainEqual({ alias: 'production', version: 1 });
    expect(json.deployments).toMatchObject([{ version: 1, state: 'ready' }]);
  });
});

describe('sharing', () => {
  test("without a grant, somebody else's model is like one that does not exist, to the byte", async () => {
    await deployed();
    const routes = [
      ['GET', '/api/v1/models/acme--NAME'],
      ['GET', '/api/v1/models/acme--NAME/versions/1'],
      ['GET', '/api/v1/models/acme--NAME/versions/1/artifact'],
      ['GET', '/api/v1/models/acme--NAME/versions/1/evaluations'],
      ['GET', '/api/v1/models/acme--NAME/grants'],
      ['POST', '/api/v1/models/acme--NAME/grants', { organisation: 'globex' }],
      ['PUT', '/api/v1/models/acme--NAME/aliases/production', { version: 1 }],
      ['POST', '/api/v1/models/acme--NAME/versions/1/evaluations', { dataset: 'digits' }],
      ['POST', '/api/v1/models/acme--NAME/explain', { instances: [[1, 2]] }],
      ['POST', '/api/v1/models/acme--NAME/versions', bytes],
      ['POST', '/api/v1/deployments', { model: 'acme/NAME:1' }],
    ] as const;
    for (const [method, url, body] of routes) {
      const ask = async (name: string) => {
        const sent =
          body instanceof Buffer || body === undefined
            ? body
            : JSON.parse(JSON.stringify(body).replaceAll('NAME', name));
        const headers = body instanceof Buffer ? octets : {};
        const answer = await house.call(globex, method, url.replace('NAME', name), sent, headers);
        const plain = JSON.stringify([answer.status, answer.headers, answer.text]);
        return plain
          .replaceAll(answer.json.requestId, 'ID')
          .replaceAll(name, 'NAME')
          .replace(/"date":"[^"]*"/, '');
      };
      const hidden = await ask('digits');
      expect(hidden).toContain('MODEL_NOT_FOUND');
      expect(hidden).toBe(await ask('nothin'));
    }
  });

  test('a grant opens what it says and hides what is the owner’s business', async () => {
    await deployed();
    const shared = await share({ limit: { requests: 2, period: 'day' } });
    expect(shared).toMatchObject({
      status: 201,
      json: { organisation: 'globex', permissions: ['infer', 'explain'], usedInPeriod: 0 },
    });
    const { json } = await house.call(globex, 'GET', '/api/v1/models/acme--digits');
    expect(json).toMatchObject({
      owned: false,
      grant: { id: shared.json.id },
      versions: [{ number: 1, createdBy: null, jobId: null, dataset: null }],
    });
    expect((await house.call(globex, 'GET', '/api/v1/models')).json.models).toEqual([json]);
    expect((await house.call(globex, 'GET', '/api/v1/deployments')).json.deployments).toHaveLength(1);
    const download = await house.call(globex, 'GET', '/api/v1/models/acme--digits/versions/1/artifact');
    expect(download.json.code).toBe('MODEL_NOT_FOUND');

    await house.call(acme, 'DELETE', `/api/v1/models/acme--digits/grants/${shared.json.id}`);
    expect((await explain(globex)).json.code).toBe('MODEL_NOT_FOUND');
    expect((await house.call(globex, 'GET', '/api/v1/models')).json.models).toEqual([]);
  });

  test('an explanation counts under the limit, a refused one does not', async () => {
    await deployed();
    await share({ limit: { requests: 2, period: 'day' } });
    expect((await explain(globex, { instances: [['x']] })).status).toBe(400);
    house.explainFails.with = new CommonwattError('INVALID_TENSOR', 'instance 0 has 2 values');
    expect((await explain(globex)).json.code).toBe('INVALID_TENSOR');
    delete house.explainFails.with;
    const first = await explain(globex);
    expect(first).toMatchObject({ status: 200, json: { model: 'acme/digits', version: 1 } });
    // Nothing is metered here: the figure is unknown, so there is no header that says 0.
    expect(first.json.explanations[0].impact.energyWh).toBeNull();
    expect(first.headers['x-commonwatt-energy-wh']).toBeUndefined();
    expect((await explain(globex)).status).toBe(200);
    const refused = await explain(globex);
    expect(refused).toMatchObject({ status: 429, json: { code: 'LIMIT_EXCEEDED' } });
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
    expect((await explain(acme)).status).toBe(200);
  });

  test('grants that make no sense are refused', async () => {
    await deployed();
    expect((await share({ organisation: 'acme' })).json.code).toBe('INVALID_REQUEST');
    expect((await share({ organisation: 'nobody' })).json.code).toBe('NOT_FOUND');
    expect((await share({ limit: { requests: 0, period: 'day' } })).json.where).toBe('body.limit.requests');
    expect((await share({ expiresAt: '2001-01-01T00:00:00Z' })).json.where).toBe('expiresAt');
    expect((await share()).status).toBe(201);
    expect((await share()).json).toMatchObject({
      code: 'CONFLICT',
      hint: expect.stringContaining('revoke grant'),
    });
  });
});

describe('deployments', () => {
  test('are removed by who manages the model, and unknown to others', async () => {
    const { json } = await deployed();
    const remove = (key: string) => house.call(key, 'DELETE', `/api/v1/deployments/${json.id}`);
    expect((await remove(globex)).status).toBe(404);
    expect((await remove(bob)).status).toBe(403);
    expect((await remove(acme)).status).toBe(204);
    expect((await remove(acme)).status).toBe(404);
  });

  test('have settings, which their owner sees and changes', async () => {
    await importModel(acme, 'acme--digits');
    const body = { model: 'acme/digits:1', settings: { maxBatchSize: 64, cache: { enabled: false } } };
    const made = await house.call(acme, 'POST', '/api/v1/deployments', body);
    expect(made).toMatchObject({
      status: 201,
      json: {
        reason: null,
        settings: { maxBatchSize: 64, pinned: false, cache: { enabled: false, maxAgeS: 300 } },
      },
    });
    const url = `/api/v1/deployments/${made.json.id}`;
    const change = (key: string, settings: object) => house.call(key, 'PATCH', url, { settings });
    expect(await change(acme, { pinned: true })).toMatchObject({
      status: 200,
      json: { settings: { pinned: true } },
    });
    expect((await house.call(bob, 'GET', url)).json.settings.pinned).toBe(true);
    expect((await change(bob, { pinned: false })).status).toBe(403);
    expect((await change(globex, { pinned: false })).status).toBe(404);
    expect((await house.call(globex, 'GET', url)).status).toBe(404);
    await share();
    const [seen] = (await house.call(globex, 'GET', '/api/v1/deployments')).json.deployments;
    expect(seen).toMatchObject({ id: made.json.id, settings: null, reason: null });
  });

  test.each([
    [{ maxBatchSize: 0 }, 'body.settings.maxBatchSize'],
    [{ maxQueueDelayMs: 'soon' }, 'body.settings.maxQueueDelayMs'],
    [{ cache: { maxAgeS: 0 } }, 'body.settings.cache.maxAgeS'],
    [{ executionProviders: ['abacus'] }, 'body.settings.executionProviders.0'],
    [{ warp: 9 }, 'body.settings'],
    [{ maxBatchSize: 8, preferredBatchSizes: [4, 16] }, 'settings.preferredBatchSizes'],
  ])('%j is refused by name', async (settings, where) => {
    await importModel(acme, 'acme--digits');
    const body = { model: 'acme/digits:1', settings };
    const { status, json } = await house.call(acme, 'POST', '/api/v1/deployments', body);
    expect([status, json.code, json.where]).toEqual([400, 'INVALID_REQUEST', where]);
  });

  test('an alias that answers moves to another version with it deployed, and the old one leaves', async () => {
    await deployed();
    await importModel(acme, 'acme--digits', Buffer.from('model of more digits'));
    const point = (body: object) =>
      house.call(acme, 'PUT', '/api/v1/models/acme--digits/aliases/staging', body);
    expect((await point({ version: 1 })).json).toEqual({ alias: 'staging', version: 1, retired: null });
    expect(await point({ version: 2 })).toMatchObject({
      status: 409,
      json: { code: 'CONFLICT', hint: expect.stringContaining('--deploy') },
    });
    const moved = await point({ version: 2, deploy: true, retire: true });
    expect(moved.json).toEqual({ alias: 'staging', version: 2, retired: 1 });
    const { deployments } = (await house.call(acme, 'GET', '/api/v1/deployments')).json;
    expect(deployments).toMatchObject([{ version: 2 }]);
  });
});

describe('data sets, jobs and evaluations', () => {
  const csv = `x,y,even\n${Array.from({ length: 60 }, (_, row) => `${row / 60},${(row * 7) % 13},${row % 2}`).join('\n')}\n`;
  const upload = (key: string, query = 'name=digits&label=even') =>
    house.call(key, 'POST', `/api/v1/datasets?${query}`, Buffer.from(csv), { 'content-type': 'text/csv' });

  test('a data set is uploaded, listed and read, by its organisation only', async () => {
    const made = await upload(bob);
    expect(made).toMatchObject({ status: 201, json: { name: 'digits', rows: 60, features: ['x', 'y'] } });
    expect((await house.call(acme, 'GET', '/api/v1/datasets')).json.datasets).toEqual([made.json]);
    const row = await house.call(acme, 'GET', '/api/v1/datasets/digits/rows?split=test&row=0');
    expect(row.json).toMatchObject({ row: 0, features: { x: expect.any(Number) } });
    expect((await house.call(globex, 'GET', '/api/v1/datasets/digits')).status).toBe(404);
    expect((await house.call(globex, 'GET', `/api/v1/datasets/${made.json.id}`)).status).toBe(404);
    expect((await upload(bob, 'name=digits&label=even&shuffle=1')).json.detail).toContain('"shuffle"');
    expect((await upload(bob, 'name=digits')).json.where).toBe('query.label');
  });

  test('a training is queued, shown and cancelled', async () => {
    const config = { dataset: 'digits', layers: [{ type: 'dense', units: 1, activation: 'sigmoid' }] };
    const queued = await house.call(bob, 'POST', '/api/v1/jobs', { kind: 'train', config });
    expect(queued).toMatchObject({
      status: 202,
      json: { state: 'queued', createdBy: 'bob', progress: null, result: null, config: { epochs: 10 } },
    });
    const url = `/api/v1/jobs/${queued.json.id}`;
    expect((await house.call(globex, 'GET', url)).status).toBe(404);
    expect((await house.call(globex, 'POST', `${url}/cancel`)).status).toBe(404);
    expect((await house.call(acme, 'GET', `${url}/artifact`)).json.code).toBe('CONFLICT');
    expect((await house.call(acme, 'POST', `${url}/cancel`)).json.state).toBe('cancelled');
    const wrong = { kind: 'train', config: { ...config, epochs: -1 } };
    expect((await house.call(bob, 'POST', '/api/v1/jobs', wrong)).json.where).toBe('body.config.epochs');
  });

  test('a version is evaluated before it is deployed', async () => {
    await importModel(acme, 'acme--digits');
    const url = '/api/v1/models/acme--digits/versions/1/evaluations';
    const made = await house.call(acme, 'POST', url, { dataset: 'digits' });
    expect(made).toMatchObject({ status: 201, json: { model: 'acme/digits', split: 'test', passed: true } });
    expect(made.json.metrics.rocAuc).toEqual({
      value: null,
      low: null,
      high: null,
      unknown: 'one class only',
    });
    expect((await house.call(bob, 'POST', url, { dataset: 'digits' })).status).toBe(403);
    const gate = { accuracyy: { min: 0.9 } };
    expect((await house.call(acme, 'POST', url, { dataset: 'digits', gate })).status).toBe(400);
  });
});

describe('impact', () => {
  test('is of the own organisation, and of everything for the operator', async () => {
    const { admin } = await house.organisation('initech');
    await house.call(acme, 'GET', '/api/v1/impact');
    await house.call(house.operatorKey, 'GET', '/api/v1/impact?group_by=tenant');
    const who = await house.identity.listOrganisations(house.operator);
    const id = who.find(({ name }) => name === 'acme')?.id;
    expect(house.scopes).toEqual([{ organisationId: id }, 'all']);
    expect(admin.organisation).toBe('initech');
    const wrong = await house.call(
      acme,
      'GET',
      '/api/v1/impact?from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z',
    );
    expect(wrong).toMatchObject({ status: 400, json: { where: 'query.from' } });
  });

  test('is told live, and listeners do not keep the server from closing', async () => {
    await house.app.listen({ port: 0, host: '127.0.0.1' });
    const address = house.app.server.address();
    if (address === null || typeof address === 'string') throw new Error('the server has no port');
    const [response] = await once(
      httpRequest({
        port: address.port,
        path: '/api/v1/events',
        headers: { authorization: `Bearer ${acme}` },
      }).end(),
      'response',
    );
    expect(response.headers['content-type']).toContain('text/event-stream');
    expect(response.headers['x-commonwatt-request-id']).toBeDefined();
    const [event] = await once(response, 'data');
    expect(String(event)).toMatch(/^event: impact\ndata: \{"rur":0.5,.*\}\n\n$/);
    response.resume();
    await house.app.close();
    await once(response, 'end');
  });
});
