import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ModelSignature } from '../../models/models.ts';
import { unpackBytes } from '../../runtimes/tensor.ts';
import { parseGenerateRequest } from './generate.ts';
import { type Door, openDoor } from './testing/door.ts';

const llm: ModelSignature = {
  inputs: [
    { name: 'PROMPT', datatype: 'BYTES', shape: [-1, 1] },
    { name: 'STREAM', datatype: 'BOOL', shape: [-1, 1] },
  ],
  outputs: [{ name: 'TEXT', datatype: 'BYTES', shape: [-1, 1] }],
};

let door: Door;
beforeAll(async () => {
  door = await openDoor();
});
afterAll(() => door.close());
beforeEach(() => {
  door.signature = llm;
  door.compute = async ({ inputs }) => ({
    outputs: inputs.filter(({ name }) => name === 'PROMPT').map((tensor) => ({ ...tensor, name: 'TEXT' })),
  });
});

const send = (verb: string, body: object | string) =>
  door.fetch(`/v2/models/acme/echo/${verb}`, {
    method: 'POST',
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });

describe('generate', () => {
  it('takes fields as inputs and gives outputs as fields', async () => {
    const response = await send('generate', {
      id: 'x',
      PROMPT: 'hello wörld',
      STREAM: false,
      temperature: 0.5,
    });
    expect(response.headers.get('content-type')).toContain('application/json');
    expect(await response.json()).toMatchObject({
      model_name: 'acme/echo',
      model_version: '1',
      id: 'x',
      TEXT: 'hello wörld',
      usage: { impact: { energyWh: 0.01 } },
    });
  });

  it('takes inputs among the parameters, and several rows', async () => {
    const response = await send('generate', {
      PROMPT: ['a', 'b'],
      parameters: { STREAM: [true, false], top_k: 3 },
    });
    expect(await response.json()).toMatchObject({ TEXT: ['a', 'b'] });
  });

  it('streams its one answer as an event', async () => {
    const response = await send('generate_stream', { PROMPT: 'hello', STREAM: true });
    expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    const text = await response.text();
    expect(text).toMatch(/^data: \{.*\}\n\n$/);
    expect(JSON.parse(text.slice(6)).TEXT).toBe('hello');
  });

  it.each([
    ['nothing', {}, '"inputs" lacks "PROMPT"'],
    ['one input of two', { PROMPT: 'hello' }, '"inputs" lacks "STREAM"'],
    ['a number for a text', { PROMPT: 123, STREAM: false }, 'PROMPT[0] is "123", not a string of BYTES'],
    [
      'a text for a truth value',
      { PROMPT: 'a', STREAM: 'false' },
      'STREAM[0] is "false", not a number of BOOL',
    ],
    ['an object for an input', { PROMPT: { USER: 'a' }, STREAM: true }, 'not a string of BYTES'],
    ['an object for a parameter', { PROMPT: 'a', STREAM: true, P: { x: 0 } }, 'parameters.P is an object'],
    ['an input twice', { PROMPT: 'a', STREAM: true, parameters: { PROMPT: 'b' } }, '"PROMPT" is given twice'],
    ['other rows', { PROMPT: ['a', 'b'], STREAM: true }, 'all inputs need as many'],
    ['no object', '[1]', 'must be a JSON object'],
    ['no JSON', '{', 'not valid JSON'],
  ])('refuses %s, streaming or not, as JSON', async (_what, body, message) => {
    for (const verb of ['generate', 'generate_stream']) {
      const response = await send(verb, body);
      expect(response.status).toBe(400);
      expect(response.headers.get('content-type')).toContain('application/json');
      expect(await response.json()).toEqual({ error: expect.stringContaining(message) });
    }
  });

  it('finds the shape that is meant', () => {
    const shaped = (shape: number[], value: unknown) =>
      parseGenerateRequest(Buffer.from(JSON.stringify({ x: value })), {
        inputs: [{ name: 'x', datatype: 'INT64', shape }],
        outputs: [],
      }).inputs[0]?.shape;
    expect(shaped([-1], [1, 2, 3])).toEqual([3]);
    expect(shaped([-1, 2], [1, 2, 3, 4])).toEqual([2, 2]);
    expect(shaped([-1, -1], [1, 2, 3])).toEqual([1, 3]);
    expect(shaped([-1, -1, -1], [[[1], [2]]])).toEqual([1, 2, 1]);
    expect(shaped([], 7)).toEqual([]);
    expect(() => shaped([-1, 2], [1, 2, 3])).toThrow('the dimension "1.5"');
  });

  it('keeps long integers whole', () => {
    const { inputs } = parseGenerateRequest(Buffer.from('{"x":[9007199254740993]}'), {
      inputs: [{ name: 'x', datatype: 'INT64', shape: [-1] }],
      outputs: [],
    });
    expect(inputs[0]?.data[0]).toBe(9007199254740993n);
  });

  it('reads text as it is', () => {
    const { inputs } = parseGenerateRequest(Buffer.from('{"PROMPT":"ab","STREAM":1}'), llm);
    expect(unpackBytes(inputs[0]?.data as Uint8Array).map((bytes) => Buffer.from(bytes).toString())).toEqual([
      'ab',
    ]);
  });
});
