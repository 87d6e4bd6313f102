import { mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { run } from './cli.ts';
import type { Terminal } from './terminal.ts';

let server: Server;
let url: string;
let seen: { method: string; url: string; authorization: string | undefined; body: string }[] = [];
let answers: Record<string, unknown> = {};

beforeAll(async () => {
  server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    const route = `${request.method} ${request.url}`;
    seen.push({
      method: request.method ?? '',
      url: request.url ?? '',
      authorization: request.headers.authorization,
      body,
    });
    const found = answers[route];
    response.writeHead(found === undefined ? 404 : 200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(found ?? { status: 404, code: 'MODEL_NOT_FOUND', detail: `no ${route}` }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => server.close());
beforeEach(() => {
  seen = [];
  answers = {
    'GET /api/v1/whoami': { organisation: 'acme', member: 'ada', role: 'admin', keyId: 'k' },
    'GET /api/v1/models': { models: [] },
  };
});

/** Runs one command line as a program without a terminal would, and collects what it says. */
async function call(args: string[], options: { env?: NodeJS.ProcessEnv; input?: string } = {}) {
  let out = '';
  let err = '';
  const terminal: Terminal = {
    env: options.env ?? { COMMONWATT_URL: url, COMMONWATT_API_KEY: 'cw_env', HOME: folder() },
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    outIsTty: false,
    errIsTty: false,
    inIsTty: false,
    readInput: async () => options.input ?? '',
    exitCode: 0,
  };
  return { code: await run(args, terminal), out, err };
}

const folder = () => mkdtempSync(join(tmpdir(), 'commonwatt-cli-'));
const commands =
  'up login train import evaluate deploy share predict explain export impact calibrate models datasets jobs keys orgs runners doctor'.split(
    ' ',
  );

describe('wrong use exits 2 and says what would be right', () => {
  it.each([
    [['predikt', 'acme/digits'], /unknown command/],
    [['predict'], /missing required argument 'model'/],
    [['predict', 'digits', '--row', '7'], /organisation\/model/],
    [['predict', 'acme/digits', '--row', 'seven'], /whole number/],
    [['predict', 'acme/digits', '--nonsense'], /unknown option/],
    [['export', 'acme/digits', '--format', 'pdf', '--out', 'x'], /Allowed choices are h5, onnx/],
    [['share', 'acme/digits', '--with', 'globex', '--limit', '0/day'], /1000\/day/],
    [
      ['share', 'acme/digits', '--with', 'globex', '--permissions', 'all'],
      /none of infer, explain, download/,
    ],
    [['share', 'acme/digits'], /share with whom/],
    [['import', '/nowhere/model.h5', '--name', 'acme/digits'], /does not exist/],
    [['train', '--config', '/nowhere/train.yaml'], /does not exist/],
    [['impact', '--from', 'yesterday'], /ISO 8601/],
    [['models', '--url', 'localhost:8080'], /not the URL of a server/],
    [[], /Usage: commonwatt/],
  ])('%j', async (args, message) => {
    const { code, err, out } = await call(args);
    expect(err).toMatch(message);
    expect(code).toBe(2);
    expect(out).toBe('');
    expect(seen).toEqual([]);
  });

  it('input that is not rows of numbers', async () => {
    const { code, err } = await call(['predict', 'acme/digits'], { input: '{"rows": "none"}' });
    expect(err).toContain('[[0, 0.5, …], …]');
    expect(code).toBe(2);
  });
});

describe('help', () => {
  it.each(commands)('%s --help has an example and --json, and exits 0', async (command) => {
    const { code, out } = await call([command, '--help']);
    expect(code).toBe(0);
    expect(out).toMatch(/Examples?:\n {2}\$ (echo .* \| )?commonwatt /);
    expect(out).toContain('--json');
  });

  it('lists every command', async () => {
    const { code, out } = await call(['--help']);
    expect(code).toBe(0);
    for (const command of commands) expect(out).toMatch(new RegExp(`^  ${command} `, 'm'));
  });
});

describe('deploy', () => {
  const deployment = { id: 'd1', model: 'acme/digits', version: 1, state: 'ready', settings: null };
  const sent = () => JSON.parse(seen.at(-1)?.body ?? '{}');
  beforeEach(() => {
    answers['POST /api/v1/deployments'] = deployment;
    const [one, two] = [1, 2].map((number) => ({
      number,
      dataset: null,
      inputs: [{ name: 'X', datatype: 'FP32', shape: [-1, number] }],
    }));
    answers['GET /api/v1/models/acme%2Fdigits'] = { versions: [two, one] };
  });

  it('serves the newest version when none is named, and says how to ask it', async () => {
    const { code, out } = await call(['deploy', 'acme/digits']);
    expect(code).toBe(0);
    expect(sent()).toEqual({ model: 'acme/digits:2' });
    expect(out).toBe("acme/digits:2 is ready\nnext: commonwatt predict acme/digits --set 'X=[2 numbers]'\n");
  });

  it('sends no settings when none are given', async () => {
    expect((await call(['deploy', 'acme/digits:1'])).code).toBe(0);
    expect(sent()).toEqual({ model: 'acme/digits:1' });
  });

  it('sends those of the flags before those of the file', async () => {
    const file = join(folder(), 'settings.yaml');
    writeFileSync(file, 'maxBatchSize: 8\nidleUnloadS: 60\ncache: {maxAgeS: 9}\n');
    const flags =
      '--max-batch-size 64 --max-queue-delay-ms adaptive --preferred-batch-sizes 8,16 --queue-timeout-ms none --warm-up none --pinned --cache everyone --replicas 2 --execution-providers cuda,cpu';
    const { code, err } = await call(['deploy', 'acme/digits:1', '--settings', file, ...flags.split(' ')]);
    expect([code, err]).toEqual([0, 'loading acme/digits:1 …\n']);
    expect(sent().settings).toEqual({
      maxBatchSize: 64,
      idleUnloadS: 60,
      cache: { maxAgeS: 9, enabled: true, scope: 'everyone' },
      maxQueueDelayMs: 'adaptive',
      preferredBatchSizes: [8, 16],
      queueTimeoutMs: null,
      warmUpBatchSizes: [],
      pinned: true,
      replicas: 2,
      executionProviders: ['cuda', 'cpu'],
    });
  });

  it.each([
    [['--max-batch-size', 'many'], /write a number/],
    [['--cache', 'maybe'], /on, off or everyone/],
    [['--settings', '/nowhere.yaml'], /does not exist/],
  ])('%j is wrong use', async (flags, message) => {
    const { code, err } = await call(['deploy', 'acme/digits:1', ...flags]);
    expect([code, seen]).toEqual([2, []]);
    expect(err).toMatch(message);
  });

  it('lists the state of each, why it failed, and what it holds', async () => {
    const failed = { ...deployment, id: 'd2', state: 'failed', reason: 'no graph', memoryBytes: 0 };
    answers['GET /api/v1/deployments'] = {
      deployments: [
        { ...deployment, memoryBytes: 2_000_000, reason: null, settings: { pinned: true } },
        failed,
      ],
    };
    const { out } = await call(['deploy', '--list']);
    expect(out).toMatch(/d1 +acme\/digits:1 +ready, pinned +2 MB\n/);
    expect(out).toMatch(/d2 +acme\/digits:1 +failed +no graph\n/);
  });

  it('moves an alias with what it needs', async () => {
    const route = 'PUT /api/v1/models/acme%2Fdigits/aliases/production';
    answers[route] = { alias: 'production', version: 2, retired: 1 };
    const { out } = await call('models alias acme/digits production 2 --deploy --retire'.split(' '));
    expect(sent()).toEqual({ version: 2, deploy: true, retire: true });
    expect(out).toBe('acme/digits@production is version 2\nversion 1 is no longer served\n');
  });
});

describe('the server is found', () => {
  it('by flags before environment before login', async () => {
    const env = { HOME: folder() };
    await call(['login', url], { env, input: 'cw_login\n' });
    await call(['models'], { env });
    await call(['models'], { env: { ...env, COMMONWATT_API_KEY: 'cw_env' } });
    await call(['models', '--key', 'cw_flag'], { env: { ...env, COMMONWATT_API_KEY: 'cw_env' } });
    expect(seen.map(({ authorization }) => authorization)).toEqual(
      ['cw_login', 'cw_login', 'cw_env', 'cw_flag'].map((key) => `Bearer ${key}`),
    );
  });

  it('but the key of the login goes to no other server', async () => {
    const env = { HOME: folder() };
    await call(['login', url], { env, input: 'cw_login' });
    const { code, err } = await call(['models', '--url', 'http://127.0.0.1:9'], { env });
    expect(code).toBe(2);
    expect(err).toContain('no API key for http://127.0.0.1:9');
  });

  it('login writes a file that only its owner reads, where XDG_CONFIG_HOME says', async () => {
    const home = folder();
    const { out } = await call(['login', url, '--json'], { env: { XDG_CONFIG_HOME: home }, input: 'cw_x' });
    const file = join(home, 'commonwatt', 'login.json');
    expect(JSON.parse(out)).toMatchObject({ organisation: 'acme', file });
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual({ url, apiKey: 'cw_x' });
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  it('a key the server refuses is not remembered', async () => {
    answers = {};
    const home = folder();
    const { code } = await call(['login', url], { env: { XDG_CONFIG_HOME: home }, input: 'cw_x' });
    expect(code).toBe(1);
    expect(() => statSync(join(home, 'commonwatt'))).toThrow();
  });
});

describe('answers', () => {
  it('failures exit 1, with the hint; as JSON with --json', async () => {
    const env = { COMMONWATT_URL: 'http://127.0.0.1:9', COMMONWATT_API_KEY: 'x' };
    const plain = await call(['models'], { env });
    expect(plain.code).toBe(1);
    expect(plain.err).toMatch(/^error: http:\/\/127.0.0.1:9 cannot be reached.*\nhint: {2}start the server/);
    const json = await call(['models', 'acme/nothing', '--json']);
    expect(JSON.parse(json.err).error).toMatchObject({ code: 'MODEL_NOT_FOUND' });
    expect(json.out).toBe('');
  });

  it('options work on both sides of a subcommand', async () => {
    answers['POST /api/v1/keys'] = { id: '1', apiKey: 'cw_new', member: 'ada' };
    for (const args of [
      ['keys', '--json', 'create', 'laptop'],
      ['keys', 'create', 'laptop', '--json'],
    ])
      expect(JSON.parse((await call(args)).out)).toMatchObject({ apiKey: 'cw_new' });
  });

  it('predict sends the row of a file and shows the footprint', async () => {
    answers['GET /v2/models/acme%2Fdigits'] = {
      name: 'acme--digits',
      inputs: [{ name: 'input', datatype: 'FP32', shape: [-1, 2] }],
    };
    const impact = {
      energyWh: 1e-6,
      idleShareWh: 1e-7,
      carbonGCo2e: 4.8e-7,
      quality: 'estimated',
      method: 'cpu-time',
    };
    answers['POST /v2/models/acme%2Fdigits/infer'] = {
      model_name: 'acme--digits',
      model_version: '1',
      outputs: [{ name: 'y', datatype: 'FP32', shape: [1, 1], data: [0.5] }],
      usage: { impact },
    };
    const file = join(folder(), 'row.json');
    writeFileSync(file, '[0.25, 1]');
    const { out, code } = await call(['predict', 'acme/digits', '--input', file]);
    expect(code).toBe(0);
    expect(out).toContain('0.500000');
    expect(out).toContain('used 3.6 mJ (of it idle 360 µJ), 480 ngCO2e, estimated by cpu-time');
    expect(JSON.parse(seen[1]?.body ?? '').inputs[0]).toMatchObject({ shape: [1, 2], data: [0.25, 1] });
  });

  it('predict shows every output, and sends a flat row in the shape of the input', async () => {
    answers['GET /v2/models/acme%2Fdigits'] = {
      name: 'acme--digits',
      inputs: [{ name: 'image', datatype: 'FP32', shape: [-1, 2, 2] }],
    };
    answers['POST /v2/models/acme%2Fdigits/infer'] = {
      model_name: 'acme--digits',
      model_version: '1',
      outputs: [
        { name: 'label', datatype: 'INT64', shape: [1], data: [3] },
        { name: 'scores', datatype: 'FP32', shape: [1, 2], data: [0.25, 0.75] },
      ],
      usage: {
        impact: { energyWh: null, idleShareWh: null, carbonGCo2e: null, quality: 'assumed', method: 'off' },
      },
    };
    const { out, code } = await call(['predict', 'acme/digits'], { input: '[1, 2, 3, 4]' });
    expect(code).toBe(0);
    expect(out).toContain('  label  3\n  scores  0.250000  0.750000\n');
    expect(JSON.parse(seen[1]?.body ?? '').inputs[0]).toMatchObject({ shape: [1, 2, 2], data: [1, 2, 3, 4] });
  });

  it('doctor tells what is wrong with the configuration', async () => {
    const { code, out } = await call(['doctor', '--json'], {
      env: { COMMONWATT_PORT: '99999', HOME: folder() },
    });
    expect(code).toBe(1);
    expect(JSON.parse(out).findings[0]).toMatchObject({
      check: 'configuration',
      state: 'problem',
      message: expect.stringContaining('COMMONWATT_PORT'),
    });
  });
});
