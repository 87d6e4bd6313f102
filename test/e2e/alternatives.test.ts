/** What a smaller model of the same task would have used, told by the real program from its own ledger. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Commonwatt } from '@commonwatt/client';
import { expect, it, onTestFinished } from 'vitest';
import { onnxModel } from '../../src/runtimes/testing/onnx-graphs.ts';
import { spawnProgram } from './server.ts';

/** 100 numbers to `last`, by way of `width` and as wide again. */
function network(width: number, last = 1): Uint8Array {
  const weights = (rows: number, columns: number) => ({
    shape: [rows, columns],
    values: new Float32Array(rows * columns).fill(0.01),
  });
  return onnxModel({
    inputs: [['x', 'FP32', [-1, 100]]],
    outputs: [['y', 'FP32', [-1, last]]],
    nodes: [
      { op: 'MatMul', inputs: ['x', 'a'], outputs: ['first'] },
      { op: 'MatMul', inputs: ['first', 'b'], outputs: ['second'] },
      { op: 'MatMul', inputs: ['second', 'c'], outputs: ['y'] },
    ],
    floats: { a: weights(100, width), b: weights(width, width), c: weights(width, last) },
  });
}

it('tells smaller models of the same tensors that the caller may use, and no others', async () => {
  const child = spawnProgram(['up', '--json'], {
    COMMONWATT_DATA: mkdtempSync(join(tmpdir(), 'commonwatt-alternatives-')),
    COMMONWATT_CACHE_BYTES: '0',
    COMMONWATT_RUNNERS: '1',
  });
  onTestFinished(() => void child.kill('SIGTERM'));
  let out = '';
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk;
  });
  while (!out.includes('\n}\n')) {
    if (child.exitCode !== null) throw new Error(`it ended: ${out}`);
    await sleep(20);
  }
  const { baseUrl, operatorKey } = JSON.parse(out.slice(0, out.indexOf('\n}\n') + 3));
  const operator = new Commonwatt({ baseUrl, apiKey: operatorKey });
  const memberOf = async (name: string) => {
    const { admin } = await operator.organisations.create({ name, admin: 'ada' });
    return new Commonwatt({ baseUrl, apiKey: admin.apiKey });
  };
  const [acme, globex, initech] = [
    await memberOf('acme'),
    await memberOf('globex'),
    await memberOf('initech'),
  ];
  const models = { wide: network(1500), narrow: network(8), other: network(8, 2) };
  for (const [name, bytes] of Object.entries(models)) {
    await acme.versions.import(`acme/${name}`, Uint8Array.from(bytes));
    await acme.deployments.create({ model: `acme/${name}:1` });
  }
  await acme.grants.create('acme/wide', { organisation: 'globex', permissions: ['infer'] });
  const row = Array.from({ length: 100 }, (_, index) => index / 100);
  for (let round = 0; round < 30; round++)
    for (const name of Object.keys(models)) await acme.predict(`acme/${name}`, [row]);

  // A report settles what is open.
  const report = await acme.impact({ groupBy: 'version' });
  const whOf = (key: string) => {
    const group = report.groups.find(({ by }) => by.version === key);
    return group?.energyWh ?? Number.NaN;
  };
  const own = await acme.models.alternatives('acme/wide');
  expect(own).toMatchObject({ model: 'acme/wide', version: 1, requests: 30, unknown: {} });
  expect(own.alternatives.map(({ model }) => model)).toEqual(['acme/narrow']);
  const [narrow] = own.alternatives;
  expect(narrow).toMatchObject({ version: 1, requests: 30 });
  expect(narrow?.ratio).toBeLessThan(1);
  // Without the idle power of standing ready, which is in the group, too, a request's own lines are less.
  expect((narrow?.energyWhPerRequest ?? 0) * 30).toBeLessThanOrEqual(whOf('acme/narrow:1') * (1 + 1e-9));
  let booked = 0;
  let lines = 0;
  for await (const line of acme.ledger.lines({ model: 'acme/narrow' })) {
    if (line.kind !== 'inference') continue;
    booked += line.energyWh ?? Number.NaN;
    lines++;
  }
  expect(lines).toBe(30);
  expect(narrow?.energyWhPerRequest).toBeCloseTo(booked / 30, 12);

  const granted = await globex.models.alternatives('acme/wide');
  expect(granted.energyWhPerRequest).toBe(own.energyWhPerRequest);
  expect(granted).toMatchObject({ requests: null, alternatives: [] });
  await expect(initech.models.alternatives('acme/wide')).rejects.toMatchObject({ status: 404 });
  await expect(acme.models.alternatives('acme/wide', { version: 7 })).rejects.toMatchObject({ status: 404 });
}, 60_000);
