/** The quick way gives what the ordinary door gives, to every sequence of bytes; and it keeps HTTP's own promises. */
import { once } from 'node:events';
import {
  createServer,
  request as httpRequest,
  type IncomingHttpHeaders,
  type RequestListener,
} from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { unmetered } from '../../energy/footprint.ts';
import { standardForms } from '../../energy/forms/forms.ts';
import { gramsCo2e, joules } from '../../energy/units.ts';
import { CommonwattError } from '../../errors.ts';
import { type TestPlatform, testPlatform } from '../../gate/testing/platform.ts';
import { Registry } from '../../models/registry.ts';
import type { InferCall, Inference, ServedVersion, Serving } from '../../serve/serve.ts';
import { defaultSettings } from '../../serve/settings.ts';
import { emptyStatistics } from '../../serve/statistics.ts';
import { openGateways } from '../gateways/gateways.ts';
import { createHttp } from '../http.ts';
import { fastDoor } from './fast.ts';
import { houseDesk } from './fast-desk.ts';
import { inferenceRoutes } from './inference.ts';
import { noReceipts } from './testing/door.ts';

let platform: TestPlatform;
let owner: string;
let guest: string;
let grantId: string;
let modelId: string;
/** Ports: the quick way in this process, the ordinary door, and two door processes before it. */
let doors: { quick: number; ordinary: number; far: number };
/** How many requests the ordinary door saw behind the quick one. */
let passedOn = 0;
const stops: (() => Promise<void>)[] = [];

const served = (): ServedVersion => ({
  deploymentId: 'd',
  modelId,
  versionId: 'v',
  version: 3,
  signature: {
    inputs: [
      { name: 'a', datatype: 'FP32', shape: [-1, 2] },
      { name: 'b', datatype: 'INT32', shape: [-1] },
    ],
    outputs: [
      { name: 'sum', datatype: 'FP32', shape: [-1] },
      { name: 'text', datatype: 'BYTES', shape: [-1] },
    ],
  },
  settings: defaultSettings,
  deterministic: true,
});

/** Nothing here stores an artifact. */
const nothing = () => Promise.reject(new Error('no artifacts in this test'));
const unused = { stage: nothing, put: nothing, read: nothing };

const footprint = {
  ...unmetered,
  energyJ: joules(3),
  carbonGCo2e: gramsCo2e(0.25),
  quality: 'estimated',
} as const;
const calls: InferCall[] = [];
let compute: (call: InferCall) => Promise<Inference>;

const adds = async ({ inputs }: InferCall): Promise<Inference> => {
  const [a, b] = inputs;
  const rows = b?.shape[0] ?? 0;
  const sum = Float32Array.from(
    { length: rows },
    (_, row) => Number(a?.data[2 * row]) + Number(a?.data[2 * row + 1]) + Number(b?.data[row]),
  );
  if (sum[0] === 666)
    throw new CommonwattError('RUNNER_FAILED', 'the runner ended', { retryAfterS: 1, hint: 'again' });
  if (sum[0] === 667) throw new Error('a secret of the server');
  const words = Array.from(sum, (value) => Buffer.from(`≈${value}`));
  const packed = Buffer.concat(
    words.flatMap((word) => [Buffer.from(new Uint32Array([word.length]).buffer), word]),
  );
  return {
    outputs: [
      { name: 'sum', datatype: 'FP32', shape: [rows], data: sum },
      { name: 'text', datatype: 'BYTES', shape: [rows], data: new Uint8Array(packed) },
    ],
    footprint,
    source: 'computed',
    queueMs: 0.5,
    batchMs: 0.25,
    computeMs: 1,
    batchRows: rows,
    batchRequests: 1,
    share: 1,
  };
};

const serving: Serving = {
  served(id, { version } = {}) {
    if (id !== modelId || (version !== undefined && version !== 3))
      throw new CommonwattError('VERSION_NOT_FOUND', 'this version is not deployed');
    return served();
  },
  servedVersions: () => [served()],
  variantOf: () => undefined,
  infer: (_served, call) => {
    calls.push(call);
    return compute(call);
  },
  isReady: () => true,
  allReady: () => true,
  statistics: () => emptyStatistics(),
  loadState: () => ({ state: 'loaded', reason: null, memoryBytes: 1 }),
};

beforeAll(async () => {
  platform = await testPlatform();
  const acme = await platform.organisation('acme');
  const globex = await platform.organisation('globex');
  owner = acme.adminKey;
  guest = globex.adminKey;
  const model = await platform.model(acme.admin, 'adder');
  modelId = model.id;
  const grant = await platform.grants.create(
    model,
    {
      organisation: 'globex',
      permissions: ['infer'],
      limit: { requests: 1_000_000, period: 'month' },
      expiresAt: null,
    },
    acme.admin,
  );
  grantId = grant.id;
  const house = {
    gate: platform.gate,
    deployments: { ...serving, create: async () => {}, remove: async () => {} },
    registry: new Registry({
      db: platform.db,
      artifacts: unused,
      inspect: () => unused.read(),
      changed: () => platform.gate.policyChanged(),
    }),
    version: '0',
    maxBodyBytes: 20_000,
    maxBatchSize: 8,
    forms: standardForms,
    receipts: noReceipts,
  };
  const log = pino({ level: 'silent' });
  let ordinary: RequestListener = () => {};
  const http = await createHttp({
    config: { host: '127.0.0.1' },
    log,
    gate: platform.gate,
    metrics: { contentType: 'text/plain', metrics: async () => '' },
    ready: () => true,
    version: '0',
    before: (given, draining) => {
      ordinary = given;
      const counted: RequestListener = (request, response) => {
        passedOn += 1;
        given(request, response);
      };
      return fastDoor({
        desk: houseDesk(house),
        ordinary: counted,
        log,
        maxBodyBytes: house.maxBodyBytes,
        draining,
      });
    },
  });
  await http.app.register(inferenceRoutes, house);
  await http.app.listen({ host: '127.0.0.1', port: 0 });
  const plain = createServer({ keepAliveTimeout: 72_000 }, ordinary).listen(0, '127.0.0.1');
  await once(plain, 'listening');
  const gateways = await openGateways({
    count: 2,
    host: '127.0.0.1',
    port: 0,
    ordinary,
    house,
    log,
    logLevel: 'silent',
    changed: () => {},
  });
  doors = {
    quick: (http.app.server.address() as AddressInfo).port,
    ordinary: (plain.address() as AddressInfo).port,
    far: gateways.port,
  };
  stops.push(
    () => gateways.drain(),
    async () => {
      plain.close();
      plain.closeAllConnections();
    },
    () => http.app.close(),
    () => platform.close(),
  );
});
afterAll(async () => {
  for (const stop of stops) await stop();
});
beforeEach(() => {
  compute = adds;
  calls.length = 0;
  passedOn = 0;
});

interface Sent {
  path?: string;
  method?: string;
  headers?: Record<string, string>;
  body?: Buffer | string;
}

interface Got {
  status: number | undefined;
  headers: IncomingHttpHeaders;
  body: string;
}

function send(
  port: number,
  { path = '/v2/models/acme--adder/infer', method = 'POST', headers = {}, body = '' }: Sent,
) {
  return new Promise<Got>((resolve, reject) => {
    const request = httpRequest(
      {
        port,
        host: '127.0.0.1',
        path,
        method,
        headers: {
          ...('transfer-encoding' in headers ? {} : { 'content-length': Buffer.byteLength(body) }),
          ...headers,
        },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () =>
          resolve({
            status: response.statusCode,
            headers: response.headers,
            body: Buffer.concat(chunks).toString('latin1'),
          }),
        );
      },
    );
    request.on('error', reject);
    request.end(body);
  });
}

/** What may differ between two answers to the same bytes. */
function comparable({ status, headers, body }: Got) {
  const { date, 'x-commonwatt-request-id': id, ...rest } = headers;
  expect(date).toMatch(/GMT$/);
  if (id !== undefined) expect(id).toMatch(/^[0-9a-z]+-[0-9a-z]{7}$/);
  return { status, headers: rest, body, identified: id !== undefined };
}

async function both(sent: Sent) {
  const quick = comparable(await send(doors.quick, sent));
  expect(quick).toEqual(comparable(await send(doors.ordinary, sent)));
  expect(comparable(await send(doors.far, sent))).toEqual(quick);
  return quick;
}

const rows = (count: number) => ({
  inputs: [
    {
      name: 'a',
      datatype: 'FP32',
      shape: [count, 2],
      data: Array.from({ length: 2 * count }, (_, at) => at / 4),
    },
    { name: 'b', datatype: 'INT32', shape: [count], data: Array.from({ length: count }, (_, at) => at) },
  ],
});
const as = (key: string) => ({ authorization: `Bearer ${key}` });
/** Until the door knows key and model: what comes before goes the ordinary way. */
const remember = async (way: 'quick' | 'far' = 'quick') => {
  for (let times = 0; times < 6; times++)
    await send(doors[way], { headers: as(owner), body: JSON.stringify(rows(1)) });
};

/** A body with its second input in binary. */
function binary(count: number, lie = 0): Sent {
  const [a] = rows(count).inputs;
  const head = JSON.stringify({
    parameters: { binary_data_output: true },
    inputs: [
      a,
      { name: 'b', datatype: 'INT32', shape: [count], parameters: { binary_data_size: 4 * count } },
    ],
  });
  const raw = Buffer.from(new Int32Array(count).fill(7).buffer);
  return {
    headers: { ...as(owner), 'inference-header-content-length': String(Buffer.byteLength(head) + lie) },
    body: Buffer.concat([Buffer.from(head), raw]),
  };
}

describe('the same bytes, the same answer', () => {
  it('good requests go the quick way', async () => {
    await remember();
    passedOn = 0;
    const answer = await both({ headers: as(owner), body: JSON.stringify(rows(2)) });
    expect(answer.status).toBe(200);
    expect(JSON.parse(Buffer.from(answer.body, 'latin1').toString())).toMatchObject({
      model_name: 'acme--adder',
      outputs: [{ data: [0.25, 2.25] }, { data: ['≈0.25', '≈2.25'] }],
    });
    expect((await both(binary(3))).headers['inference-header-content-length']).toMatch(/^\d+$/);
    expect(passedOn).toBe(0);
  });

  const good = JSON.stringify(rows(1));
  it.each<[string, () => Sent]>([
    [
      'an id, a name in percent signs, a version',
      () => ({
        path: '/v2/models/acme%2Fadder/versions/3/infer',
        headers: as(owner),
        body: JSON.stringify({ ...rows(1), id: 'ä✓' }),
      }),
    ],
    [
      'the caller’s own request id',
      () => ({ headers: { ...as(owner), 'x-request-id': 'mine 1' }, body: good }),
    ],
    [
      'an alias nobody has',
      () => ({ path: '/v2/models/acme--adder@beta/infer', headers: as(owner), body: good }),
    ],
    [
      'a version nobody serves',
      () => ({ path: '/v2/models/acme--adder/versions/4/infer', headers: as(owner), body: good }),
    ],
    [
      'a version that is no number',
      () => ({ path: '/v2/models/acme--adder/versions/new/infer', headers: as(owner), body: good }),
    ],
    [
      'a model that does not exist',
      () => ({ path: '/v2/models/acme--nothing/infer', headers: as(owner), body: good }),
    ],
    ['a broken escape', () => ({ path: '/v2/models/%E0%A4%A/infer', headers: as(owner), body: good })],
    [
      'a path in parts',
      () => ({ path: '/v2/models/acme/adder/versions/3/infer', headers: as(owner), body: good }),
    ],
    [
      'a model called versions',
      () => ({ path: '/v2/models/acme/versions/infer', headers: as(owner), body: good }),
    ],
    [
      'an organisation alone',
      () => ({ path: '/v2/models/acme/versions/3/infer', headers: as(owner), body: good }),
    ],
    [
      'a caller who reads gzip',
      () => ({ headers: { ...as(owner), 'accept-encoding': 'gzip' }, body: JSON.stringify(rows(80)) }),
    ],
    [
      'other forms of the footprint',
      () => ({ headers: { ...as(owner), 'x-commonwatt-forms': 'energy, greenjoules' }, body: good }),
    ],
    [
      'forms that there are not',
      () => ({ headers: { ...as(owner), 'x-commonwatt-forms': 'joules' }, body: good }),
    ],
    ['no-store', () => ({ headers: { ...as(owner), 'cache-control': 'no-store' }, body: good })],
    [
      'a deadline that is none',
      () => ({ headers: { ...as(owner), 'x-commonwatt-timeout-ms': 'soon' }, body: good }),
    ],
    ['a query', () => ({ path: '/v2/models/acme--adder/infer?x=1', headers: as(owner), body: good })],
    ['no key', () => ({ body: good })],
    ['a wrong key', () => ({ headers: as(`cw_${'A'.repeat(43)}`), body: good })],
    ['a guest with a grant', () => ({ headers: as(guest), body: good })],
    ['no body', () => ({ headers: as(owner) })],
    ['no JSON', () => ({ headers: as(owner), body: '{"inputs":[' })],
    ['the wrong inputs', () => ({ headers: as(owner), body: '{"inputs":[{"name":"z"}]}' })],
    ['too large a body', () => ({ headers: as(owner), body: ' '.repeat(20_001) })],
    ['a header length that lies', () => binary(2, 5)],
    [
      'an unknown output',
      () => ({ headers: as(owner), body: JSON.stringify({ ...rows(1), outputs: [{ name: 'z' }] }) }),
    ],
    [
      'a failing runner',
      () => ({
        headers: as(owner),
        body: JSON.stringify({ inputs: [{ ...rows(1).inputs[0], data: [666, 0] }, rows(1).inputs[1]] }),
      }),
    ],
    [
      'a fault of the server',
      () => ({
        headers: as(owner),
        body: JSON.stringify({ inputs: [{ ...rows(1).inputs[0], data: [667, 0] }, rows(1).inputs[1]] }),
      }),
    ],
    ['another method', () => ({ method: 'PUT', headers: as(owner), body: good })],
    ['chunks', () => ({ headers: { ...as(owner), 'transfer-encoding': 'chunked' }, body: good })],
  ])('%s', async (_what, sent) => {
    const { status, body } = await both(sent());
    expect(status).toBeGreaterThanOrEqual(200);
    expect(body).not.toContain('secret');
  });

  it('whatever is sent', async () => {
    await remember();
    const path = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.constantFrom(
          '/v2/models/acme--adder/infer',
          '/v2/models/acme%2Fadder/versions/3/infer',
        ),
      },
      fc.webSegment().map((segment) => `/v2/models/${segment}/infer`),
    );
    const broken = fc
      .tuple(
        fc.constantFrom(JSON.stringify(rows(1)), JSON.stringify(rows(3))),
        fc.nat(),
        fc.string({ maxLength: 4 }),
      )
      .map(([text, at, junk]) => text.slice(0, at % text.length) + junk + text.slice(at % text.length));
    const body = fc.oneof(
      broken,
      fc.json(),
      fc.uint8Array().map((bytes) => Buffer.from(bytes)),
    );
    const more = fc.constantFrom<Record<string, string>>(
      {},
      { 'inference-header-content-length': '40' },
      { 'x-request-id': 'x' },
      { 'inference-header-content-length': '-1' },
    );
    await fc.assert(
      fc.asyncProperty(path, body, more, async (path, body, headers) => {
        await both({ path, body, headers: { ...as(owner), ...headers } });
      }),
      { numRuns: 300 },
    );
  });
});

/** Everything that comes back until `until` says that it is enough. */
async function talk(
  port: number,
  texts: readonly string[],
  until: (received: string) => boolean,
): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  let received = '';
  socket.on('data', (chunk) => {
    received += chunk.toString('latin1');
  });
  for (const text of texts) {
    socket.write(text);
    await sleep(5);
  }
  for (let tries = 0; tries < 400 && !until(received); tries++) await sleep(5);
  socket.destroy();
  return received;
}

const head = (length: number, more = '') =>
  `POST /v2/models/acme--adder/infer HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${owner}\r\ncontent-length: ${length}\r\n${more}\r\n`;
const idOf = (at: number) => JSON.stringify({ ...rows(1), id: `n${at}` });
const idsIn = (text: string) => [...text.matchAll(/"id":"n(\d+)"/g)].map(([, at]) => Number(at));

describe.each(['quick', 'far'] as const)('HTTP, %s', (way) => {
  it('pipelined requests are answered in order, though the first takes longest', async () => {
    await remember(way);
    compute = async (call) => {
      await sleep(calls.indexOf(call) === 0 ? 60 : 1);
      return adds(call);
    };
    calls.length = 0;
    const all = [0, 1, 2, 3, 4].map((at) => head(Buffer.byteLength(idOf(at))) + idOf(at)).join('');
    const text = await talk(doors[way], [`${all}GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n`], (got) =>
      got.includes('"live"'),
    );
    expect(idsIn(text)).toEqual([0, 1, 2, 3, 4]);
    expect(text.indexOf('"live"')).toBeGreaterThan(text.indexOf('"n4"'));
  });

  it('a body that dribbles in is read whole', async () => {
    await remember(way);
    const body = idOf(7);
    const pieces = [head(body.length), body.slice(0, 10), body.slice(10, 11), body.slice(11)];
    expect(idsIn(await talk(doors[way], pieces, (got) => got.includes('"n7"')))).toEqual([7]);
  });

  it('100-continue is answered before the body is sent', async () => {
    await remember(way);
    const body = idOf(1);
    const text = await talk(doors[way], [head(body.length, 'expect: 100-continue\r\n'), body], (got) =>
      got.includes('"n1"'),
    );
    expect(text).toMatch(/^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 200 OK\r\n/);
  });

  it('connection: close and HTTP/1.0 are closed after the answer', async () => {
    await remember(way);
    const body = idOf(1);
    const closes = async (text: string) => {
      const socket = connect(doors[way], '127.0.0.1');
      let received = '';
      socket.on('data', (chunk) => {
        received += chunk;
      });
      socket.write(text);
      await once(socket, 'close');
      return received;
    };
    expect(await closes(head(body.length, 'connection: close\r\n') + body)).toMatch(/connection: close/i);
    expect(await closes(head(body.length).replace('HTTP/1.1', 'HTTP/1.0') + body)).toContain('"n1"');
  });

  it('no-store reaches whoever keeps answers', async () => {
    await remember(way);
    calls.length = 0;
    for (const control of ['no-store', 'no-cache'])
      await send(doors[way], { headers: { ...as(owner), 'cache-control': control }, body: idOf(1) });
    expect(calls.map(({ options }) => options.reuse)).toEqual([false, true]);
  });

  it('a caller that leaves cancels what it asked for, all of it, and nothing else', async () => {
    await remember(way);
    calls.length = 0;
    compute = (call) =>
      new Promise((resolve, reject) => {
        call.onCancel = () => reject(new CommonwattError('CANCELLED', 'left'));
        setTimeout(() => resolve(adds(call)), 300);
      });
    const socket = connect(doors[way], '127.0.0.1');
    const body = idOf(1);
    socket.write((head(body.length) + body).repeat(2));
    const stays = send(doors[way], { headers: as(owner), body });
    for (let tries = 0; tries < 200 && calls.length < 3; tries++) await sleep(5);
    expect(calls).toHaveLength(3);
    socket.destroy();
    expect((await stays).status).toBe(200);
    expect(calls.map(({ cancelled }) => cancelled).toSorted()).toEqual([false, true, true]);
  });

  it('a revoked key is refused by the next request on the same connection', async () => {
    const { key, principal } = await platform.member(await platform.gate.authenticate(owner), `carol-${way}`);
    await send(doors[way], { headers: as(key), body: idOf(1) });
    expect((await send(doors[way], { headers: as(key), body: idOf(1) })).status).toBe(200);
    await platform.identity.revokeKey(principal, principal.keyId);
    expect((await both({ headers: as(key), body: idOf(1) })).status).toBe(401);
  });

  it('a place under a limit is settled by an answer and given back by a failure', async () => {
    const used = async () => {
      const grant = (await platform.grants.list(modelId)).find(({ id }) => id === grantId);
      return grant && platform.gate.usedInPeriod(grant);
    };
    await send(doors[way], { headers: as(guest), body: idOf(1) });
    const before = (await used()) ?? 0;
    await send(doors[way], { headers: as(guest), body: '{' });
    expect(await used()).toBe(before);
    await send(doors[way], { headers: as(guest), body: idOf(1) });
    expect(await used()).toBe(before + 1);
  });
});
