import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CommonwattError } from '../../errors.ts';
import type { ModelSignature } from '../../models/models.ts';
import { parseInferRequest } from './parse.ts';

const digits: ModelSignature = {
  inputs: [{ name: 'input', datatype: 'FP32', shape: [-1, 3] }],
  outputs: [{ name: 'output', datatype: 'FP32', shape: [-1, 1] }],
};

function parse(request: unknown, signature = digits) {
  return parseInferRequest(Buffer.from(JSON.stringify(request)), signature);
}

const good = { name: 'input', shape: [2, 3], datatype: 'FP32', data: [1, 2, 3, 4, 5, 6] };

describe('an inference request', () => {
  it('may give its data flat or nested (both are row-major)', () => {
    const flat = parse({ id: '7', inputs: [good] });
    const nested = parse({
      id: '7',
      inputs: [
        {
          ...good,
          data: [
            [1, 2, 3],
            [4, 5, 6],
          ],
        },
      ],
    });
    expect(flat).toEqual(nested);
    expect(flat.id).toBe('7');
    expect(flat.inputs[0]).toEqual({
      name: 'input',
      datatype: 'FP32',
      shape: [2, 3],
      data: Float32Array.of(1, 2, 3, 4, 5, 6),
    });
  });

  it('may say null for what it does not give', () => {
    const written = { id: null, parameters: null, outputs: null, inputs: [{ ...good, parameters: null }] };
    expect(parse(written)).toEqual(parse({ inputs: [good] }));
    const outputs = [{ name: 'output', parameters: null }];
    expect(parse({ inputs: [good], outputs }).outputs).toHaveLength(1);
  });

  it('keeps every finite float32 exactly', () => {
    fc.assert(
      fc.property(
        fc.array(fc.float({ noNaN: true, noDefaultInfinity: true }), { minLength: 3, maxLength: 3 }),
        (row) => {
          const { inputs } = parse({ inputs: [{ ...good, shape: [1, 3], data: row }] });
          expect(Array.from(inputs[0]?.data ?? [], Number)).toEqual(
            row.map((value) => (value === 0 ? 0 : value)),
          );
        },
      ),
    );
  });

  const refused: [string, unknown, string][] = [
    ['no object', [1], 'must be a JSON object'],
    ['no inputs', {}, '"inputs" is missing'],
    ['an id that is no string', { id: 7, inputs: [good] }, '"id" must be a string'],
    [
      'an unknown input',
      { inputs: [{ ...good, name: 'x' }] },
      '"x" is not an input of the model; it wants "input" FP32 [-1, 3]',
    ],
    ['an input without a name', { inputs: [{ ...good, name: undefined }] }, 'missing is not an input'],
    ['an input given twice', { inputs: [good, good] }, '"input" is given twice'],
    ['another datatype', { inputs: [{ ...good, datatype: 'FP64' }] }, 'is "FP64"; input "input" is FP32'],
    ['too few dimensions', { inputs: [{ ...good, shape: [6] }] }, 'has 1 dimensions instead of 2'],
    [
      'a wrong width',
      { inputs: [{ ...good, shape: [3, 2] }] },
      'is [3, 2]; input "input" has the shape [-1, 3]',
    ],
    ['a negative dimension', { inputs: [{ ...good, shape: [-2, 3] }] }, 'the dimension "-2"'],
    ['a fractional dimension', { inputs: [{ ...good, shape: [1.5, 3] }] }, 'the dimension "1.5"'],
    [
      'a huge declared shape',
      { inputs: [{ ...good, shape: [2 ** 40, 3] }] },
      'at most 4096 go in one request',
    ],
    ['too little data', { inputs: [{ ...good, data: [1, 2] }] }, 'has 2 elements; shape [2, 3] needs 6'],
    [
      'ragged rows',
      {
        inputs: [
          {
            ...good,
            data: [
              [1, 2, 3],
              [4, 5],
            ],
          },
        ],
      },
      'has 2 elements; the shape says 3',
    ],
    [
      'rows too deep',
      {
        inputs: [
          {
            ...good,
            data: [
              [1, 2, [3]],
              [4, 5, 6],
            ],
          },
        ],
      },
      'not a number',
    ],
    [
      'null for NaN',
      { inputs: [{ ...good, data: [1, null, 3, 4, 5, 6] }] },
      'inputs[0].data[1] is "null", not a number of FP32',
    ],
    ['a string', { inputs: [{ ...good, data: [1, '2', 3, 4, 5, 6] }] }, 'is "2", not a number'],
    [
      'a number beyond float32',
      { inputs: [{ ...good, data: [1, 1e39, 3, 4, 5, 6] }] },
      '1e+39 does not fit into FP32',
    ],
    ['no data', { inputs: [{ ...good, data: undefined }] }, 'is missing or not an array'],
    ['an unknown output', { inputs: [good], outputs: [{ name: 'z' }] }, '"z" is not an output of the model'],
  ];
  it.each(refused)('is refused with %s', (_what, request, message) => {
    expect(() => parse(request)).toThrow(message);
  });

  it('is refused when it is not JSON, with what is wrong', () => {
    expect(() => parseInferRequest(Buffer.from('{"inputs": [NaN]}'), digits)).toThrow(CommonwattError);
    expect(() => parseInferRequest(Buffer.alloc(0), digits)).toThrow('no body');
    expect(() => parseInferRequest(Buffer.from('['.repeat(1_000_000)), digits)).toThrow(CommonwattError);
  });

  it('never throws anything but a clear error, whatever is sent', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.json(),
          fc.json({ maxDepth: 3 }).map((text) => `{"inputs":[${text}]}`),
          fc.string(),
        ),
        (text) => {
          try {
            parseInferRequest(Buffer.from(text), digits);
          } catch (error) {
            expect(error).toBeInstanceOf(CommonwattError);
            expect((error as CommonwattError).status).toBe(400);
          }
        },
      ),
      { numRuns: 1000 },
    );
  });

  it.each([
    ['BOOL', [true, false, 1], 2],
    ['UINT8', [0, 255, 7], 256],
    ['INT8', [-128, 127, 0], 128],
    ['INT32', [-2147483648, 2147483647, 0], 2147483648],
    ['INT64', [-5, 5, 0], 1.5],
  ] as const)('checks the range of %s', (datatype, fits, tooMuch) => {
    const signature: ModelSignature = { ...digits, inputs: [{ name: 'input', datatype, shape: [-1, 3] }] };
    const input = { ...good, datatype, shape: [1, 3] };
    expect(
      Array.from(parse({ inputs: [{ ...input, data: fits }] }, signature).inputs[0]?.data ?? [], Number),
    ).toEqual(fits.map(Number));
    expect(() => parse({ inputs: [{ ...input, data: [tooMuch, 0, 0] }] }, signature)).toThrow(
      `${tooMuch} is not a value of ${datatype}`,
    );
  });
});
