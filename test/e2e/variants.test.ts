/** A cheaper variant in dirty hours, through every door of the real program: with and without processes in front. */
import { once } from 'node:events';
import http2 from 'node:http2';
import { Commonwatt } from '@commonwatt/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { inferOnce } from './grpc-call.ts';
import { type ExampleServer, startExampleServer } from './server.ts';

/** No grid is cleaner than 0 g/kWh, and none dirtier than 3,000. */
const always = [{ use: 'acme/small:1', aboveGPerKwh: 0 }];
const never = [{ use: 'acme/small:1', aboveGPerKwh: 3000 }];

describe.each(['1', '2'])('with %s processes that do HTTP', (gateways) => {
  let server: ExampleServer;
  let cw: Commonwatt;
  let row: number[];
  let deployment = '';

  beforeAll(async () => {
    server = await startExampleServer({ env: { COMMONWATT_GATEWAYS: gateways } });
    cw = new Commonwatt({ baseUrl: server.baseUrl, apiKey: server.example.owner.apiKey });
    row = Object.values((await cw.datasets.row('digits', 'test', 0)).features);
    const layers = [{ type: 'dense', units: 1, activation: 'sigmoid' }];
    const config = { dataset: 'digits', layers, optimizer: 'sgd', loss: 'binaryCrossentropy', epochs: 1 };
    const job = await cw.jobs.wait((await cw.jobs.create({ kind: 'train', config })).id);
    const h5 = Buffer.from(await new Response(await cw.jobs.artifact(job.id)).arrayBuffer());
    await cw.versions.import('acme/small', h5, { job: job.id });
    await cw.deployments.create({ model: 'acme/small:1', settings: { cache: { enabled: false } } });
    deployment = (await cw.deployments.list()).find(({ model }) => model === 'acme/digits')?.id ?? '';
    await cw.deployments.change(deployment, { greener: always });
  }, 120_000);

  afterAll(() => server?.stop());

  interface Answer {
    header: string | null;
    body: { model_name: string; model_version: string; parameters?: object; outputs: { data: number[] }[] };
    id: string;
  }

  async function infer(
    headers: Record<string, string> = {},
    { key = server.example.owner.apiKey, model = 'acme/digits', parameters = {} } = {},
  ): Promise<Answer> {
    const response = await fetch(`${server.baseUrl}/v2/models/${model}/infer`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, ...headers },
      body: JSON.stringify({
        inputs: [{ name: 'input', shape: [1, 100], datatype: 'FP32', data: row }],
        parameters,
      }),
    });
    const id = response.headers.get('x-commonwatt-request-id') ?? '';
    return {
      header: response.headers.get('x-commonwatt-variant'),
      body: (await response.json()) as Answer['body'],
      id,
    };
  }

  const firstOf = ({ body }: Answer) => body.outputs[0]?.data[0];

  it('the variant answers, and says so in header, parameters, name and version', async () => {
    const answer = await infer();
    expect(answer.header).toBe('acme/small:1');
    expect(answer.body).toMatchObject({
      model_name: 'acme/small',
      model_version: '1',
      parameters: { commonwatt_variant: 'acme/small:1' },
    });
    expect(firstOf(answer)).toBeCloseTo(firstOf(await infer({}, { model: 'acme/small' })) ?? Number.NaN, 6);
  });

  it('whoever opts out, by header or parameter, is answered by what he asked for, from its own cache', async () => {
    const own = await infer({ 'x-commonwatt-variant': 'none' });
    expect(own).toMatchObject({ header: null, body: { model_name: 'acme/digits' } });
    const again = await infer({}, { parameters: { commonwatt_variant: 'none' } });
    expect(firstOf(again)).toBe(firstOf(own));
    expect(firstOf(await infer())).not.toBe(firstOf(own));
    expect((await infer({ 'x-commonwatt-variant': 'acme/digits:1' })).body).toMatchObject({
      error: expect.stringContaining('not "none"'),
    });
  });

  it('whoever may not use the variant is answered by what he asked for', async () => {
    const answer = await infer({}, { key: server.example.consumer.apiKey });
    expect(answer).toMatchObject({ header: null, body: { model_name: 'acme/digits', model_version: '1' } });
  });

  it('the ledger books the model that computed', async () => {
    const { id } = await infer({ 'cache-control': 'no-store' });
    const line = await cw.ledger.get(id);
    expect(line).toMatchObject({ model: 'acme/small', version: 1, consumer: 'acme' });
  });

  it('gRPC answers alike', async () => {
    const session = http2.connect(`http://${server.example.grpcAddress}`);
    await once(session, 'connect');
    const headers = { authorization: `Bearer ${server.example.owner.apiKey}` };
    expect((await inferOnce(session, headers)).model).toBe('acme/small');
    expect((await inferOnce(session, { ...headers, 'x-commonwatt-variant': 'none' })).model).toBe(
      'acme/digits',
    );
    session.close();
  });

  it('below its limit, and after it was taken out of service, it answers nobody', async () => {
    await cw.deployments.change(deployment, { greener: never });
    expect((await infer()).header).toBeNull();
    await cw.deployments.change(deployment, { greener: always });
    expect((await infer()).header).toBe('acme/small:1');
    const small = (await cw.deployments.list()).find(({ model }) => model === 'acme/small');
    await cw.deployments.remove(small?.id ?? '');
    expect(await infer()).toMatchObject({ header: null, body: { model_name: 'acme/digits' } });
    await expect(cw.deployments.change(deployment, { greener: always })).rejects.toMatchObject({
      message: expect.stringContaining('is not deployed'),
    });
  });
});
