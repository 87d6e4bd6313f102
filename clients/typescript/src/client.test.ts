import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Commonwatt, CommonwattApiError } from './index.ts';

interface Seen {
  method: string;
  url: string;
  headers: IncomingMessage['headers'];
  body: string;
}

let server: Server;
let cw: Commonwatt;
let seen: Seen[] = [];
let answers: { status?: number; type?: string; body: string; delayMs?: number }[] = [];

beforeAll(async () => {
  server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    seen.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers, body });
    const answer = answers.shift() ?? { body: '{}' };
    if (answer.delayMs) await new Promise((resolve) => setTimeout(resolve, answer.delayMs));
    response.writeHead(answer.status ?? 200, { 'content-type': answer.type ?? 'application/json' });
    response.end(answer.body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  cw = new Commonwatt({ baseUrl: `http://127.0.0.1:${port}/`, apiKey: 'cw_test' });
});
afterAll(() => server.close());
beforeEach(() => {
  seen = [];
  answers = [];
});

const last = () => seen[seen.length - 1];

describe('the client', () => {
  it('sends its key and percent-encodes the model name once', async () => {
    await cw.models.get('acme/digits');
    expect(last()?.url).toBe('/api/v1/models/acme%2Fdigits');
    expect(last()?.headers.authorization).toBe('Bearer cw_test');
  });

  it('turns problem details into an error with code, hint and request id', async () => {
    const problem = { title: 'Not Found', status: 404, code: 'MODEL_NOT_FOUND', detail: 'no', hint: 'ask' };
    answers = [
      {
        status: 404,
        type: 'application/problem+json',
        body: JSON.stringify({ ...problem, requestId: 'r1' }),
      },
    ];
    const error: unknown = await cw.models.get('acme/nothing').catch((e: unknown) => e);
    expect(error).toBeInstanceOf(CommonwattApiError);
    expect(error).toMatchObject({
      status: 404,
      code: 'MODEL_NOT_FOUND',
      detail: 'no',
      hint: 'ask',
      requestId: 'r1',
    });
  });

  it('understands the error shape of the inference protocol, and answers that are no JSON', async () => {
    answers = [
      { status: 400, body: '{"error":"input has 99 values"}' },
      { type: 'text/html', body: '<html>' },
    ];
    await expect(cw.infer('acme/digits', { inputs: [] })).rejects.toMatchObject({
      status: 400,
      code: 'HTTP_400',
      detail: 'input has 99 values',
    });
    await expect(cw.whoami()).rejects.toMatchObject({ code: 'NOT_COMMONWATT' });
  });

  it('says why it knows no impact of an answer that carries none', async () => {
    answers = [{ body: JSON.stringify({ model_name: 'acme--digits', model_version: '3', outputs: [] }) }];
    const { usage } = await cw.infer('acme/digits', { inputs: [] });
    expect(usage.impact).toMatchObject({
      energyWh: null,
      unknown: { energyWh: expect.stringContaining('answers.forms') },
    });
  });

  it('says that a server cannot be reached, and how to start one', async () => {
    const nobody = new Commonwatt({ baseUrl: 'http://127.0.0.1:1', apiKey: 'x' });
    await expect(nobody.whoami()).rejects.toMatchObject({
      status: 0,
      code: 'UNREACHABLE',
      hint: expect.stringContaining('npm start'),
    });
  });

  it('predicts rows: asks for the input, sends one tensor, gives a row of outputs for each instance', async () => {
    answers = [
      {
        body: JSON.stringify({
          name: 'acme--digits',
          inputs: [{ name: 'pixels', datatype: 'FP32', shape: [-1, 2] }],
          outputs: [],
        }),
      },
      {
        body: JSON.stringify({
          model_name: 'acme--digits',
          model_version: '3',
          outputs: [{ name: 'y', datatype: 'FP32', shape: [2, 1], data: [0.25, 0.75] }],
          usage: { impact: { energyWh: 1e-6 } },
        }),
      },
    ];
    const answer = await cw.predict('acme/digits', [
      [1, 2],
      [3, 4],
    ]);
    expect(answer).toMatchObject({ version: 3, outputs: [[0.25], [0.75]], impact: { energyWh: 1e-6 } });
    expect(JSON.parse(last()?.body ?? '')).toEqual({
      inputs: [{ name: 'pixels', datatype: 'FP32', shape: [2, 2], data: [1, 2, 3, 4] }],
    });
  });

  it('leaves no output out: models with several are for infer', async () => {
    const outputs = ['label', 'scores'].map((name) => ({ name, datatype: 'FP32', shape: [-1] }));
    const inputs = [{ name: 'x', datatype: 'FP32', shape: [-1, 1] }];
    answers = [{ body: JSON.stringify({ name: 'm', inputs, outputs }) }];
    await expect(cw.predict('acme/m', [[1]])).rejects.toThrow(/2 outputs: call infer/);
  });

  it.each([
    [[-1, 2, 2], 4, [1, 2, 2]],
    [[-1, 2, 2], 3, [1, 3]],
    [[-1, -1, -2], 2, [1, 2]],
    [[-1], 1, [1]],
  ])('gives rows the shape %j of the input when %i numbers fill it', async (shape, numbers, sent) => {
    const input = { name: 'image', datatype: 'FP32', shape };
    answers = [
      { body: JSON.stringify({ name: 'm', inputs: [input], outputs: [] }) },
      { body: JSON.stringify({ model_name: 'm', model_version: '1', outputs: [], usage: { impact: {} } }) },
    ];
    await cw.predict('acme/m', [Array<number>(numbers).fill(0)]);
    expect(JSON.parse(last()?.body ?? '').inputs[0].shape).toEqual(sent);
  });

  it('streams uploads, with their parameters in the query', async () => {
    const csv = new Blob(['p0,even\n', '0.5,1\n']).stream();
    await cw.datasets.upload({ name: 'digits', label: 'even', seed: 42 }, csv);
    expect(last()).toMatchObject({ method: 'POST', body: 'p0,even\n0.5,1\n' });
    expect(last()?.url).toBe('/api/v1/datasets?name=digits&label=even&seed=42');
    expect(last()?.headers['content-type']).toBe('text/csv');
    expect(last()?.headers['transfer-encoding']).toBe('chunked');
  });

  it('follows a job until it ends and reports each change once', async () => {
    const job = (state: string, epoch: number) => ({
      body: JSON.stringify({ id: 'j', state, progress: { epoch } }),
    });
    answers = [job('running', 1), job('running', 1), job('running', 2), job('succeeded', 2)];
    const reported: string[] = [];
    const end = await cw.jobs.wait('j', {
      intervalMs: 1,
      onProgress: ({ state, progress }) =>
        reported.push(`${state} ${progress && 'epoch' in progress ? progress.epoch : 'without an epoch'}`),
    });
    expect(end.state).toBe('succeeded');
    expect(reported).toEqual(['running 1', 'running 2', 'succeeded 2']);
  });

  it('stops at once when told to', async () => {
    answers = [{ body: '{}', delayMs: 2_000 }];
    const started = Date.now();
    await expect(cw.whoami({ signal: AbortSignal.timeout(30) })).rejects.toMatchObject({
      name: 'TimeoutError',
    });
    expect(Date.now() - started).toBeLessThan(1_500);
  });
});
