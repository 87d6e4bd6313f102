/** Forms and receipts of the running product, with doors in processes of their own: asked for, verified, settled. */

import { Commonwatt, type SignedReceipt } from '@commonwatt/client';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { GRPCInferenceService } from '../../src/api/inference/proto/open_inference_grpc_pb.ts';
import { type ExampleServer, runCommand, startExampleServer } from './server.ts';

let server: ExampleServer;
beforeAll(async () => {
  server = await startExampleServer({ env: { COMMONWATT_GATEWAYS: '2' } });
});
afterAll(() => server?.stop({ keep: false }));

const named = () => server.example.model.replace('--', '/');
const row = Array.from({ length: 100 }, (_, at) => at / 100);
const body = JSON.stringify({ inputs: [{ name: 'input', shape: [1, 100], datatype: 'FP32', data: row }] });

function infer(headers: Record<string, string> = {}): Promise<Response> {
  const { model, consumer } = server.example;
  return fetch(`${server.baseUrl}/v2/models/${model}/infer`, {
    method: 'POST',
    headers: { authorization: `Bearer ${consumer.apiKey}`, 'cache-control': 'no-store', ...headers },
    body,
  });
}

const command = (args: string[], input = '', apiKey = server.example.consumer.apiKey) =>
  runCommand(args, { baseUrl: server.baseUrl, apiKey, input });

async function verified(text: string) {
  const { code, out, err } = await command(['impact', 'verify', '-', '--json'], text);
  expect(code, out + err).toBe(0);
  return (JSON.parse(out) as { claims: SignedReceipt['claims'] }).claims;
}

it('an answer has a receipt when it is asked for, which says what the answer says', async () => {
  const { model } = server.example;
  expect((await infer()).headers.get('x-commonwatt-receipt')).toBeNull();
  const response = await infer({ 'x-commonwatt-receipt': '1' });
  const claims = await verified(response.headers.get('x-commonwatt-receipt') ?? '');
  const { usage } = (await response.json()) as { usage: { impact: Record<string, unknown> } };
  const { energyWh, carbonGCo2e, quality, method, methodVersion } = usage.impact;
  expect(claims).toMatchObject({
    sub: response.headers.get('x-commonwatt-request-id'),
    model: named(),
    version: 1,
    settled: false,
    ...{ energyWh, carbonGCo2e, quality, method, methodVersion },
  });
  const version = await new Commonwatt({
    baseUrl: server.baseUrl,
    apiKey: server.example.owner.apiKey,
  }).versions.get(model, 1);
  expect(claims.modelDigest).toBe(`sha256:${version.sha256}`);
});

it('and the settled one comes from the ledger, for its own organisation only', async () => {
  const { example } = server;
  const id = (await infer()).headers.get('x-commonwatt-request-id') ?? '';
  const { code, out } = await command(['impact', 'receipt', id, '--json']);
  expect(code).toBe(0);
  expect(await verified(out)).toMatchObject({ sub: id, settled: true, model: named(), version: 1 });
  const other = await command(['impact', 'receipt', id], '', example.owner.apiKey);
  expect(other).toMatchObject({ code: 1, err: expect.stringContaining('there is no ledger entry') });
});

it('forms are written by doors and by the server alike', async () => {
  for (let times = 0; times < 4; times++) await infer();
  const usual = await infer();
  expect(usual.headers.get('server-timing')).toMatch(
    /^queue;dur=[\d.]+, batch;dur=[\d.]+, compute;dur=[\d.]+$/,
  );
  const asked = await infer({ 'x-commonwatt-forms': 'impact, impacts, energy, greenpt, greenjoules' });
  const { usage, energy, impact } = JSON.parse(await asked.text());
  const joules = usage.impact.energyWh * 3600;
  expect(joules).toBeGreaterThan(0);
  for (const figure of [
    usage.impacts.kWh * 3.6e6,
    energy.energy_joules,
    impact.energy.total / 1000,
    Number(asked.headers.get('x-energy-joules')),
  ])
    expect(Math.abs(figure / joules - 1)).toBeLessThan(1e-12);
  expect(energy.attribution_ratio).toBeGreaterThan(0);
});

it('over gRPC the receipt is in the trailing metadata', async () => {
  const { model, consumer, grpcAddress } = server.example;
  const client = createClient(
    GRPCInferenceService,
    createGrpcTransport({ baseUrl: `http://${grpcAddress}` }),
  );
  let trailers = new Headers();
  const answer = await client.modelInfer(
    {
      modelName: model,
      inputs: [{ name: 'input', datatype: 'FP32', shape: [1n, 100n], contents: { fp32Contents: row } }],
    },
    {
      headers: { authorization: `Bearer ${consumer.apiKey}`, 'x-commonwatt-receipt': '1' },
      onTrailer: (given) => {
        trailers = given;
      },
    },
  );
  const claims = await verified(trailers.get('x-commonwatt-receipt') ?? '');
  expect(claims).toMatchObject({
    sub: answer.parameters.commonwatt_request_id?.parameterChoice.value,
    energyWh: answer.parameters.commonwatt_energy_wh?.parameterChoice.value,
    model: named(),
  });
});

it('only the operator replaces the key that signs', async () => {
  const refused = await command(['impact', 'rotate-key'], '', server.example.owner.apiKey);
  expect(refused).toMatchObject({ code: 1, err: expect.stringContaining('operator') });
});
