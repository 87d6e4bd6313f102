/** Forms of a footprint and receipts through the doors, with a house that says what it would sign. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formsOf } from '../../energy/forms/forms.ts';
import { type Door, openDoor } from './testing/door.ts';
import { freshHouse, startDoor } from './testing/grpc-door.ts';

const body = JSON.stringify({ inputs: [{ name: 'in', datatype: 'FP32', shape: [1, 3], data: [1, 2, 3] }] });
const path = '/v2/models/acme--echo/infer';
const jsonOf = async (response: Response) => JSON.parse(await response.text());

describe('over HTTP', () => {
  let door: Door;
  beforeAll(async () => {
    door = await openDoor();
  });
  afterAll(() => door.close());
  const post = (headers: Record<string, string>, { to = path, text = body } = {}) =>
    door.fetch(to, { method: 'POST', body: text, headers });

  it('an answer carries the usual ones, with the time that each part took', async () => {
    const response = await post({});
    expect(response.headers.get('server-timing')).toBe('queue;dur=0.500, batch;dur=0.250, compute;dur=1.250');
    expect(response.headers.get('x-commonwatt-energy-wh')).toBe('0.01');
    expect(response.headers.get('x-commonwatt-receipt')).toBeNull();
    const { usage, energy, impact } = await jsonOf(response);
    expect([Object.keys(usage), energy, impact]).toEqual([['impact'], undefined, undefined]);
  });

  it('or those that its caller asks for', async () => {
    const response = await post({ 'x-commonwatt-forms': 'impacts, energy, greenpt, greenjoules' });
    const { usage, energy, impact, outputs } = await jsonOf(response);
    expect(usage).toEqual({ impacts: { kWh: 1e-5, kgCO2eq: 5e-4 } });
    expect(energy).toMatchObject({ energy_joules: 36, duration_seconds: 0.002, avg_power_watts: 18_000 });
    expect(impact.energy).toEqual({ total: 36_000, unit: 'Wms' });
    expect(outputs[0].data).toEqual([1, 2, 3]);
    expect(response.headers.get('x-energy-joules')).toBe('36');
    expect(response.headers.get('x-commonwatt-energy-wh')).toBeNull();
    expect(response.headers.get('x-commonwatt-request-id')).not.toBeNull();
  });

  it('with outputs in binary the JSON before them has them', async () => {
    const text = JSON.stringify({ ...JSON.parse(body), parameters: { binary_data_output: true } });
    const response = await post({ 'x-commonwatt-forms': 'energy' }, { text });
    const bytes = Buffer.from(await response.arrayBuffer());
    const length = Number(response.headers.get('inference-header-content-length'));
    expect(JSON.parse(bytes.subarray(0, length).toString()).energy.energy_joules).toBe(36);
    expect(bytes.length - length).toBe(12);
  });

  it('generate has them beside the outputs, whose names come first', async () => {
    const forms = { 'x-commonwatt-forms': 'impact, energy, greenpt' };
    const to = '/v2/models/acme--echo/generate';
    const plain = await jsonOf(await post(forms, { to, text: '{"in":[1,2,3]}' }));
    expect([plain.out, plain.energy.energy_joules, plain.impact.energy.total]).toEqual([
      [1, 2, 3],
      36,
      36_000,
    ]);
    door.compute = async ({ inputs }) => ({
      outputs: inputs.map((tensor) => ({ ...tensor, name: 'energy' })),
    });
    const named = await jsonOf(await post(forms, { to, text: '{"in":[1,2,3]}' }));
    expect([named.energy, named.impact.energy.total]).toEqual([[1, 2, 3], 36_000]);
    door.compute = async () => ({});
  });

  it('a stream ends with the comment of Neuralwatt', async () => {
    const to = '/v2/models/acme--echo/generate_stream';
    const response = await post({ 'x-commonwatt-forms': 'energy' }, { to, text: '{"in":[1,2,3]}' });
    const [event, comment, ...rest] = (await response.text()).split('\n\n');
    expect(JSON.parse(event?.replace('data: ', '') ?? '')).not.toHaveProperty('energy');
    expect(JSON.parse(comment?.replace(': energy ', '') ?? '')).toMatchObject({ energy_joules: 36 });
    expect(rest).toEqual(['']);
  });

  it('forms that there are not, and receipts that are neither asked for nor not, are refused', async () => {
    const { calls, released } = door;
    const before = calls.length;
    const wrong = await post({ 'x-commonwatt-forms': 'joules' });
    expect([wrong.status, (await jsonOf(wrong)).error]).toEqual([400, expect.stringContaining('"joules"')]);
    const odd = await post({ 'x-commonwatt-receipt': 'maybe' });
    expect([odd.status, (await jsonOf(odd)).error]).toEqual([
      400,
      expect.stringContaining('neither 1 nor 0'),
    ]);
    expect([door.calls.length, door.released]).toEqual([before, released]);
  });

  it('a receipt is of this request, this model and who asked', async () => {
    const response = await post({ 'x-commonwatt-receipt': '1' });
    const id = response.headers.get('x-commonwatt-request-id');
    expect(response.headers.get('x-commonwatt-receipt')).toBe(`${id} acme/echo:1 o1`);
  });
});

describe('over HTTP, where the operator wants other ones', () => {
  it('answers carry those, and receipts, unless their callers say otherwise', async () => {
    const door = await openDoor({
      receipts: { always: true, sign: async ({ requestId }) => `of ${requestId}` },
      forms: formsOf(['impacts']),
    });
    const post = (headers: Record<string, string>) => door.fetch(path, { method: 'POST', body, headers });
    const usual = await post({});
    expect(usual.headers.get('x-commonwatt-receipt')).toMatch(/^of /);
    expect(usual.headers.get('server-timing')).toBeNull();
    expect((await jsonOf(usual)).usage).toEqual({ impacts: { kWh: 1e-5, kgCO2eq: 5e-4 } });
    const other = await post({ 'x-commonwatt-receipt': '0', 'x-commonwatt-forms': 'impact' });
    expect(other.headers.get('x-commonwatt-receipt')).toBeNull();
    expect(Object.keys((await jsonOf(other)).usage)).toEqual(['impact']);
    await door.close();
  });
});

describe('over gRPC', () => {
  const house = freshHouse();
  let door: Awaited<ReturnType<typeof startDoor>>;
  beforeAll(async () => {
    door = await startDoor(house);
  });
  afterAll(() => door.stop());
  const data = Buffer.from(Float32Array.of(1, 2, 3).buffer);
  const request = {
    modelName: 'acme--echo',
    inputs: [{ name: 'in', datatype: 'FP32', shape: [1n, 3n] }],
    rawInputContents: [data],
  };
  const key = { authorization: 'Bearer good' };

  it('forms are parameters in JSON, what HTTP has in headers is metadata', async () => {
    let metadata = new Headers();
    const { parameters } = await door.client().modelInfer(request, {
      headers: { ...key, 'x-commonwatt-forms': 'impacts, energy, greenpt, greenjoules, timing' },
      onHeader: (headers) => {
        metadata = headers;
      },
    });
    const text = (name: string) => JSON.parse(String(parameters[name]?.parameterChoice.value));
    expect(text('impacts')).toEqual({ kWh: 1e-5, kgCO2eq: 5e-4 });
    expect(text('energy').energy_joules).toBe(36);
    expect(text('impact').emissions).toEqual({ total: 500_000, unit: 'ugCO2e' });
    expect(parameters).not.toHaveProperty('commonwatt_energy_wh');
    expect(metadata.get('x-energy-joules')).toBe('36');
    expect(metadata.get('server-timing')).toContain('compute;dur=1.000');
  });

  it('a receipt is in the trailing metadata, in a stream with each answer', async () => {
    let trailers = new Headers();
    const headers = { ...key, 'x-commonwatt-receipt': '1' };
    const answer = await door.client().modelInfer(request, {
      headers,
      onTrailer: (given) => {
        trailers = given;
      },
    });
    const id = answer.parameters.commonwatt_request_id?.parameterChoice.value;
    expect(trailers.get('x-commonwatt-receipt')).toBe(`${id} acme/echo:1 o2`);
    const stream = door.client().modelStreamInfer(
      (async function* () {
        yield request;
        yield request;
      })(),
      { headers },
    );
    const receipts: unknown[] = [];
    for await (const { inferResponse } of stream)
      receipts.push(inferResponse?.parameters.commonwatt_receipt?.parameterChoice.value);
    expect(receipts).toEqual([expect.stringMatching(/:1 o2$/), expect.stringMatching(/:1 o2$/)]);
    expect(new Set(receipts).size).toBe(2);
  });

  it('forms that there are not are refused', async () => {
    const call = door.client().modelInfer(request, { headers: { ...key, 'x-commonwatt-forms': 'joules' } });
    await expect(call).rejects.toThrow('is no form of a footprint');
  });
});
