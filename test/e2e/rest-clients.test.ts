/** The REST door of the running product, through the clients that Triton's and KServe's users have, unmodified. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Datatype } from '../../src/runtimes/tensor.ts';
import { identityModel } from '../../src/runtimes/testing/onnx-graphs.ts';
import { runPython } from '../python.ts';
import { type ExampleServer, startExampleServer } from './server.ts';

const echoed: Datatype[] = [
  'BOOL',
  'UINT8',
  'INT8',
  'UINT16',
  'INT16',
  'UINT32',
  'INT32',
  'UINT64',
  'INT64',
  'FP16',
  'FP32',
  'FP64',
  'BYTES',
];

let server: ExampleServer;
let rows: number[][];
let expected: number[];
let outputName: string;
beforeAll(async () => {
  server = await startExampleServer();
  for (const datatype of echoed)
    await importModel(`echo-${datatype.toLowerCase()}`, identityModel(datatype, [-1, 2]));
  await importModel('echo-wide', identityModel('FP32', [-1, 1000]));
  rows = [0, 1, 2].map((row) => exampleRow().map((value, column) => (column % 3 === row ? 0 : value)));
  expected = await predictions(rows);
}, 240_000);
afterAll(() => server?.stop({ keep: false }));

async function importModel(name: string, bytes: Uint8Array): Promise<void> {
  const { example, baseUrl } = server;
  const response = await fetch(`${baseUrl}/api/v1/models/${example.owner.organisation}--${name}/versions`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${example.owner.apiKey}`,
      'content-type': 'application/octet-stream',
    },
    body: new Uint8Array(bytes),
  });
  expect([response.status, await response.text()]).toEqual([201, expect.any(String)]);
}

/** What plain JSON without any client gives. */
async function predictions(data: number[][]): Promise<number[]> {
  const { example, baseUrl } = server;
  const response = await fetch(`${baseUrl}/v2/models/${example.model}/infer`, {
    method: 'POST',
    headers: { authorization: `Bearer ${example.owner.apiKey}` },
    body: JSON.stringify({ inputs: [{ name: 'input', shape: [3, 100], datatype: 'FP32', data }] }),
  });
  const { outputs } = (await response.json()) as { outputs: { name: string; data: number[] }[] };
  outputName = outputs[0]?.name ?? '';
  return outputs[0]?.data ?? [];
}

function near(output: number[]): void {
  expect(output).toHaveLength(expected.length);
  output.forEach((value, row) => {
    expect(Math.abs(value - (expected[row] ?? Number.NaN))).toBeLessThan(1e-6);
  });
}

const script = (name: string) =>
  readFileSync(fileURLToPath(new URL(`../python/${name}`, import.meta.url)), 'utf8');

describe('the Python client of Triton', () => {
  it('finds every call it knows answered', { timeout: 120_000 }, () => {
    const { example, baseUrl } = server;
    const { organisation, apiKey } = example.owner;
    const heard = JSON.parse(
      runPython(
        script('triton_http.py'),
        [new URL(baseUrl).host, example.model, organisation, apiKey, example.consumer.apiKey],
        JSON.stringify(rows),
      ),
    );
    expect(heard).toMatchObject({ live: true, ready: true, modelReady: true, versionReady: true });
    expect(heard.server.extensions).toContain('binary_tensor_data');
    expect(heard.metadata).toMatchObject({
      name: example.model,
      versions: ['1'],
      inputs: [{ name: 'input', datatype: 'FP32', shape: [-1, 100] }],
    });
    expect(heard.config).toMatchObject({ input: [{ data_type: 'TYPE_FP32', dims: [100] }] });
    for (const output of [...Object.values<number[]>(heard.predictions), ...heard.several]) near(output);
    expect(heard.several).toHaveLength(8);
    near(heard.asyncio.output);
    near(heard.asyncio.zipped);
    expect(heard.asyncio).toMatchObject({ live: true, ready: true, index: 15 });
    expect(heard.answer).toMatchObject({ id: 'seven', model_version: '1', usage: { impact: {} } });
    expect(Object.keys(heard.same)).toHaveLength(echoed.length * 2 - 3);
    expect(heard.same).toEqual(Object.fromEntries(Object.keys(heard.same).map((form) => [form, true])));
    expect(heard.packed).toEqual({ gzip: true, deflate: true });
    expect(heard.classes).toEqual([
      ['999:999', '998:998'],
      ['1999:999', '1998:998'],
    ]);
    expect(heard.index).toHaveLength(15);
    expect(new Set(heard.index.map(({ state }: { state: string }) => state))).toEqual(new Set(['READY']));
    expect(heard.unloaded).toMatchObject([{ version: '1', state: 'UNAVAILABLE', reason: 'not deployed' }]);
    expect(heard.allStatistics).toBe(15);
    expect(heard.statistics).toMatchObject([{ version: '1' }]);
    expect(heard.statistics[0].inference_stats.success.count).toBeGreaterThan(8);
    expect(heard.statistics[0].inference_count).toBeGreaterThan(8);
    expect(heard.sharedMemory).toEqual({
      system: [],
      cuda: [],
      unregister: null,
      register: ['400', expect.stringContaining('shared memory is not served here')],
    });
    const statuses = Object.entries<string[]>(heard.refused).map(([what, [status]]) => [what, status]);
    expect(Object.fromEntries(statuses)).toEqual({
      noKey: '401',
      stranger: '404',
      statisticsOfOthers: '403',
      unloadOfOthers: '404',
      wrongWidth: '400',
      noVersion: '404',
      halfAsJson: '400',
      sharedMemory: '400',
      sequence: '400',
      override: '400',
      logging: '404',
    });
  });
});

describe('the REST client of KServe', () => {
  it('gets the same answers in every mix of JSON and binary data', { timeout: 120_000 }, () => {
    const { example, baseUrl } = server;
    const heard = JSON.parse(
      runPython(
        script('kserve_rest.py'),
        [baseUrl, example.model, outputName, example.consumer.apiKey],
        JSON.stringify(rows),
      ),
    );
    expect(heard).toMatchObject({ live: true, ready: true, modelReady: true });
    expect(Object.keys(heard.predictions)).toEqual(['True True', 'True False', 'False True', 'False False']);
    for (const [form, answer] of Object.entries<KServeAnswer>(heard.predictions)) {
      near(answer.output);
      expect(answer).toMatchObject({ id: 'seven', binary: form.endsWith('True') });
      expect(answer.energyWh).toBeGreaterThan(0);
    }
    near(heard.dict);
    expect(heard.refused).toEqual({ noKey: 401, noModel: 404 });
  });
});

describe('plain HTTP', () => {
  const post = (path: string, body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}) =>
    fetch(`${server.baseUrl}/v2/${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${server.example.owner.apiKey}`, ...headers },
      body,
    });

  it('generates text from text, at once and as a stream of events', async () => {
    const model = `models/${server.example.owner.organisation}/echo-bytes`;
    expect((await post(`repository/${model}/load`, '')).status).toBe(200);
    const body = JSON.stringify({ id: 'g', x: ['zwölf', ''], temperature: 0.5 });
    const generated = await (await post(`${model}/generate`, body)).json();
    expect(generated).toMatchObject({ model_version: '1', id: 'g', y: ['zwölf', ''] });
    const stream = await post(`${model}/generate_stream`, body);
    expect(stream.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    expect(JSON.parse((await stream.text()).replace(/^data: /, ''))).toMatchObject({ y: ['zwölf', ''] });
  });

  it('takes a body of nothing but numbers, and says how the answer came about', async () => {
    const numbers = Float32Array.from(rows[0] ?? []);
    const response = await post(`models/${server.example.model}/infer`, new Uint8Array(numbers.buffer), {
      'inference-header-content-length': '0',
      'cache-control': 'no-store',
    });
    const length = Number(response.headers.get('inference-header-content-length'));
    const body = Buffer.from(await response.arrayBuffer());
    expect(Math.abs(body.readFloatLE(length) - (expected[0] ?? Number.NaN))).toBeLessThan(1e-6);
    expect(body).toHaveLength(length + 4);
    expect(response.headers.get('x-commonwatt-source')).toBe('computed');
    expect(response.headers.get('server-timing')).toMatch(
      /^queue;dur=\d+\.\d{3}, batch;dur=\d+\.\d{3}, compute;dur=\d+\.\d{3}$/,
    );
  });
});

interface KServeAnswer {
  output: number[];
  id: string;
  binary: boolean;
  energyWh: number;
}

function exampleRow(): number[] {
  const given: unknown = JSON.parse(readFileSync(new URL('row.json', import.meta.url), 'utf8'));
  return (given as number[][]).flat();
}
