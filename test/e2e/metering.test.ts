/**
 * One metering point below all protocols, before the real program: what the ledger books is what runners computed by
 * their own account, whichever way a request came and whatever became of it.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Commonwatt } from '@commonwatt/client';
import { afterAll, describe, expect, it } from 'vitest';
import { addingOne, onnxModel } from '../../src/runtimes/testing/onnx-graphs.ts';
import { openDatabase } from '../../src/storage/db.ts';
import { GrpcCaller, grpcRequest } from '../canary/grpc-caller.ts';
import { HttpCaller } from '../canary/http-caller.ts';
import type { Values } from '../canary/models.ts';
import { restBody } from '../canary/rest.ts';
import { spawnProgram } from './server.ts';

/**
 * y = 2x, by adding 1 as often as x says; a negative x counts up to 0, and then the model looks where nothing is: so
 * it computes as long as it is asked to, and fails after it.
 */
function slowModel(): Uint8Array {
  return onnxModel({
    inputs: [['x', 'FP32', [-1, 1]]],
    outputs: [['out', 'FP32', [-1, 1]]],
    nodes: [
      { op: 'Abs', inputs: ['x'], outputs: ['size'] },
      { op: 'ReduceMax', inputs: ['size'], outputs: ['most'], attributes: { keepdims: 0 } },
      { op: 'Cast', inputs: ['most'], outputs: ['times'], attributes: { to: { type: 'INT64' } } },
      { op: 'Loop', inputs: ['times', '', 'x'], outputs: ['y'], attributes: { body: addingOne() } },
      { op: 'Add', inputs: ['y', 'x'], outputs: ['both'] },
      { op: 'ReduceMin', inputs: ['both'], outputs: ['least'], attributes: { keepdims: 0 } },
      { op: 'Sign', inputs: ['least'], outputs: ['sign'] },
      { op: 'Neg', inputs: ['sign'], outputs: ['under'] },
      { op: 'Relu', inputs: ['under'], outputs: ['place'] },
      { op: 'Cast', inputs: ['place'], outputs: ['index'], attributes: { to: { type: 'INT64' } } },
      { op: 'Gather', inputs: ['table', 'index'], outputs: ['found'] },
      { op: 'Add', inputs: ['y', 'found'], outputs: ['out'] },
    ],
    floats: {
      one: { shape: [1], values: Float32Array.of(1) },
      table: { shape: [1], values: Float32Array.of(0) },
    },
  });
}

interface Server {
  baseUrl: string;
  grpcAddress: string;
  operatorKey: string;
  dataFolder: string;
  stop(): Promise<void>;
}

async function startServer(gateways: number): Promise<Server> {
  const dataFolder = mkdtempSync(join(tmpdir(), 'commonwatt-metering-'));
  const child = spawnProgram(['up', '--json'], {
    COMMONWATT_DATA: dataFolder,
    COMMONWATT_GATEWAYS: String(gateways),
    COMMONWATT_RUNNERS: '1',
    COMMONWATT_RUNNER_THREADS: '1',
  });
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()));
  let out = '';
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk;
  });
  while (!out.includes('\n}\n')) {
    if (child.exitCode !== null) throw new Error(`it ended: ${out}`);
    await sleep(20);
  }
  const told = JSON.parse(out.slice(0, out.indexOf('\n}\n') + 3)) as Omit<Server, 'dataFolder' | 'stop'>;
  return {
    ...told,
    dataFolder,
    stop: () => {
      child.kill('SIGTERM');
      return ended;
    },
  };
}

const protocols = ['json', 'binary', 'generate', 'generate_stream', 'grpc', 'stream'] as const;
type Protocol = (typeof protocols)[number];
const cases = ['finished', 'aborted', 'failed', 'cached'] as const;

interface Asking {
  apiKey: string;
  x: number;
  reuse?: boolean;
  leaveAfterMs?: number;
}

/** Whether it was answered; undefined: the caller left. */
async function ask(server: Server, protocol: Protocol, asking: Asking): Promise<boolean | undefined> {
  const { apiKey, x, reuse = false, leaveAfterMs } = asking;
  const input: Values = { name: 'x', datatype: 'FP32', shape: [1, 1], values: [x] };
  if (protocol === 'grpc' || protocol === 'stream') {
    const caller = new GrpcCaller(server.grpcAddress);
    const request = grpcRequest('acme/slow', '', input, { id: 'a', raw: true });
    const options = { apiKey, reuse, leaveAfterMs };
    try {
      if (protocol === 'grpc') {
        const reply = await caller.unary(request, options);
        return reply && reply.code === 0;
      }
      const { code, replies } = await caller.stream([request], options);
      return code === undefined ? undefined : replies.get('a')?.message === '';
    } finally {
      caller.close();
    }
  }
  const caller = new HttpCaller(server.baseUrl);
  const generated = protocol === 'generate' || protocol === 'generate_stream';
  const form = { binary: protocol === 'binary', binaryOutput: false, outputs: undefined, parameters: {} };
  const { body, headers } = generated
    ? { body: Buffer.from(JSON.stringify({ x })), headers: {} }
    : restBody(input, form);
  try {
    const reply = await caller.send({
      path: `/v2/models/acme%2Fslow/${generated ? protocol : 'infer'}`,
      body,
      leaveAfterMs,
      headers: {
        authorization: `Bearer ${apiKey}`,
        'content-type': 'application/json',
        ...(reuse ? {} : { 'cache-control': 'no-store' }),
        ...headers,
      },
    });
    return reply && reply.status === 200;
  } finally {
    caller.close();
  }
}

/** Seconds: what runners say that they computed, and what is booked. Runners are asked while they rest. */
async function accounts(server: Server, operator: Commonwatt) {
  await sleep(2600);
  const { runners, ledger } = await operator.server.get();
  const told = runners.processes.reduce((sum, { computedS }) => sum + computedS, 0);
  await operator.impact();
  const text = await (await fetch(`${server.baseUrl}/metrics`)).text();
  const booked = Number(/^commonwatt_ledger_compute_seconds_total (\S+)$/m.exec(text)?.[1] ?? Number.NaN);
  return { told, booked, alarms: ledger?.alarms };
}

let server: Server | undefined;
afterAll(() => server?.stop());

describe.each([1, 2])('with %i gateways', (gateways) => {
  it('books exactly what runners say they computed, for every protocol and whatever became of a request', async () => {
    server = await startServer(gateways);
    const { baseUrl, dataFolder, operatorKey } = server;
    const operator = new Commonwatt({ baseUrl, apiKey: operatorKey });
    const { admin } = await operator.organisations.create({ name: 'acme', admin: 'ada' });
    const owner = new Commonwatt({ baseUrl, apiKey: admin.apiKey });
    const { number } = await owner.versions.import('acme/slow', new Uint8Array(slowModel()));
    await owner.deployments.create({ model: `acme/slow:${number}` });
    const keys = new Map<string, { id: string; apiKey: string }>();
    for (const protocol of protocols)
      for (const what of cases)
        keys.set(`${protocol} ${what}`, await owner.keys.create({ name: `${protocol} ${what}` }));
    const before = await accounts(server, operator);

    const used = protocols.slice(0, gateways === 1 ? undefined : 4);
    for (const [index, protocol] of used.entries()) {
      const as = (what: (typeof cases)[number]) => keys.get(`${protocol} ${what}`)?.apiKey ?? '';
      const short = 1000 + index;
      expect(await ask(server, protocol, { apiKey: as('finished'), x: short })).toBe(true);
      expect(
        await ask(server, protocol, { apiKey: as('aborted'), x: 1_000_000, leaveAfterMs: 60 }),
      ).toBeUndefined();
      // Waits behind what goes on without its caller.
      expect(await ask(server, protocol, { apiKey: as('failed'), x: -20_000 })).toBe(false);
      for (let times = 0; times < 4; times++)
        expect(await ask(server, protocol, { apiKey: as('cached'), x: short, reuse: true })).toBe(true);
    }
    const after = await accounts(server, operator);
    expect(after.told - before.told).toBeGreaterThan(0.1);
    // Figures of lines are whole nanoseconds.
    expect(Math.abs(after.booked - before.booked - (after.told - before.told))).toBeLessThan(1e-6);
    expect(after.alarms).toBe(0);
    await server.stop();
    server = undefined;

    const db = await openDatabase(join(dataFolder, 'commonwatt.db'));
    const lines = await db.selectFrom('ledger_entries').where('key_id', 'is not', null).selectAll().execute();
    await db.destroy();
    rmSync(dataFolder, { recursive: true });
    for (const protocol of used) {
      const of = (what: string) =>
        lines.filter(({ key_id }) => key_id === keys.get(`${protocol} ${what}`)?.id);
      const outcomes = (what: string) =>
        of(what)
          .map(({ outcome }) => outcome)
          .sort();
      expect({ protocol, outcomes: cases.map(outcomes) }).toEqual({
        protocol,
        outcomes: [['finished'], ['aborted'], ['failed'], ['cached', 'cached', 'finished', 'finished']],
      });
      const [finished, aborted, failed] = [of('finished')[0], of('aborted')[0], of('failed')[0]];
      // In full: a thousand times the computing, and the runner's CPU time with it.
      expect(aborted?.cpu_s).toBeGreaterThan(0.05);
      expect(aborted?.energy_j).toBeGreaterThan(10 * (finished?.energy_j ?? Number.NaN));
      expect(failed?.cpu_s).toBeGreaterThan(0.001);
      for (const line of [finished, aborted, failed])
        expect(line).toMatchObject({ attribution_method: 'direct', runner_pid: expect.any(Number) });
      for (const line of of('cached').filter(({ outcome }) => outcome === 'cached')) {
        expect(line).toMatchObject({ attribution_method: 'proportional', runner_pid: null });
        expect(line.avoided_j).toBeGreaterThan(0);
      }
    }
  }, 180_000);
});

describe('an import', () => {
  it('is booked as overhead, and not to the requests beside it', async () => {
    server = await startServer(1);
    const { baseUrl, dataFolder, operatorKey } = server;
    const operator = new Commonwatt({ baseUrl, apiKey: operatorKey });
    const { admin } = await operator.organisations.create({ name: 'acme', admin: 'ada' });
    const owner = new Commonwatt({ baseUrl, apiKey: admin.apiKey });
    const { number } = await owner.versions.import('acme/slow', new Uint8Array(slowModel()));
    await owner.deployments.create({ model: `acme/slow:${number}` });
    // What the server does for the first time takes longer: the import, its deployment, and the requests.
    const once = async (name: string) => {
      const { number: version } = await owner.versions.import(`acme/${name}`, largeModel());
      await owner.deployments.create({ model: `acme/${name}:${version}` });
    };
    const request = (x: number) => ask(server as Server, 'json', { apiKey: admin.apiKey, x });
    for (let index = 0; index < 200; index++) await request(1);
    await once('first');
    await operator.impact();
    const { id: keyId, apiKey } = await owner.keys.create({ name: 'beside the import' });
    await operator.impact();
    await Promise.all([
      once('second'),
      ask(server, 'json', { apiKey, x: 2 }),
      ask(server, 'json', { apiKey, x: 3 }),
    ]);
    await operator.impact();
    await server.stop();
    server = undefined;

    const db = await openDatabase(join(dataFolder, 'commonwatt.db'));
    const lines = await db.selectFrom('ledger_entries').selectAll().execute();
    await db.destroy();
    rmSync(dataFolder, { recursive: true });
    const beside = lines.filter(({ key_id }) => key_id === keyId);
    expect(beside).toHaveLength(2);
    const sum = (note: string) =>
      lines.filter((line) => line.note === note).reduce((all, { cpu_s }) => all + cpu_s, 0);
    expect(sum('imports')).toBeGreaterThan(0.02);
    expect(sum('gateway: other work')).toBeGreaterThan(0.02);
    // The import alone takes the gateway some tens of milliseconds; a request takes a few at most.
    for (const { cpu_s } of beside) expect(cpu_s).toBeLessThan(sum('gateway: other work') / 4);
  }, 120_000);
});

/** 16 MB of weights. */
function largeModel(): Uint8Array<ArrayBuffer> {
  const width = 2048;
  return new Uint8Array(
    onnxModel({
      inputs: [['x', 'FP32', [-1, width]]],
      outputs: [['y', 'FP32', [-1, width]]],
      nodes: [{ op: 'MatMul', inputs: ['x', 'weights'], outputs: ['y'] }],
      floats: { weights: { shape: [width, width], values: new Float32Array(width * width).fill(0.5) } },
    }),
  );
}
