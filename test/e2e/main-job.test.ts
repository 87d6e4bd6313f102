/** The whole mission through the real program: train → import → deploy → share → call → explain → account. */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  Commonwatt,
  type Evaluation,
  type ExplainAnswer,
  type Grant,
  type ImpactReport,
  type Job,
  type Prediction,
  type Version,
} from '@commonwatt/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ExampleServer, runCommand, startExampleServer } from './server.ts';

/** The same mission is run with doors in processes of their own: gateways-main-job.test.ts. */
const gateways = process.env.E2E_GATEWAYS ?? '1';
let server: ExampleServer;
const folder = mkdtempSync(join(tmpdir(), 'commonwatt-mission-'));
const h5 = join(folder, 'model.h5');

beforeAll(async () => {
  server = await startExampleServer({ env: { COMMONWATT_GATEWAYS: gateways } });
});
afterAll(() => server?.stop({ keep: false }));

/** Runs a command with --json as acme, expects success, and returns what it printed. */
async function acme<T>(...args: string[]): Promise<T> {
  return asOrganisation(server.example.owner.apiKey, args);
}

async function globex<T>(...args: string[]): Promise<T> {
  return asOrganisation(server.example.consumer.apiKey, args);
}

async function asOrganisation<T>(apiKey: string, args: string[]): Promise<T> {
  const { code, out, err } = await runCommand([...args, '--json'], { baseUrl: server.baseUrl, apiKey });
  expect(code, `${args.join(' ')}\n${err}\n${out}`).toBe(0);
  return JSON.parse(out) as T;
}

function post(path: string, body: unknown, apiKey = server.example.consumer.apiKey): Promise<Response> {
  return fetch(server.baseUrl + path, {
    method: 'POST',
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

describe('the first start', () => {
  it('tells joules, what idled, and what sharing saves against which baseline', () => {
    const text = server.output();
    expect(text).toMatch(/epoch 10\/10 .*accuracy 0\.\d+.* so far/);
    expect(text).toMatch(
      /used [\d.]+ [µm]?J \(of it idle [\d.]+ [nµm]?J\), [\d.]+ [nµm]gCO2e, (estimated|measured) by/,
    );
    expect(text).toMatch(/of [\d.]+ [mk]?J metered .* was the host waiting for work/);
    expect(text).toMatch(/(saves|costs) .* against B\d, \w+/);
  });

  it('leaves what a script needs to go on', async () => {
    const { model, consumer, baseUrl } = server.example;
    const answer = await fetch(`${baseUrl}/v2/models/${encodeURIComponent(model)}`, {
      headers: { authorization: `Bearer ${consumer.apiKey}` },
    });
    expect(answer.status).toBe(200);
  });
});

describe('a first start without metering', () => {
  it('answers and explains, and says that nothing is metered instead of a report', async () => {
    const unmetered = await startExampleServer({ env: { COMMONWATT_METER: 'off' } });
    expect(unmetered.output()).toContain('nothing is metered, so there is no report');
    await unmetered.stop({ keep: false });
  });
});

describe('the mission, command by command', () => {
  let job: Job;
  let row: number[];
  let owners: Prediction;

  it('trains to a Keras file, with every joule told', async () => {
    const args = ['train', '--config', 'examples/digits/train.yaml', '--out', h5, '--json'];
    const { owner } = server.example;
    const { code, out, err } = await runCommand(args, { baseUrl: server.baseUrl, apiKey: owner.apiKey });
    expect(code, err).toBe(0);
    expect(err).toMatch(/epoch 10\/10 .* J so far/);
    job = (JSON.parse(out) as { job: Job }).job;
    expect(job.state).toBe('succeeded');
    expect(job.result?.impact.energyWh).toBeGreaterThan(0);
    expect(readFileSync(h5).subarray(0, 8)).toEqual(Buffer.from('\x89HDF\r\n\x1a\n', 'latin1'));
  });

  it('imports it as an immutable version that knows where it came from', async () => {
    const version = await acme<Version>('import', h5, '--name', 'acme/mission', '--job', job.id);
    expect(version).toMatchObject({ number: 1, format: 'keras-h5', jobId: job.id });
    expect(version.sha256).toBe(createHash('sha256').update(readFileSync(h5)).digest('hex'));
    expect(version.inputs[0]?.shape).toEqual([-1, 100]);
  });

  it('may not go to production before its gate is passed', async () => {
    const refused = await runCommand(['deploy', 'acme/mission:1', '--alias', 'production', '--json'], {
      baseUrl: server.baseUrl,
      apiKey: server.example.owner.apiKey,
    });
    expect(refused.code).toBe(1);
    expect(refused.err).toContain('GATE_NOT_PASSED');
    const evaluation = await acme<Evaluation>('evaluate', 'acme/mission:1', '--dataset', 'digits');
    expect(evaluation.passed).toBe(true);
    expect(evaluation.metrics.accuracy.value).toBeGreaterThan(evaluation.majorityClassAccuracy + 0.2);
    expect(await acme('deploy', 'acme/mission:1', '--alias', 'production')).toMatchObject({ state: 'ready' });
  });

  it('answers its owner, with the footprint', async () => {
    owners = await acme<Prediction>('predict', 'acme/mission', '--dataset', 'digits', '--row', '7');
    expect(owners.outputs[0]?.[0]).toBeGreaterThanOrEqual(0);
    expect(owners.impact.energyWh).toBeGreaterThan(0);
    const cw = new Commonwatt({ baseUrl: server.baseUrl, apiKey: server.example.owner.apiKey });
    row = Object.values((await cw.datasets.row('digits', 'test', 7)).features);
    expect(row).toHaveLength(100);
  });

  it('looks to others as if it did not exist', async () => {
    const inputs = [{ name: 'input', shape: [1, 100], datatype: 'FP32', data: row }];
    for (const [method, path, body] of [
      ['GET', '/api/v1/models/NAME', undefined],
      ['GET', '/api/v1/models/NAME/versions/1', undefined],
      ['GET', '/api/v1/models/NAME/versions/1/artifact?format=onnx', undefined],
      ['GET', '/api/v1/models/NAME/versions/1/evaluations', undefined],
      ['GET', '/api/v1/models/NAME/grants', undefined],
      ['POST', '/api/v1/models/NAME/explain', { instances: [row] }],
      ['GET', '/v2/models/NAME', undefined],
      ['GET', '/v2/models/NAME/ready', undefined],
      ['POST', '/v2/models/NAME/infer', { inputs }],
      ['POST', '/v2/models/NAME/versions/1/infer', { inputs }],
    ] as const) {
      const [there, absent] = await Promise.all(
        ['mission', 'absence'].map(async (name) => {
          const response = await fetch(server.baseUrl + path.replace('NAME', `acme--${name}`), {
            method,
            headers: {
              authorization: `Bearer ${server.example.consumer.apiKey}`,
              ...(body ? { 'content-type': 'application/json' } : {}),
            },
            ...(body ? { body: JSON.stringify(body) } : {}),
          });
          const text = await response.text();
          const normal = text.replaceAll(name, 'NAME').replace(/"requestId":"[^"]*"/, '');
          const names = [...response.headers.keys()].sort();
          return { status: response.status, type: response.headers.get('content-type'), names, normal };
        }),
      );
      expect(there, `${method} ${path}`).toEqual(absent);
      expect(there?.status, `${method} ${path}`).toBe(404);
    }
  });

  it('is shared with a limit, and then answers the consumer the same numbers', async () => {
    const grant = await acme<Grant>('share', 'acme/mission', '--with', 'globex', '--limit', '4/day');
    expect(grant).toMatchObject({ organisation: 'globex', limit: { requests: 4, period: 'day' } });
    const consumers = await runCommand(['predict', 'acme/mission', '--json'], {
      baseUrl: server.baseUrl,
      apiKey: server.example.consumer.apiKey,
      input: JSON.stringify([row]),
    });
    expect(consumers.code, consumers.err).toBe(0);
    expect((JSON.parse(consumers.out) as Prediction).outputs).toEqual(owners.outputs);
  });

  it('explains: contributions and base add up to the answer, with their joules', async () => {
    const args = ['explain', 'acme/mission', '--dataset', 'digits', '--row', '7'];
    const { explanations } = await acme<ExplainAnswer>(...args);
    const [explanation] = explanations;
    const sum = explanation?.attributions.reduce((total, { value }) => total + value, explanation.baseValue);
    expect(explanation?.attributions).toHaveLength(100);
    expect(Math.abs((sum ?? 0) - (explanation?.prediction ?? 1))).toBeLessThan(1e-6);
    expect(explanation?.prediction).toBeCloseTo(owners.outputs[0]?.[0] ?? -1, 5);
    expect(explanation?.impact.energyWh).toBeGreaterThan(0);
  });

  it('gives the file back to the owner, and to nobody without the right to download', async () => {
    const back = join(folder, 'back.h5');
    await acme('export', 'acme/mission', '--format', 'h5', '--out', back);
    expect(readFileSync(back).equals(readFileSync(h5))).toBe(true);
    await acme('export', 'acme/mission:1', '--format', 'onnx', '--out', join(folder, 'model.onnx'));
    const refused = await runCommand(
      ['export', 'acme/mission:1', '--format', 'onnx', '--out', join(folder, 'stolen.onnx')],
      { baseUrl: server.baseUrl, apiKey: server.example.consumer.apiKey },
    );
    expect(refused.code).toBe(1);
  });

  it('stops the consumer at the limit, and says when to come back', async () => {
    const inputs = [{ name: 'input', shape: [1, 100], datatype: 'FP32', data: row }];
    const cw = new Commonwatt({ baseUrl: server.baseUrl, apiKey: server.example.consumer.apiKey });
    const [input] = (await cw.metadata('acme/mission')).inputs;
    const body = { inputs: inputs.map((tensor) => ({ ...tensor, name: input?.name })) };
    const statuses: number[] = [];
    for (let call = 0; call < 4; call++) {
      const answer = await post('/v2/models/acme--mission/infer', body);
      statuses.push(answer.status);
      await answer.text();
      if (answer.status === 429) expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
    }
    expect(statuses).toEqual([200, 200, 200, 429]);
  });

  it('accounts for it: everything given away equals the meter, and the consumer is named', async () => {
    const report = await acme<ImpactReport>('impact', '--group-by', 'tenant');
    const { split } = report;
    const parts = [split.requestsWh, split.jobsWh, split.idleWh, split.overheadWh, split.unattributedWh];
    const given = parts.reduce<number>((sum, part) => sum + (part ?? Number.NaN), 0);
    const meter = split.meterWh ?? Number.NaN;
    expect(Math.abs(given - meter)).toBeLessThanOrEqual(meter * 1e-9);
    expect(report.consumption.requests).toBeGreaterThan(0);
    expect(report.rur.headline).toBeGreaterThan(0);
    expect(report.rur.headline).toBeLessThanOrEqual(1);
    expect(report.sharing.baselines.map(({ id }) => id)).toContain(report.sharing.headlineBaseline);
    expect(report.groups.map(({ key }) => key).join(' ')).toContain('globex');
    expect(await globex('impact')).toHaveProperty('consumption');
  });
});

describe('what is wrong is refused in the right shape, and the server stays up', () => {
  const tensor = (more: object = {}) => ({
    inputs: [{ name: 'input', shape: [1, 100], datatype: 'FP32', data: Array(100).fill(0), ...more }],
  });
  const v2 = '/v2/models/acme--digits/infer';
  const cases: [what: string, path: string, body: unknown, status: number][] = [
    ['malformed JSON', v2, '{"inputs": [', 400],
    ['no inputs', v2, {}, 400],
    ['a shape that does not fit the data', v2, tensor({ shape: [2, 100] }), 400],
    ['a shape that does not fit the model', v2, tensor({ shape: [1, 99], data: Array(99).fill(0) }), 400],
    ['a huge declared shape', v2, tensor({ shape: [1e9, 100] }), 400],
    ['another type', v2, tensor({ datatype: 'INT64' }), 400],
    ['a type that does not exist', v2, tensor({ datatype: 'FP33' }), 400],
    ['another input', v2, tensor({ name: 'nothing' }), 400],
    ['text as numbers', v2, tensor({ data: Array(100).fill('a') }), 400],
    ['null as a number', v2, tensor({ data: Array(100).fill(null) }), 400],
    ['NaN', v2, JSON.stringify(tensor()).replace('[0,', '[NaN,'), 400],
    ['a version that does not exist', '/v2/models/acme--digits/versions/99/infer', tensor(), 404],
    ['a version that is no number', '/v2/models/acme--digits/versions/one/infer', tensor(), 404],
    ['a name that is none', '/v2/models/digits/infer', tensor(), 400],
    ['explaining nothing', '/api/v1/models/acme--digits/explain', {}, 400],
    ['explaining a short row', '/api/v1/models/acme--digits/explain', { instances: [[1, 2]] }, 400],
    [
      'an unknown method',
      '/api/v1/models/acme--digits/explain',
      { instances: [Array(100).fill(0)], method: 'tea leaves' },
      400,
    ],
    ['a job of no kind', '/api/v1/jobs', { kind: 'dance', config: {} }, 400],
    ['a network of no layers', '/api/v1/jobs', { kind: 'train', config: { dataset: 'digits' } }, 400],
  ];

  it.each(cases)('%s', async (_, path, body, status) => {
    const key = path.startsWith('/api/v1/jobs')
      ? server.example.owner.apiKey
      : server.example.consumer.apiKey;
    const answer = await post(path, body, key);
    const problem = (await answer.json()) as Record<string, unknown>;
    expect(answer.status, JSON.stringify(problem)).toBe(status);
    if (path.startsWith('/v2')) {
      expect(Object.keys(problem)).toEqual(['error']);
      expect(problem.error).toMatch(/\w+ \w+/);
    } else {
      expect(answer.headers.get('content-type')).toContain('application/problem+json');
      expect(problem).toMatchObject({ status, code: expect.stringMatching(/^[A-Z_]+$/) });
    }
  });

  it('no key, and a wrong key', async () => {
    for (const headers of [{}, { authorization: 'Bearer cw_wrong' }]) {
      const answer = await fetch(`${server.baseUrl}/api/v1/models`, { headers });
      expect(answer.status).toBe(401);
      expect(await answer.json()).toMatchObject({ code: 'UNAUTHENTICATED' });
    }
  });

  it('a body of 100 MB', async () => {
    const answer = await post(v2, `{"inputs": [${' '.repeat(100e6)}]}`).catch((error: unknown) => error);
    // The server may answer 413 or close before everything is sent; it must not read it all.
    if (answer instanceof Response) expect(answer.status).toBe(413);
  });

  it.each([
    ['a truncated file', () => readFileSync(h5).subarray(0, 5000)],
    ['a text', () => Buffer.from('hello')],
    ['an empty file', () => Buffer.alloc(0)],
  ])('imports of %s leave nothing behind', async (_, bytes) => {
    const answer = await fetch(`${server.baseUrl}/api/v1/models/acme--broken/versions`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${server.example.owner.apiKey}`,
        'content-type': 'application/octet-stream',
      },
      body: new Uint8Array(bytes()),
    });
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({
      code: expect.stringMatching(/CORRUPT_MODEL|UNSUPPORTED_FORMAT|INVALID_REQUEST/),
    });
    const cw = new Commonwatt({ baseUrl: server.baseUrl, apiKey: server.example.owner.apiKey });
    await expect(cw.models.get('acme/broken')).rejects.toMatchObject({ status: 404 });
  });

  it('and afterwards it answers as before', async () => {
    const answer = await globex<Prediction>('predict', 'acme/digits', '--input', rowFile());
    expect(answer.outputs[0]).toHaveLength(1);
  });
});

describe('stopping and starting again', () => {
  it('SIGTERM ends it with 0; the next start is ready within 2 s, trains nothing and answers the same', async () => {
    const args = ['predict', 'acme/digits', '--input', rowFile()];
    const before = await globex<Prediction>(...args);
    const { dataFolder } = server;
    // Whatever else the machine does only ever makes a start slower: the best of three counts.
    const times: number[] = [];
    while (times.length < 3 && !times.some((ms) => ms < 2_000)) {
      expect(await server.stop({ keep: true })).toBe(0);
      server = await startExampleServer({ dataFolder, env: { COMMONWATT_GATEWAYS: gateways } });
      expect(server.output()).not.toMatch(/epoch \d/);
      times.push(server.readyMs);
    }
    expect(Math.min(...times), `${times} ms`).toBeLessThan(2_000);
    expect((await globex<Prediction>(...args)).outputs).toEqual(before.outputs);
    const jobs = await acme<{ jobs: Job[] }>('jobs');
    expect(jobs.jobs).toHaveLength(2);
  });

  it('a second server in the same folder is refused, with the reason', async () => {
    await expect(startExampleServer({ dataFolder: server.dataFolder })).rejects.toThrow(
      /in use by another server/,
    );
  });

  it('a taken port is named, with the variable that changes it', async () => {
    const { port } = new URL(server.baseUrl);
    await expect(startExampleServer({ env: { COMMONWATT_PORT: port } })).rejects.toThrow(
      new RegExp(`port ${port} .* taken[\\s\\S]*COMMONWATT_PORT=`),
    );
  });
});

function rowFile(): string {
  return join('test', 'e2e', 'row.json');
}
