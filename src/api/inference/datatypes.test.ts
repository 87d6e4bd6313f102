/** Every datatype through the REST door's reader and writer, as JSON and as raw bytes, value by value. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { unmetered } from '../../energy/footprint.ts';
import { standardForms } from '../../energy/forms/forms.ts';
import type { ModelSignature } from '../../models/models.ts';
import { bytesPerElement, type Datatype, datatypes, packBytes, type Tensor } from '../../runtimes/tensor.ts';
import { parseInferRequest } from './parse.ts';
import { renderAnswer } from './render.ts';
import { echoOf } from './testing/door.ts';

/** JSON written by hand: `JSON.stringify` knows no integers beyond 2^53. */
function parseText(data: string, signature: ModelSignature, shape: readonly number[]): Tensor {
  const [input] = signature.inputs;
  const text = `{"inputs":[{"name":"in","datatype":"${input?.datatype}","shape":[${shape}],"data":[${data}]}]}`;
  const [tensor] = parseInferRequest(Buffer.from(text), signature).inputs;
  if (!tensor) throw new Error('no tensor');
  return tensor;
}

function parseRaw(bytes: Uint8Array, signature: ModelSignature, shape: readonly number[], skew = 0): Tensor {
  const [input] = signature.inputs;
  // Spaces move the raw bytes to every alignment.
  const head = Buffer.from(
    `${JSON.stringify({
      inputs: [{ ...input, shape, parameters: { binary_data_size: bytes.length } }],
      parameters: { binary_data_output: true },
    })}${' '.repeat(skew)}`,
  );
  const [tensor] = parseInferRequest(Buffer.concat([head, bytes]), signature, head.length).inputs;
  if (!tensor) throw new Error('no tensor');
  return tensor;
}

function rendered(tensor: Tensor, binaryOutputs: boolean) {
  const head = {
    modelName: 'm',
    version: 1,
    forms: standardForms,
    id: undefined,
    wanted: undefined,
    binaryOutputs,
  };
  return renderAnswer(head, {
    outputs: [tensor],
    footprint: unmetered,
    source: 'computed',
    queueMs: 0,
    batchMs: 0,
    computeMs: 0,
    batchRows: 1,
    batchRequests: 1,
    share: 1,
  });
}

function outputOf(tensor: Tensor): string {
  const text = String(rendered(tensor, false).body);
  return /"data":\[(.*?)\]\}\],"usage"/s.exec(text)?.[1] ?? '';
}

describe('raw bytes', () => {
  it.each(datatypes.filter((datatype) => datatype !== 'BYTES' && datatype !== 'BOOL'))(
    'of %s come back as they were, at every alignment',
    (datatype) => {
      const size = bytesPerElement(datatype) ?? 1;
      fc.assert(
        fc.property(fc.uint8Array({ minLength: 0, maxLength: 24 }), fc.nat({ max: 8 }), (noise, skew) => {
          const rows = Math.max(1, Math.floor(noise.length / size));
          const bytes = new Uint8Array(rows * size);
          bytes.set(noise.subarray(0, bytes.length));
          const tensor = parseRaw(bytes, echoOf(datatype, [-1]), [rows], skew);
          const { body, headers } = rendered({ ...tensor, name: 'out' }, true);
          expect(headers).toContain('application/octet-stream');
          const length = Number(headers[headers.indexOf('inference-header-content-length') + 1]);
          expect(new Uint8Array((body as Buffer).subarray(length))).toEqual(bytes);
        }),
        { numRuns: 100 },
      );
    },
  );

  it('of BOOL are 0 or 1', () => {
    expect(parseRaw(Uint8Array.of(0, 1, 1), echoOf('BOOL', [-1]), [3]).data).toEqual(Uint8Array.of(0, 1, 1));
    expect(() => parseRaw(Uint8Array.of(0, 2), echoOf('BOOL', [-1]), [2])).toThrow(
      '2 is not a value of BOOL',
    );
  });

  it('of BYTES are whole elements, as many as the shape says', () => {
    const signature = echoOf('BYTES', [-1, 2]);
    const four = packBytes(['a', '', 'ß', 'x'.repeat(300)].map((text) => Buffer.from(text)));
    expect(parseRaw(four, signature, [2, 2]).data).toEqual(four);
    expect(() => parseRaw(four, signature, [1, 2])).toThrow('has 4 elements; shape [1, 2] needs 2');
    expect(() => parseRaw(four.subarray(0, four.length - 1), signature, [2, 2])).toThrow('runs past the end');
    expect(() => parseRaw(four.subarray(0, 7), signature, [1, 2])).toThrow('is cut off');
    expect(() => parseRaw(Uint8Array.of(255, 255, 255, 255, 1), signature, [1, 2])).toThrow(
      'runs past the end',
    );
  });

  it('of a million empty strings are counted in place', () => {
    const packed = new Uint8Array(4_000_000);
    const before = process.memoryUsage().heapUsed;
    expect(() => parseRaw(packed, echoOf('BYTES', [-1, 2]), [1, 2])).toThrow('has 1000000 elements');
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(20e6);
  });
});

const anyText = fc
  .array(
    fc.oneof(fc.nat({ max: 0x7f }), fc.nat({ max: 0xd7ff }), fc.integer({ min: 0xe000, max: 0x10ffff })),
    { maxLength: 6 },
  )
  .map((points) => String.fromCodePoint(...points));

describe('JSON', () => {
  const exact: [Datatype, string][] = [
    ['INT64', '-9223372036854775808,9223372036854775807,-9007199254740993,0'],
    ['UINT64', '18446744073709551615,9007199254740993,9007199254740992,1'],
    ['INT32', '-2147483648,2147483647'],
    ['UINT32', '0,4294967295'],
    ['INT16', '-32768,32767'],
    ['UINT16', '0,65535'],
    ['INT8', '-128,127'],
    ['UINT8', '0,255'],
    ['BOOL', 'true,false'],
  ];
  it.each(exact)('of %s is exact to its last value, both ways', (datatype, text) => {
    const count = text.split(',').length;
    expect(outputOf(parseText(text, echoOf(datatype, [-1]), [count]))).toBe(text);
  });

  it('keeps every 64-bit integer whole wherever it stands', () => {
    fc.assert(
      fc.property(
        fc.array(fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n), { minLength: 1, maxLength: 5 }),
        (values) => {
          const tensor = parseText(values.join(' , '), echoOf('INT64', [-1]), [values.length]);
          expect([...(tensor.data as BigInt64Array)]).toEqual(values);
        },
      ),
      { numRuns: 1000 },
    );
  });

  it.each([
    ['INT64', '9223372036854775808', '9223372036854775808 is not a value of INT64'],
    ['UINT64', '18446744073709551616', '18446744073709551616 is not a value of UINT64'],
    ['UINT64', '-1', '-1 is not a value of UINT64'],
    ['INT64', '9007199254740993.0', 'is not a value of INT64'],
    ['INT64', '1e300', 'is not a value of INT64'],
    ['INT64', '"12345678901234567890"', 'not a number of INT64'],
    ['INT64', '1'.repeat(100_000), 'not a number of INT64'],
    ['UINT32', '4294967296', 'is not a value of UINT32'],
    ['INT16', '1.5', 'is not a value of INT16'],
    ['BOOL', '2', '2 is not a value of BOOL'],
    ['BOOL', '"true"', 'not a number of BOOL'],
    ['FP32', '1e39', '1e+39 does not fit into FP32'],
    ['FP64', '1e999', 'does not fit into FP64'],
    ['FP32', 'null', 'not a number of FP32'],
    ['BYTES', '7', 'not a string of BYTES'],
    ['BYTES', '"\\ud800"', 'half of a surrogate pair'],
    ['FP16', '1', 'FP16 has no JSON form'],
    ['BF16', '1', 'BF16 has no JSON form'],
  ] as const)('of %s refuses what it cannot hold (%s)', (datatype, text, message) => {
    const signature = echoOf(datatype, [-1]);
    // Of FP16 outputs the answer would be refused as well: ask for none of them.
    const inputsOnly = { ...signature, outputs: echoOf('FP32', [-1]).outputs };
    expect(() => parseText(text, inputsOnly, [1])).toThrow(message);
  });

  it('leaves floats beside long integers as they are', () => {
    const signature: ModelSignature = {
      inputs: [
        { name: 'in', datatype: 'INT64', shape: [1] },
        { name: 'in1', datatype: 'FP64', shape: [4] },
        { name: 'in2', datatype: 'BYTES', shape: [1] },
      ],
      outputs: [],
    };
    const floats = '[0.12345678901234567,12345678901234567890,-1234567890123456e5,1234567890123456.7]';
    const inputs = [
      '{"name":"in","datatype":"INT64","shape":[1],"data":[12345678901234567]}',
      `{"name":"in1","datatype":"FP64","shape":[4],"data":${floats}}`,
      '{"name":"in2","datatype":"BYTES","shape":[1],"data":["\\"12345678901234567890\\\\"]}',
    ];
    const read = parseInferRequest(
      Buffer.from(`{"id":"12345678901234567890","inputs":[${inputs.join(',')}]}`),
      signature,
    );
    expect(read.id).toBe('12345678901234567890');
    expect(read.inputs[0]?.data[0]).toBe(12345678901234567n);
    expect(Array.from(read.inputs[1]?.data ?? [], Number)).toEqual(JSON.parse(floats));
    expect(Buffer.from(read.inputs[2]?.data as Uint8Array).toString('utf8', 4)).toBe(
      '"12345678901234567890\\',
    );
  });

  it('may have first dimensions of its own for each input only where they are fixed', () => {
    const inputs = [
      { name: 'in', datatype: 'FP32', shape: [1], data: [1] },
      { name: 'in1', datatype: 'FP32', shape: [2], data: [1, 2] },
    ];
    const read = (first: number, second: number) => {
      const specs = inputs.map(
        (input, index) => ({ ...input, datatype: 'FP32', shape: [[first], [second]][index] ?? [] }) as const,
      );
      return parseInferRequest(Buffer.from(JSON.stringify({ inputs })), { inputs: specs, outputs: [] });
    };
    expect(() => read(-1, -1)).toThrow('all inputs need as many');
    expect(read(1, 2).inputs).toHaveLength(2);
    expect(read(-1, 2).inputs).toHaveLength(2);
  });

  it('carries any text as BYTES, and refuses to write bytes that are no text', () => {
    fc.assert(
      fc.property(fc.array(anyText, { minLength: 1, maxLength: 3 }), (texts) => {
        const data = texts.map((text) => JSON.stringify(text)).join(',');
        const tensor = parseText(data, echoOf('BYTES', [-1]), [texts.length]);
        expect(JSON.parse(`[${outputOf(tensor)}]`)).toEqual(texts);
      }),
      { numRuns: 200 },
    );
    const noText = parseRaw(packBytes([Uint8Array.of(0xff)]), echoOf('BYTES', [-1]), [1]);
    expect(() => outputOf(noText)).toThrow('holds bytes that are no text');
  });

  it('is refused when it is not UTF-8', () => {
    const body = Buffer.from('{"id":"\xff","inputs":[]}', 'latin1');
    expect(() => parseInferRequest(body, echoOf('BYTES', [-1]))).toThrow('not valid UTF-8');
  });

  it('has no answer for FP16, which is refused before anything is computed', () => {
    const signature = { ...echoOf('FP32', [-1]), outputs: echoOf('FP16', [-1]).outputs };
    expect(() => parseText('1', signature, [1])).toThrow('output "out" is FP16, which has no JSON form');
  });

  it('takes empty tensors where a dimension is free, and never no rows', () => {
    const signature = echoOf('FP32', [-1, -1]);
    expect(parseText('', signature, [2, 0]).data).toHaveLength(0);
    expect(parseText('[],[]', signature, [2, 0]).data).toHaveLength(0);
    expect(() => parseText('', signature, [0, 2])).toThrow('not a positive integer');
    expect(() => parseText('', signature, [1, 2 ** 40])).toThrow('which is too large');
  });

  it('takes a scalar', () => {
    expect(parseText('5', echoOf('INT32', []), []).data).toEqual(Int32Array.of(5));
  });
});
