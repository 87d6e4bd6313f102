/** Many versions behind one name, on the real server: aliases and settings change under load, idle models come back. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Commonwatt } from '@commonwatt/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeKerasH5 } from '../../src/models/formats/keras-h5-write.ts';
import { runCommand, spawnProgram } from './server.ts';

const model = 'acme/line';
const data = mkdtempSync(join(tmpdir(), 'deployments-e2e-'));
let server: Awaited<ReturnType<typeof start>>;
let apiKey: string;

async function start() {
  const child = spawnProgram(['up', '--json'], { COMMONWATT_DATA: data });
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk;
  });
  child.stderr.on('data', (chunk: Buffer) => {
    err += chunk;
  });
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  while (!out.includes('\n}\n')) {
    if (child.exitCode !== null) throw new Error(`it ended: ${err}`);
    await sleep(20);
  }
  const { baseUrl, operatorKey }: { baseUrl: string; operatorKey: string | null } = JSON.parse(out);
  const stop = async () => {
    child.kill('SIGTERM');
    return ended;
  };
  return { baseUrl, operatorKey, stop };
}

function owner() {
  return new Commonwatt({ baseUrl: server.baseUrl, apiKey });
}

async function importVersion(factor: number) {
  const layer = { name: 'line', type: 'dense', units: 1, activation: 'linear' } as const;
  const layers = [{ ...layer, kernel: Float32Array.of(factor), bias: Float32Array.of(0) }];
  const h5 = await writeKerasH5({ name: 'line', inputSize: 1, layers });
  const version = await owner().versions.import(model, new Uint8Array(h5));
  return version.number;
}

/** Each time with another input, so that no answer is used again. */
let asked = 1;
async function factorOf(route: string): Promise<number> {
  const x = asked++;
  const response = await fetch(
    `${server.baseUrl}/v2/models/${encodeURIComponent(`${model}${route}`)}/infer`,
    {
      method: 'POST',
      headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ inputs: [{ name: 'input', shape: [1, 1], datatype: 'FP32', data: [x] }] }),
    },
  );
  const text = await response.text();
  if (response.status !== 200) throw new Error(`${route} answered ${response.status}: ${text}`);
  return JSON.parse(text).outputs[0].data[0] / x;
}

async function underLoad(work: () => Promise<void>): Promise<Set<number>> {
  let done = false;
  const factors = new Set<number>();
  const client = async () => {
    while (!done) factors.add(await factorOf('@best'));
  };
  const clients = Promise.all([1, 2, 3, 4].map(client));
  await Promise.race([work(), clients]).finally(() => {
    done = true;
  });
  await clients;
  return factors;
}

beforeAll(async () => {
  server = await start();
  const operator = new Commonwatt({ baseUrl: server.baseUrl, apiKey: server.operatorKey ?? '' });
  const { admin } = await operator.organisations.create({ name: 'acme', admin: 'ada' });
  apiKey = admin.apiKey;
  for (const factor of [1, 2, 3]) await importVersion(factor);
});
afterAll(async () => {
  await server?.stop();
  rmSync(data, { recursive: true, force: true });
});

describe('deployments of a running server', () => {
  it('change versions and settings under load without a failed request', async () => {
    const cw = owner();
    const { id } = await cw.deployments.create({ model: `${model}:1`, alias: 'best' });
    const factors = await underLoad(async () => {
      await cw.models.setAlias(model, 'best', 2, { deploy: true });
      for (let turn = 0; turn < 50; turn++) await cw.models.setAlias(model, 'best', 1 + (turn % 2));
      await cw.deployments.change(id, { maxBatchSize: 4 });
      await cw.deployments.change(id, { threads: 1 });
      await cw.models.setAlias(model, 'best', 3, { deploy: true, retire: true });
    });
    expect(factors).toEqual(new Set([1, 2, 3]));
    expect((await cw.deployments.list()).map(({ version }) => version).sort()).toEqual([1, 3]);
    expect(await cw.deployments.get(id)).toMatchObject({ settings: { maxBatchSize: 4, threads: 1 } });
  });

  it('are listed with their state, and counted for Prometheus', async () => {
    const { out } = await runCommand(['deploy', '--list'], { baseUrl: server.baseUrl, apiKey });
    expect(out).toMatch(/acme\/line:3 +ready/);
    const text = await (await fetch(`${server.baseUrl}/metrics`)).text();
    expect(text).toMatch(
      /^commonwatt_inference_request_success_total\{model="acme\/line",version="3"\} \d+$/m,
    );
    expect(text).toMatch(/^commonwatt_deployments\{state="ready"\} 2$/m);
  });

  it('cost no memory after a restart until they are asked, unless they are pinned', async () => {
    const [one] = await owner().deployments.list();
    const options = ['deploy', `${model}:1`, '--pinned', '--idle-unload-s', 'none'];
    const { code, err } = await runCommand(options, { baseUrl: server.baseUrl, apiKey });
    expect([code, err]).toEqual([0, expect.stringContaining('loading')]);
    expect(await server.stop()).toBe(0);
    server = await start();
    const states = async () =>
      (await owner().deployments.list()).map(({ version, state }) => `${version} ${state}`);
    expect(await states()).toEqual(['1 ready', '3 idle']);
    expect((await fetch(`${server.baseUrl}/health/ready`)).status).toBe(200);
    expect(await owner().deployments.get(one?.id ?? '')).toMatchObject({ settings: { idleUnloadS: null } });
    expect(await factorOf('@best')).toBe(3);
    expect(await states()).toEqual(['1 ready', '3 ready']);
  });
});
