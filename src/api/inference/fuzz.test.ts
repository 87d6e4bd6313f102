/**
 * Whatever bytes are sent, the readers of the REST door give tensors that are what they say, or a clear refusal: 125,000
 * cases without a socket, near enough to valid ones that they get far, and 1,500 more through the whole server.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CommonwattError } from '../../errors.ts';
import type { ModelSignature } from '../../models/models.ts';
import { bytesPerElement, countElements, datatypes, elementsOf, type Tensor } from '../../runtimes/tensor.ts';
import { parseGenerateRequest } from './generate.ts';
import { parseInferRequest } from './parse.ts';
import { type Door, openDoor } from './testing/door.ts';

const seed = 15;

const dimension = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: -1, max: 3 }) },
  fc.constantFrom(-2, 1.5, 2 ** 31, 2 ** 53, 2 ** 60, 1e308, null, '2', [], {}),
);
const shape = fc.oneof(
  { weight: 8, arbitrary: fc.array(dimension, { maxLength: 3 }) },
  fc.constantFrom(null, 3, 'x', {}, undefined),
);
const scalar = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(0, 1, 2, 255, -1, 0.5, true, 'a', '') },
  fc.constantFrom(1e39, 2 ** 53, 1e300, -128, null, '\u0000123', '\ud800', {}, [], [[1]]),
);
const data = fc.oneof(
  { weight: 6, arbitrary: fc.array(scalar, { maxLength: 9 }) },
  { weight: 3, arbitrary: fc.array(fc.array(scalar, { maxLength: 3 }), { maxLength: 3 }) },
  fc.constantFrom(null, 7, 'x', {}, undefined),
);
const name = fc.constantFrom(
  'in',
  'in',
  'in',
  'in1',
  'out',
  '',
  '__proto__',
  'constructor',
  null,
  7,
  undefined,
);
const parameters = fc.oneof(
  { weight: 3, arbitrary: fc.constant(undefined) },
  fc.dictionary(
    fc.constantFrom(
      'binary_data_size',
      'binary_data',
      'binary_data_output',
      'classification',
      'priority',
      'timeout',
      'sequence_id',
      'shared_memory_region',
      '__proto__',
      'x',
    ),
    fc.oneof(fc.integer({ min: -1, max: 32 }), scalar),
    { maxKeys: 3 },
  ),
  fc.constantFrom(null, 7, []),
);
const input = fc.record({
  name,
  datatype: fc.oneof(
    { weight: 9, arbitrary: fc.constantFrom(...datatypes) },
    fc.constantFrom('', 'FP8', null, 3),
  ),
  shape,
  data,
  parameters,
});
const list = <T>(element: fc.Arbitrary<T>) =>
  fc.oneof(
    { weight: 8, arbitrary: fc.array(element, { maxLength: 3 }) },
    fc.constantFrom(null, 1, 'x', {}, undefined),
  );
const request = fc.record({
  id: fc.constantFrom(undefined, undefined, 'a', 7, null),
  inputs: list(fc.oneof({ weight: 9, arbitrary: input }, scalar)),
  outputs: list(fc.oneof({ weight: 5, arbitrary: fc.record({ name, parameters }) }, scalar)),
  parameters,
});

const signature: fc.Arbitrary<ModelSignature> = fc
  .tuple(
    fc.constantFrom(...datatypes),
    fc.constantFrom([-1], [-1, 3], [-1, -1], [2, 2], [], [1, -1, 2]),
    fc.boolean(),
  )
  .map(
    ([datatype, dims, two]): ModelSignature => ({
      inputs: (two ? ['in', 'in1'] : ['in']).map((input) => ({ name: input, datatype, shape: [...dims] })),
      outputs: [{ name: 'out', datatype, shape: [...dims] }],
    }),
  );

/** Fields of a good request that are replaced: none, one, or two. */
const edits = fc.array(
  fc.oneof(
    fc.record({ of: fc.constantFrom('in', 'in1'), field: fc.constant('shape'), value: shape }),
    fc.record({ of: fc.constantFrom('in', 'in1'), field: fc.constant('data'), value: data }),
    fc.record({ of: fc.constantFrom('in', 'in1'), field: fc.constant('name'), value: name }),
    fc.record({ of: fc.constantFrom('in', 'in1', ''), field: fc.constant('parameters'), value: parameters }),
    fc.record({ of: fc.constant(''), field: fc.constantFrom('id', 'inputs', 'outputs'), value: scalar }),
  ),
  { maxLength: 2 },
);
type Edits = typeof edits extends fc.Arbitrary<infer T> ? T : never;

function nearly({ inputs }: ModelSignature, rows: number, wrong: Edits): object {
  const good = inputs.map(({ name: of, datatype, shape: dims }) => {
    const own = dims.map((size, index) => (size !== -1 ? size : index === 0 ? rows : 2));
    const element = datatype === 'BYTES' ? 'a' : datatype === 'BOOL' ? true : 1;
    const edited = wrong.filter((edit) => edit.of === of).map(({ field, value }) => [field, value]);
    const values = Array.from({ length: elementsOf(own) }, () => element);
    return { name: of, datatype, shape: own, data: values, ...Object.fromEntries(edited) };
  });
  const edited = wrong.filter(({ of }) => of === '').map(({ field, value }) => [field, value]);
  return { inputs: good, parameters: { binary_data_output: true }, ...Object.fromEntries(edited) };
}

/** Plain comparisons: assertions would cost more than what is tested. */
function isWhole(
  { datatype, shape: dims, data: values }: Tensor,
  spec: ModelSignature['inputs'][number],
): boolean {
  const elements = datatype === 'BYTES' ? countElements(values as Uint8Array) : values.length;
  return (
    datatype === spec.datatype &&
    dims.length === spec.shape.length &&
    elements === elementsOf(dims) &&
    values.byteOffset % (bytesPerElement(datatype) ?? 1) === 0
  );
}

/** Whether it was read; anything but a clear refusal fails the test. */
function survives(read: () => { inputs: Tensor[] }, { inputs: specs }: ModelSignature): boolean {
  try {
    const { inputs } = read();
    const whole = specs.every((spec, index) => {
      const tensor = inputs[index];
      return tensor !== undefined && isWhole(tensor, spec);
    });
    if (!whole) throw new Error(`not what it says: ${JSON.stringify(inputs.map(({ shape: dims }) => dims))}`);
    return true;
  } catch (error) {
    if (!(error instanceof CommonwattError)) throw error;
    if (error.status < 400 || error.status >= 500 || error.message.length > 2000) throw error;
    return false;
  }
}

/** A few bytes changed, or cut off. */
const mutation = fc.record({
  at: fc.nat({ max: 400 }),
  byte: fc.nat({ max: 255 }),
  cut: fc.oneof({ weight: 4, arbitrary: fc.constant(undefined) }, fc.nat({ max: 400 })),
});
function mutate(
  bytes: Buffer,
  { at, byte, cut }: { at: number; byte: number; cut: number | undefined },
): Buffer {
  if (at < bytes.length) bytes[at] = byte;
  return cut === undefined ? bytes : bytes.subarray(0, cut);
}

describe('whatever is sent', () => {
  it('as JSON is read or refused', { timeout: 120_000 }, () => {
    let read = 0;
    fc.assert(
      fc.property(signature, fc.integer({ min: 1, max: 3 }), edits, (model, rows, wrong) => {
        const body = Buffer.from(JSON.stringify(nearly(model, rows, wrong)));
        if (survives(() => parseInferRequest(body, model), model)) read++;
      }),
      { numRuns: 40_000, seed },
    );
    expect(read).toBeGreaterThan(4000);
    expect(read).toBeLessThan(36_000);
  });

  it('as JSON with a few bytes wrong is read or refused', { timeout: 120_000 }, () => {
    fc.assert(
      fc.property(request, signature, mutation, (json, model, wrong) => {
        survives(() => parseInferRequest(mutate(Buffer.from(JSON.stringify(json)), wrong), model), model);
        const good = Buffer.from(JSON.stringify(nearly(model, 1, [])));
        survives(() => parseInferRequest(mutate(good, wrong), model), model);
      }),
      { numRuns: 15_000, seed },
    );
  });

  it('with binary data is read or refused', { timeout: 120_000 }, () => {
    let read = 0;
    const size = fc.oneof(fc.constant('right' as const), fc.integer({ min: -1, max: 64 }), scalar);
    const header = fc.oneof({ weight: 8, arbitrary: fc.constant(0) }, fc.integer({ min: -20, max: 400 }));
    const raw = fc.oneof(fc.uint8Array({ maxLength: 48 }), fc.constant(new Uint8Array(24)));
    fc.assert(
      fc.property(signature, shape, size, header, raw, (model, dims, given, shift, bytes) => {
        const inputs = model.inputs.slice(0, 1).map(({ name: input, datatype }) => ({
          name: input,
          datatype,
          shape: dims,
          parameters: { binary_data_size: given === 'right' ? bytes.length : given },
        }));
        const head = Buffer.from(JSON.stringify({ inputs, parameters: { binary_data_output: true } }));
        const length = Math.max(0, head.length + shift);
        const body = Buffer.concat([head, bytes]);
        if (survives(() => parseInferRequest(body, model, length), model)) read++;
        if (survives(() => parseInferRequest(Buffer.from(bytes), model, 0), model)) read++;
      }),
      { numRuns: 20_000, seed },
    );
    expect(read).toBeGreaterThan(200);
  });

  it('to generate is read or refused', { timeout: 120_000 }, () => {
    let read = 0;
    const fields = fc.dictionary(
      fc.constantFrom('in', 'in1', 'id', 'parameters', 'priority', '__proto__', 'x'),
      fc.oneof(scalar, data, fc.dictionary(fc.constantFrom('in', 'in1', 'timeout', 'y'), scalar)),
    );
    fc.assert(
      fc.property(fields, signature, (json, model) => {
        if (survives(() => parseGenerateRequest(Buffer.from(JSON.stringify(json)), model), model)) read++;
      }),
      { numRuns: 15_000, seed },
    );
    expect(read).toBeGreaterThan(20);
  });
});

describe('the whole server', () => {
  let door: Door;
  beforeAll(async () => {
    door = await openDoor();
  });
  afterAll(() => door.close());

  it('answers or refuses whatever comes through a socket, and settles what it admitted', {
    timeout: 120_000,
  }, async () => {
    const verb = fc.constantFrom('infer', 'generate', 'generate_stream');
    const length = fc.constantFrom(undefined, '0', '7', '40', '-1', 'x', '99999999999');
    const encoding = fc.constantFrom(undefined, undefined, 'gzip', 'deflate', 'br');
    let sent = 0;
    await fc.assert(
      fc.asyncProperty(
        verb,
        request,
        mutation,
        length,
        encoding,
        async (path, json, wrong, header, coded) => {
          const body = new Uint8Array(mutate(Buffer.from(JSON.stringify(json)), wrong));
          const response = await door.fetch(`/v2/models/acme/echo/${path}`, {
            method: 'POST',
            body,
            headers: {
              ...(header === undefined ? {} : { 'inference-header-content-length': header }),
              ...(coded === undefined ? {} : { 'content-encoding': coded }),
            },
          });
          const text = await response.text();
          sent++;
          if (response.status === 200) return;
          expect(response.status).toBeGreaterThanOrEqual(400);
          expect([text, response.status < 500]).toEqual([text, true]);
          expect(Object.keys(JSON.parse(text))).toEqual(['error']);
        },
      ),
      { numRuns: 1500, seed },
    );
    expect(sent).toBe(1500);
    expect(door.settled).toBe(door.calls.length);
    const healthy = { inputs: [{ name: 'in', shape: [1, 3], datatype: 'FP32', data: [1, 2, 3] }] };
    const answer = await door.fetch('/v2/models/acme/echo/infer', {
      method: 'POST',
      body: JSON.stringify(healthy),
    });
    expect(answer.status).toBe(200);
  });
});
