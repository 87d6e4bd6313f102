/** The REST door as its clients meet it; cases of Triton's qa/L0_http and L0_input_validation are restated here. */
import { request as httpRequest } from 'node:http';
import { deflateSync, gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CommonwattError } from '../../errors.ts';
import { type Door, echoOf, openDoor } from './testing/door.ts';

let door: Door;
beforeAll(async () => {
  door = await openDoor();
});
afterAll(() => door.close());
beforeEach(() => {
  Object.assign(door, {
    signature: echoOf('FP32', [-1, 3]),
    deployed: new Set([1]),
    loadState: { state: 'loaded', reason: null, memoryBytes: 1 },
    calls: [],
    settled: 0,
    released: 0,
    compute: async () => ({}),
  });
});

const row = { name: 'in', shape: [1, 3], datatype: 'FP32', data: [1, 2, 3] };
const url = '/v2/models/acme--echo/infer';

function post(path: string, body: unknown, init: RequestInit & { key?: string } = {}) {
  const plain = body instanceof Uint8Array || typeof body === 'string';
  return door.fetch(path, {
    method: 'POST',
    body: plain ? (body as Uint8Array<ArrayBuffer>) : JSON.stringify(body),
    ...init,
  });
}

/** JSON and raw bytes after it, as the binary extension sends them. */
function binary(json: object, ...parts: ArrayBufferView[]) {
  const head = Buffer.from(JSON.stringify(json));
  const bytes = parts.map((part) => Buffer.from(part.buffer, part.byteOffset, part.byteLength));
  return {
    body: new Uint8Array(Buffer.concat([head, ...bytes])),
    headers: { 'inference-header-content-length': String(head.length) },
  };
}

/** Whatever an answer says; each test looks at what it expects. */
// biome-ignore lint/suspicious/noExplicitAny: the shape is what is tested.
async function jsonOf(response: Response): Promise<any> {
  return response.json();
}

async function split(response: Response) {
  const body = Buffer.from(await response.arrayBuffer());
  const length = Number(response.headers.get('inference-header-content-length'));
  return { json: JSON.parse(body.subarray(0, length).toString()), raw: body.subarray(length) };
}

async function refusal(response: Response): Promise<[number, string]> {
  const json = (await response.json()) as { error: string };
  expect(Object.keys(json)).toEqual(['error']);
  return [response.status, json.error];
}

describe('an answer', () => {
  it('carries its outputs, its cost and where it came from', async () => {
    const response = await post(url, { id: 'seven', inputs: [row] });
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({
      model_name: 'acme--echo',
      model_version: '1',
      id: 'seven',
      outputs: [{ name: 'out', datatype: 'FP32', shape: [1, 3], data: [1, 2, 3] }],
      usage: { impact: { energyWh: 0.01 } },
    });
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'x-commonwatt-source': 'computed',
      'x-commonwatt-energy-wh': '0.01',
      'server-timing': 'queue;dur=0.500, batch;dur=0.250, compute;dur=1.250',
      'content-type': 'application/json; charset=utf-8',
    });
    expect([door.settled, door.released]).toEqual([1, 0]);
  });

  it('is found under every form of the name', async () => {
    for (const path of ['acme--echo', 'acme%2Fecho', 'acme/echo']) {
      for (const version of ['', '/versions/1']) {
        const answer = await post(`/v2/models/${path}${version}/infer`, { inputs: [row] });
        expect([path, version, answer.status]).toEqual([path, version, 200]);
        expect((await jsonOf(answer)).model_name).toBe(decodeURIComponent(path));
        expect((await door.fetch(`/v2/models/${path}${version}/ready`)).status).toBe(200);
        expect((await door.fetch(`/v2/models/${path}${version}/config`)).status).toBe(200);
        expect((await door.fetch(`/v2/models/${path}${version}/stats`)).status).toBe(200);
        expect((await door.fetch(`/v2/models/${path}${version}`)).status).toBe(200);
      }
    }
  });

  it('is the same for a body in a thousand chunks of unknown length', async () => {
    const bytes = new TextEncoder().encode(JSON.stringify({ inputs: [row], id: 'x'.repeat(1000) }));
    const { port } = new URL(door.baseUrl);
    const status = await new Promise((resolve, reject) => {
      const headers = { authorization: 'Bearer owner', 'transfer-encoding': 'chunked' };
      const request = httpRequest({ port, path: url, method: 'POST', headers }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      request.on('error', reject);
      for (const byte of bytes) request.write(Uint8Array.of(byte));
      request.end();
    });
    expect(status).toBe(200);
    expect(door.calls).toHaveLength(1);
  });

  it('is none to a body that is too large, whatever it says of its length', async () => {
    const huge = new Uint8Array(64 * 1024 + 1);
    expect((await post(url, huge)).status).toBe(413);
    const stream = new ReadableStream({
      start(controller) {
        controller.enqueue(huge);
        controller.close();
      },
    });
    const init = { method: 'POST', body: stream, duplex: 'half' } as RequestInit;
    // The server may close before all was sent, which the client calls a failure.
    const response = await door.fetch(url, init).catch(() => undefined);
    expect(response?.status ?? 413).toBe(413);
    expect(door.calls).toHaveLength(0);
  });

  it('passes on what the caller asks of its computation', async () => {
    const before = performance.now();
    await post(url, { inputs: [row], parameters: { priority: 2, timeout: 5_000_000, mine: 'x' } });
    await post(url, { inputs: [row], parameters: { priority: 0, timeout: 0 } });
    const headers = { 'cache-control': 'max-age=0, no-store', 'x-commonwatt-timeout-ms': '250' };
    await post(url, { inputs: [row], parameters: { timeout: 5_000_000 } }, { headers });
    const [first, second, third] = door.calls.map(({ options }) => options);
    expect(first).toMatchObject({ priority: 1, reuse: true, policyVersion: 7 });
    expect((first?.deadlineAtMs ?? 0) - before).toBeGreaterThan(4999);
    expect(second).toMatchObject({ priority: undefined, deadlineAtMs: undefined });
    expect(third?.reuse).toBe(false);
    expect((third?.deadlineAtMs ?? 0) - before).toBeLessThan(2000);
  });

  it.each([
    ['CANCELLED', 499, null],
    ['DEADLINE_EXCEEDED', 504, null],
    ['POISONED', 422, null],
    ['OVERLOADED', 503, '2'],
    ['QUARANTINED', 503, '2'],
  ] as const)('is an error in the shape of the protocol for %s', async (code, status, retryAfter) => {
    door.compute = async () => {
      throw new CommonwattError(code, 'no', retryAfter ? { retryAfterS: 1.5 } : {});
    };
    const response = await post(url, { inputs: [row] });
    expect(response.headers.get('retry-after')).toBe(retryAfter);
    expect(await refusal(response)).toEqual([status, 'no']);
    expect([door.settled, door.released]).toEqual([0, 1]);
  });

  it('is not computed for a caller who has left', async () => {
    const left = new Promise<boolean>((resolve) => {
      door.compute = (call) => {
        call.onCancel = () => resolve(true);
        return new Promise(() => {});
      };
    });
    const { port } = new URL(door.baseUrl);
    const request = httpRequest({
      port,
      path: url,
      method: 'POST',
      headers: { authorization: 'Bearer owner' },
    });
    request.on('error', () => {});
    request.end(JSON.stringify({ inputs: [row] }));
    while (door.calls.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    request.destroy();
    expect(await left).toBe(true);
  });
});

describe('binary tensors', () => {
  const asBinary = { name: 'in', shape: [2, 3], datatype: 'FP32', parameters: { binary_data_size: 24 } };
  const values = Float32Array.of(1, -0, Number.NaN, Number.POSITIVE_INFINITY, 1e-45, 6);

  it('come back bit for bit, NaN and infinity included', async () => {
    const { body, headers } = binary(
      { inputs: [asBinary], parameters: { binary_data_output: true } },
      values,
    );
    const response = await post(url, body, { headers });
    expect(response.headers.get('content-type')).toBe('application/octet-stream');
    const { json, raw } = await split(response);
    expect(json.outputs).toEqual([
      { name: 'out', datatype: 'FP32', shape: [2, 3], parameters: { binary_data_size: 24 } },
    ]);
    expect(raw).toEqual(Buffer.from(values.buffer));
  });

  it('have null for NaN and infinity in JSON', async () => {
    const { body, headers } = binary({ inputs: [asBinary] }, values);
    const { outputs } = await jsonOf(await post(url, body, { headers }));
    expect(outputs[0].data).toEqual([1, 0, null, null, 1.401298464324817e-45, 6]);
  });

  it('mix with JSON, each output in the form it is asked for', async () => {
    door.signature = echoOf('FP32', [-1, 3], 3);
    const inputs = [
      { ...asBinary, name: 'in2' },
      {
        ...row,
        shape: [2, 3],
        data: [
          [9, 8, 7],
          [6, 5, 4],
        ],
      },
      { ...asBinary, name: 'in1' },
    ];
    const outputs = [{ name: 'out2', parameters: { binary_data: false } }, { name: 'out1' }];
    const [first, second] = [Float32Array.of(1, 2, 3, 4, 5, 6), Float32Array.of(6, 5, 4, 3, 2, 1)];
    const { body, headers } = binary(
      { inputs, outputs, parameters: { binary_data_output: true } },
      first,
      second,
    );
    const { json, raw } = await split(await post(url, body, { headers }));
    expect(json.outputs).toMatchObject([
      { name: 'out2', data: [1, 2, 3, 4, 5, 6] },
      { name: 'out1', parameters: { binary_data_size: 24 } },
    ]);
    expect(raw).toEqual(Buffer.from(second.buffer));
  });

  it('may be the whole body when the model has one input', async () => {
    const headers = { 'inference-header-content-length': '0' };
    const response = await post(url, new Uint8Array(values.buffer), { headers });
    const { json, raw } = await split(response);
    expect(json.outputs[0].shape).toEqual([2, 3]);
    expect(raw).toEqual(Buffer.from(values.buffer));

    door.signature = echoOf('BYTES', [-1]);
    const text = await split(await post(url, '427', { headers }));
    expect(text.raw).toEqual(Buffer.from([3, 0, 0, 0, 0x34, 0x32, 0x37]));
  });

  it.each([
    ['two strings', echoOf('BYTES', [-1, 2]), 'does not hold exactly one string'],
    ['two free dimensions', echoOf('FP32', [-1, -1]), 'more than one dimension of any size'],
    ['several inputs', echoOf('FP32', [-1, 3], 3), 'the model has 3 inputs'],
    ['half a row', echoOf('FP32', [-1, 100]), 'no whole number of rows'],
    ['a wrong fixed size', echoOf('FP32', [2]), 'has 8 bytes'],
  ])('alone cannot be deduced with %s', async (_what, signature, message) => {
    door.signature = signature;
    const headers = { 'inference-header-content-length': '0' };
    const [status, error] = await refusal(await post(url, new Uint8Array(values.buffer), { headers }));
    expect(error).toContain(message);
    expect(status).toBe(400);
  });

  it.each([
    ['-1', 'is not a length'],
    ['1e3', 'is not a length'],
    ['99999999999999999999', 'is not a length'],
    ['100000', 'and the body has'],
    ['3', 'not valid JSON'],
  ])('refuse the header length %s', async (length, message) => {
    const { body } = binary({ inputs: [asBinary] }, values);
    const headers = { 'inference-header-content-length': length };
    const [status, error] = await refusal(await post(url, body, { headers }));
    expect(error).toContain(message);
    expect(status).toBe(400);
  });

  it.each([
    ['too few bytes', { ...asBinary, parameters: { binary_data_size: 20 } }, 'has 24 bytes'],
    [
      'more than is there',
      { ...asBinary, shape: [9, 3], parameters: { binary_data_size: 108 } },
      '24 bytes of binary data are left',
    ],
    [
      'less than is there',
      { ...asBinary, shape: [1, 3], parameters: { binary_data_size: 12 } },
      '12 bytes more',
    ],
    [
      'a size that is no number',
      { ...asBinary, parameters: { binary_data_size: '24' } },
      'is "24", not a whole number',
    ],
    ['a negative size', { ...asBinary, parameters: { binary_data_size: -24 } }, 'not a whole number'],
    ['data in both forms', { ...asBinary, data: [1] }, 'use one of the two'],
  ])('refuse %s', async (_what, input, message) => {
    const { body, headers } = binary({ inputs: [input] }, values);
    const [status, error] = await refusal(await post(url, body, { headers }));
    expect(error).toContain(message);
    expect(status).toBe(400);
  });
});

describe('what is refused', () => {
  const shm = { shared_memory_region: 'r', shared_memory_byte_size: 12 };
  it.each([
    [
      'sequences',
      { inputs: [row], parameters: { sequence_id: 5, sequence_start: true } },
      400,
      'sequences are not served',
    ],
    ['shared memory inputs', { inputs: [{ ...row, parameters: shm }] }, 400, 'shared memory is not served'],
    [
      'shared memory outputs',
      { inputs: [row], outputs: [{ name: 'out', parameters: shm }] },
      400,
      'shared memory is not served',
    ],
    [
      'a priority in words',
      { inputs: [row], parameters: { priority: 'high' } },
      400,
      'parameters.priority is "high"',
    ],
    ['a negative timeout', { inputs: [row], parameters: { timeout: -1 } }, 400, 'not a whole number'],
    ['parameters in an array', { inputs: [row], parameters: [] }, 400, 'an object of strings'],
    [
      'a parameter that is an object',
      { inputs: [row], parameters: { x: {} } },
      400,
      'parameters.x is an object',
    ],
    ['negative dimensions', { inputs: [{ ...row, shape: [2, -5] }] }, 400, 'not a positive integer'],
    [
      'an overflowing product',
      { inputs: [{ ...row, shape: [16, 2 ** 60 + 2] }] },
      400,
      'not a positive integer',
    ],
    ['no rows', { inputs: [{ ...row, shape: [0, 3], data: [] }] }, 400, 'not a positive integer'],
  ])('%s', async (_what, body, status, message) => {
    const [got, error] = await refusal(await post(url, body));
    expect(error).toContain(message);
    expect(got).toBe(status);
    expect([door.settled, door.released]).toEqual([0, 1]);
  });

  it('a model nobody has, a version nobody serves, no key', async () => {
    expect((await refusal(await post('/v2/models/acme--other/infer', { inputs: [row] })))[0]).toBe(404);
    expect((await refusal(await post('/v2/models/acme--echo/versions/9/infer', { inputs: [row] })))[0]).toBe(
      404,
    );
    expect((await refusal(await post('/v2/models/acme--echo/versions/latest/infer', {})))[0]).toBe(404);
    expect((await refusal(await post(url, { inputs: [row] }, { key: '' })))[0]).toBe(401);
    expect((await refusal(await door.fetch('/v2/models/acme/ready')))[0]).toBe(400);
  });

  it('every route that is not public, without a key or with a wrong one', async () => {
    const open = new Set<string>();
    for (const { method, path } of door.rules.list()) {
      if (!path.startsWith('/v2')) continue;
      for (const key of ['', 'wrong']) {
        const response = await door.fetch(path.replaceAll(/:(\w+)/g, 'x'), { method, key });
        if (response.status !== 401) open.add(path);
      }
    }
    expect([...open]).toEqual(['/v2', '/v2/', '/v2/health/live', '/v2/health/ready']);
  });

  it('a timeout that is none', async () => {
    for (const value of ['0', '-5', 'soon', '1e9'])
      expect(
        (
          await refusal(await post(url, { inputs: [row] }, { headers: { 'x-commonwatt-timeout-ms': value } }))
        )[0],
      ).toBe(400);
  });

  it('brackets a million deep, as quickly as anything else', async () => {
    const wide = await openDoor({ maxBodyBytes: 8 * 1024 * 1024 });
    const began = performance.now();
    const deep = `${'['.repeat(1_000_000)}${']'.repeat(1_000_000)}`;
    for (const body of [
      deep,
      `{"inputs":${deep}}`,
      `{"inputs":[{"name":${deep}}]}`,
      `{"inputs":[{"name":"in","shape":[1,3],"datatype":"FP32","data":${deep}}]}`,
      `{"inputs":[],"parameters":{"x":${deep}}}`,
    ]) {
      const response = await wide.fetch(url, { method: 'POST', body });
      expect(await refusal(response)).toEqual([400, expect.stringContaining('nested deeper than 100')]);
    }
    expect(performance.now() - began).toBeLessThan(2000);
    await wide.close();
  });
});

describe('compression', () => {
  it('is taken off the request, binary part included', async () => {
    const { body, headers } = binary(
      { inputs: [{ name: 'in', shape: [1, 3], datatype: 'FP32', parameters: { binary_data_size: 12 } }] },
      Float32Array.of(1, 2, 3),
    );
    for (const [encoding, pack] of [
      ['gzip', gzipSync],
      ['deflate', deflateSync],
    ] as const) {
      const response = await post(url, new Uint8Array(pack(body)), {
        headers: { ...headers, 'content-encoding': encoding },
      });
      expect((await jsonOf(response)).outputs[0].data).toEqual([1, 2, 3]);
    }
  });

  it('is bounded in what comes out, and refused when it is broken or unknown', async () => {
    const bomb = new Uint8Array(gzipSync(Buffer.alloc(64 * 1024 * 1024)));
    expect(bomb.length).toBeLessThan(64 * 1024 + 1024);
    const send = (body: Uint8Array<ArrayBuffer>, encoding: string) =>
      post(url, body, { headers: { 'content-encoding': encoding } });
    expect((await refusal(await send(bomb.subarray(0, 65_000), 'gzip')))[0]).toBe(413);
    expect((await refusal(await send(new Uint8Array([1, 2, 3]), 'gzip')))[0]).toBe(400);
    expect((await refusal(await send(new Uint8Array(gzipSync('{}')).subarray(0, 15), 'gzip')))[0]).toBe(400);
    expect((await refusal(await send(new Uint8Array([1, 2, 3]), 'br')))[0]).toBe(415);
  });

  it('is put on an answer that is worth it and whose caller can read it', async () => {
    const many = { ...row, shape: [200, 3], data: Array.from({ length: 600 }, (_, index) => index) };
    const raw = (accept: string, inputs = [many]) =>
      new Promise<{ encoding: string | undefined; body: Buffer }>((resolve, reject) => {
        const { port } = new URL(door.baseUrl);
        const headers = { authorization: 'Bearer owner', 'accept-encoding': accept };
        const request = httpRequest({ port, path: url, method: 'POST', headers }, (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('end', () =>
            resolve({ encoding: response.headers['content-encoding'], body: Buffer.concat(chunks) }),
          );
        });
        request.on('error', reject);
        request.end(JSON.stringify({ inputs }));
      });
    const packed = await raw('deflate;q=0.5, gzip');
    expect(packed.encoding).toBe('gzip');
    expect(JSON.parse(gunzipSync(packed.body).toString()).outputs[0].data).toEqual(many.data);
    expect((await raw('deflate')).encoding).toBe('deflate');
    expect((await raw('br, gzip;q=0')).encoding).toBeUndefined();
    expect((await raw('gzip', [row as typeof many])).encoding).toBeUndefined();
  });
});

describe('what a server and a model say of themselves', () => {
  it('lists the extensions that are really there, to anybody', async () => {
    const response = await door.fetch('/v2', { key: '' });
    expect(await response.json()).toEqual({
      name: 'commonwatt',
      version: '1.2.3',
      extensions: [
        'binary_tensor_data',
        'classification',
        'model_configuration',
        'model_repository',
        'parameters',
        'schedule_policy',
        'statistics',
        'generate',
      ],
    });
  });

  it('lists every served version', async () => {
    door.deployed = new Set([1, 2]);
    expect((await jsonOf(await door.fetch('/v2/models/acme--echo'))).versions).toEqual(['1', '2']);
  });

  it('tells readiness as it is', async () => {
    door.loadState = { state: 'failed', reason: 'no', memoryBytes: 0 };
    const response = await door.fetch('/v2/models/acme--echo/ready');
    expect([response.status, await response.json()]).toEqual([503, { name: 'acme--echo', ready: false }]);
  });

  it('gives the configuration in Triton’s words', async () => {
    door.signature = echoOf('BYTES', [-1, 3]);
    expect(await jsonOf(await door.fetch('/v2/models/acme--echo/config'))).toMatchObject({
      name: 'acme--echo',
      platform: 'onnx_onnxruntime',
      max_batch_size: 128,
      input: [{ name: 'in', data_type: 'TYPE_STRING', dims: [3] }],
      output: [{ name: 'out', data_type: 'TYPE_STRING', dims: [3] }],
      version_policy: { specific: { versions: [1] } },
      dynamic_batching: { priority_levels: 0 },
      instance_group: [{ kind: 'KIND_CPU', count: 1 }],
    });
    door.signature = echoOf('FP32', [3]);
    const fixed = await jsonOf(await door.fetch('/v2/models/acme--echo/config'));
    expect(fixed).toMatchObject({ max_batch_size: 0, input: [{ dims: [3] }] });
    expect(fixed.dynamic_batching).toBeUndefined();
  });

  it('gives statistics to the owner only', async () => {
    await post(url, { inputs: [row] });
    for (const path of ['/v2/models/stats', '/v2/models/acme/echo/stats']) {
      const { model_stats: all } = await jsonOf(await door.fetch(path));
      expect(all).toMatchObject([
        { version: '1', inference_count: 1, inference_stats: { success: { count: 0, ns: 0 } } },
      ]);
    }
    expect((await refusal(await door.fetch('/v2/models/acme--echo/stats', { key: 'guest' })))[0]).toBe(403);
    expect(await jsonOf(await door.fetch('/v2/models/stats', { key: 'guest' }))).toEqual({
      model_stats: [],
    });
  });
});

describe('the repository', () => {
  const index = async (body?: string, key = 'owner') =>
    jsonOf(await post('/v2/repository/index', body ?? '', { key }));

  it('lists what there is, and what of it answers', async () => {
    const echo = { name: 'acme/echo', reason: '' };
    expect(await index()).toEqual([
      { ...echo, version: '1', state: 'READY' },
      { ...echo, version: '2', state: 'UNAVAILABLE', reason: 'not deployed' },
    ]);
    expect(await index('{"ready":true}')).toEqual([{ ...echo, version: '1', state: 'READY' }]);
    expect(await index('', 'guest')).toEqual([{ ...echo, version: '1', state: 'READY' }]);
    door.loadState = { state: 'quarantined', reason: 'it crashed', memoryBytes: 0 };
    expect((await index())[0]).toMatchObject({ state: 'UNAVAILABLE', reason: 'it crashed' });
    door.loadState = { state: 'unloaded', reason: null, memoryBytes: 0 };
    expect((await index())[0]).toMatchObject({
      state: 'READY',
      reason: expect.stringContaining('next request'),
    });
    expect((await refusal(await post('/v2/repository/index', '{"ready":1}')))[0]).toBe(400);
  });

  it('loads the newest version or the named one, and unloads', async () => {
    const load = await post('/v2/repository/models/acme/echo/load', '');
    expect([load.status, await load.text()]).toEqual([200, '']);
    expect([...door.deployed]).toEqual([1, 2]);
    await post('/v2/repository/models/acme%2Fecho:2/unload', '{"parameters":{"unload_dependents":true}}');
    expect([...door.deployed]).toEqual([1]);
    await post('/v2/repository/models/acme--echo/unload', '');
    expect([...door.deployed]).toEqual([]);
    expect((await refusal(await post('/v2/repository/models/acme--echo/unload', '')))[0]).toBe(404);
  });

  it('takes no other configuration or files, and nobody else’s word', async () => {
    for (const name of ['config', 'file:1/model.onnx']) {
      const [status, error] = await refusal(
        await post('/v2/repository/models/acme--echo/load', { parameters: { [name]: '{}' } }),
      );
      expect([status, error]).toEqual([400, expect.stringContaining('versions are immutable')]);
    }
    for (const verb of ['load', 'unload'])
      expect(
        (await refusal(await post(`/v2/repository/models/acme--echo/${verb}`, '', { key: 'guest' })))[0],
      ).toBe(404);
    expect([...door.deployed]).toEqual([1]);
  });
});

describe('shared memory', () => {
  it('is refused politely, and cleared up without a word', async () => {
    for (const kind of ['systemsharedmemory', 'cudasharedmemory']) {
      expect(await jsonOf(await door.fetch(`/v2/${kind}/status`))).toEqual([]);
      expect((await refusal(await door.fetch(`/v2/${kind}/region/r/status`)))[0]).toBe(404);
      const register = await post(`/v2/${kind}/region/r/register`, { key: 'x', byte_size: 1 });
      expect(await refusal(register)).toEqual([400, expect.stringContaining('not served here')]);
      expect((await post(`/v2/${kind}/region/r/unregister`, '')).status).toBe(200);
      expect((await post(`/v2/${kind}/unregister`, '')).status).toBe(200);
    }
  });
});
