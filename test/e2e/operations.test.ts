/** What an operator does to the real program under load: looks at it, replaces its runners, stops it. No answer is lost. */
import { type ChildProcess, execFileSync } from 'node:child_process';
import http from 'node:http';
import http2 from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lintMetrics } from '../telemetry/lint-metrics.ts';
import { inferOnce, inferStream } from './grpc-call.ts';
import { callAgainAndAgain, type Outcome } from './load.ts';
import { type ExampleServer, runCommand, spawnProgram, startExampleServer } from './server.ts';

interface Running {
  process: ChildProcess;
  baseUrl: string;
  grpcAddress: string;
  exit: Promise<number | null>;
  output(): string;
}

let made: ExampleServer;
let operatorKey = '';
let running: Running | undefined;

/** The example's data folder; the operator's key is told by the first start without the example. */
beforeAll(async () => {
  made = await startExampleServer();
  expect(await made.stop({ keep: true })).toBe(0);
});
afterAll(async () => {
  running?.process.kill('SIGKILL');
  await running?.exit;
  execFileSync('rm', ['-r', made.dataFolder]);
});

async function start(env: NodeJS.ProcessEnv): Promise<Running> {
  const child = spawnProgram(['up', '--json'], { COMMONWATT_DATA: made.dataFolder, ...env });
  let out = '';
  let output = '';
  const exit = new Promise<number | null>((resolve) => child.on('close', (code) => resolve(code)));
  child.stderr.on('data', (chunk: Buffer) => {
    output += chunk;
  });
  const ready = await new Promise<{ baseUrl: string; grpcAddress: string; operatorKey: string | null }>(
    (resolve, reject) => {
      child.stdout.on('data', (chunk: Buffer) => {
        out += chunk;
        if (/\}\s*$/.test(out)) resolve(JSON.parse(out));
      });
      void exit.then((code) => reject(new Error(`ended with ${code}: ${output}`)));
    },
  );
  operatorKey = ready.operatorKey ?? operatorKey;
  running = { ...ready, process: child, exit, output: () => output };
  return running;
}

const body = () =>
  JSON.stringify({
    inputs: [
      {
        name: 'input',
        shape: [1, 100],
        datatype: 'FP32',
        data: Array.from({ length: 100 }, () => Math.random()),
      },
    ],
  });

function load(
  { baseUrl }: Running,
  path: string,
  more: (all: readonly Outcome[]) => boolean,
  text = body(),
): Promise<Outcome[]> {
  const { apiKey } = made.example.owner;
  return callAgainAndAgain({ url: `${baseUrl}${path}`, apiKey, body: text, callers: 4, more });
}

const infer = '/v2/models/acme--digits/infer';
const generate = '/v2/models/acme--digits/generate_stream';
const generated = () => JSON.stringify({ input: Array.from({ length: 100 }, () => Math.random()) });
const authorization = () => ({ authorization: `Bearer ${made.example.owner.apiKey}` });

/** Status of GET, each time on a connection that is open already. */
function prober({ baseUrl }: Running) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const get = (path: string) =>
    new Promise<number | undefined>((resolve) => {
      http
        .get(`${baseUrl}${path}`, { agent }, (response) => {
          response.resume();
          response.on('end', () => resolve(response.statusCode));
        })
        .on('error', () => resolve(undefined));
    });
  return { get, close: () => agent.destroy() };
}

/** Calls over gRPC one after another until the connection is closed to new ones. */
async function callGrpc({ grpcAddress }: Running, more: () => boolean) {
  const session = http2.connect(`http://${grpcAddress}`);
  let leaving = false;
  session.on('goaway', () => {
    leaving = true;
  });
  session.on('error', () => {});
  const outcomes = [];
  while (more() && !leaving && !session.closed && !session.destroyed)
    outcomes.push(await inferOnce(session, authorization()));
  session.close();
  return outcomes;
}

describe.each(['2', '1'])('with %s gateways', (gateways) => {
  let server: Running;
  beforeAll(async () => {
    server = await start({ COMMONWATT_GATEWAYS: gateways, COMMONWATT_DRAIN_DELAY_MS: '1500' });
  });
  const command = (...args: string[]) =>
    runCommand([...args, '--json'], { baseUrl: server.baseUrl, apiKey: operatorKey });

  it('runners are replaced by command without a failed request', async () => {
    await load(server, infer, (all) => all.length < 8);
    const before = JSON.parse((await command('runners')).out).processes as { pid: number }[];
    expect(before.length).toBeGreaterThan(0);
    let done = false;
    const calls = Promise.all([load(server, infer, () => !done), callGrpc(server, () => !done)]);
    await sleep(300);
    const restarted = await command('runners', 'restart');
    await sleep(300);
    done = true;
    expect(restarted).toMatchObject({ code: 0, err: '' });
    const [outcomes, grpc] = await calls;
    expect(outcomes.filter(({ status }) => status !== 200)).toEqual([]);
    expect(grpc.filter(({ status }) => status !== '0')).toEqual([]);
    expect(outcomes.length).toBeGreaterThan(20);
    expect(grpc.length).toBeGreaterThan(5);
    const after = JSON.parse((await command('runners')).out).processes as { pid: number }[];
    expect(after.length).toBe(before.length);
    const old = new Set(before.map(({ pid }) => pid));
    expect(after.filter(({ pid }) => old.has(pid))).toEqual([]);
  });

  it('the doctor shows the operator what it runs', async () => {
    const { code, out } = await command('doctor');
    expect(code).toBe(0);
    const { findings } = JSON.parse(out) as { findings: { check: string; state: string; message: string }[] };
    const said = Object.fromEntries(findings.map(({ check, message }) => [check, message]));
    expect(said.providers).toMatch(/\bcpu\b/);
    expect(said.gateways).toMatch(gateways === '1' ? /^1, in the server/ : /^2 of 2 \(pids \d+, \d+\)$/);
    expect(said.runners).toMatch(/^\d+ running, .* 0 ended unasked$/);
    expect(said.runner).toMatch(/^pid \d+: .* resident; acme\/digits:1$/);
    expect(said['model memory']).toMatch(/^models hold .*B of .*B$/);
    expect(said.deployments).toBe('1 ready');
  });

  it('metrics are in order, and know each process', async () => {
    const text = await (await fetch(`${server.baseUrl}/metrics`)).text();
    expect(lintMetrics(text)).toEqual([]);
    expect(text).toMatch(/^commonwatt_processes\{process="runner"\} [1-9]/m);
    expect(text).toContain(`commonwatt_processes{process="door"} ${gateways === '1' ? 0 : gateways}\n`);
    for (const process of ['server', 'runner', ...(gateways === '1' ? [] : ['door'])]) {
      expect(text).toMatch(
        new RegExp(`^commonwatt_process_cpu_seconds_total\\{process="${process}"\\} [0-9.]*[1-9]`, 'm'),
      );
      expect(text).toMatch(
        new RegExp(`^commonwatt_process_resident_memory_bytes\\{process="${process}"\\} [1-9]`, 'm'),
      );
    }
    expect(text).toMatch(
      /^commonwatt_inference_request_duration_seconds_count\{model="acme\/digits",version="1"\} [1-9]/m,
    );
  });

  it('SIGTERM: not ready at once, answering as before for the grace, then every answer and exit 0', async () => {
    const probe = prober(server);
    expect(await probe.get('/health/ready')).toBe(200);
    const events = followEvents(server);
    await events.begun;
    const session = http2.connect(`http://${server.grpcAddress}`);
    session.on('error', () => {});
    const stream = inferStream(session, authorization());
    const sent: string[] = [];
    let toldAt = Number.POSITIVE_INFINITY;
    // What is sent until just before it is told to stop, and during the grace, is answered.
    const sending = setInterval(() => {
      if (performance.now() > toldAt + 1_000) return;
      sent.push(`s${sent.length}`);
      stream.send(sent.at(-1) ?? '');
    }, 10);
    const forEver = () => true;
    const calls = Promise.all([
      load(server, infer, forEver),
      load(server, generate, forEver, generated()),
      callGrpc(server, forEver),
    ]);
    await sleep(500);
    toldAt = performance.now();
    server.process.kill('SIGTERM');
    await sleep(300);
    const ready = [await probe.get('/health/ready'), await probe.get('/v2/health/ready')];
    const modelReady = await fetch(`${server.baseUrl}/v2/models/acme--digits/ready`, {
      headers: authorization(),
    });
    // A new connection is taken, too: load balancers have not heard yet.
    const [stillServed] = await load(server, infer, (all) => all.length < 4);
    expect(ready.some((status) => status !== 503)).toBe(false);
    expect(modelReady.status).toBeGreaterThanOrEqual(400);
    expect(stillServed?.status).toBe(200);
    expect(performance.now() - toldAt).toBeLessThan(1_500);
    const [rest, sse, grpc] = await calls;
    expect(await server.exit).toBe(0);
    const seconds = (performance.now() - toldAt) / 1000;
    clearInterval(sending);
    probe.close();
    expect(seconds).toBeGreaterThan(1.5);
    expect(seconds).toBeLessThan(15);
    for (const outcomes of [rest, sse]) {
      expect(outcomes.filter(({ status, refused }) => status !== 200 && !refused)).toEqual([]);
      expect(outcomes.filter(({ refused }) => refused)).toHaveLength(4);
      expect(outcomes.length).toBeGreaterThan(20);
    }
    expect(grpc.filter(({ status, refused }) => status !== '0' && !refused)).toEqual([]);
    expect(grpc.length).toBeGreaterThan(10);
    const { status } = await stream.ended;
    // 14: UNAVAILABLE, send the rest elsewhere.
    expect(status).toBe('14');
    expect(stream.answered().sort()).toEqual([...sent].sort());
    expect(await events.ended).toBe('end');
  });
});

it('a second signal leaves at once', async () => {
  const server = await start({ COMMONWATT_DRAIN_DELAY_MS: '60000' });
  server.process.kill('SIGTERM');
  await sleep(1_500);
  const at = performance.now();
  server.process.kill('SIGTERM');
  expect(await server.exit).toBe(1);
  expect(performance.now() - at).toBeLessThan(2_000);
});

/** Reads the stream of live figures; `ended`: how it ended. */
function followEvents({ baseUrl }: Running) {
  let begin = () => {};
  const begun = new Promise<void>((resolve) => {
    begin = resolve;
  });
  const ended = new Promise<string>((resolve) => {
    const url = `${baseUrl}/api/v1/events`;
    http
      .get(url, { headers: authorization() }, (response) => {
        expect(response.headers['content-type']).toMatch(/^text\/event-stream/);
        response.on('data', begin);
        response.on('end', () => resolve('end'));
        response.on('error', (error) => resolve(error.message));
      })
      .on('error', (error) => resolve(error.message));
  });
  return { begun, ended };
}
