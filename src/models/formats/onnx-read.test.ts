import type { MessageInitShape } from '@bufbuild/protobuf';
import { create, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CommonwattError } from '../../errors.ts';
import { writeZip } from '../../zip.ts';
import { inspectArtifact } from './formats.ts';
import {
  ModelProtoSchema,
  TensorProto_DataLocation,
  TensorProto_DataType,
  type TensorProtoSchema,
  type ValueInfoProtoSchema,
} from './onnx_pb.ts';

type Value = MessageInitShape<typeof ValueInfoProtoSchema>;
type Tensor = MessageInitShape<typeof TensorProtoSchema>;

function value(
  name: string,
  dims: (number | string)[],
  elemType: number = TensorProto_DataType.FLOAT,
): Value {
  const dim = dims.map((d) =>
    typeof d === 'number'
      ? { value: { case: 'dimValue' as const, value: BigInt(d) } }
      : { value: { case: 'dimParam' as const, value: d } },
  );
  return { name, type: { value: { case: 'tensorType', value: { elemType, shape: { dim } } } } };
}

const weight: Tensor = {
  name: 'w',
  dims: [3n, 2n],
  dataType: TensorProto_DataType.FLOAT,
  rawData: new Uint8Array(24),
};

interface Parts {
  inputs?: Value[];
  outputs?: Value[];
  weights?: Tensor[];
  opset?: number;
  ir?: number;
  domain?: string;
  ml?: number;
  /** A node in a branch of an If, of this domain. */
  branch?: string;
  branchWeight?: Tensor;
}

/** What scikit-learn's classifiers give unless they are told not to. */
const zipMap: Value = {
  name: 'y',
  type: {
    value: {
      case: 'sequenceType',
      value: { elemType: { value: { case: 'mapType', value: { keyType: TensorProto_DataType.INT64 } } } },
    },
  },
};

/** y = x · w, with anything in it replaced. */
function onnx(parts: Parts = {}): Buffer {
  const { inputs, outputs, weights, opset = 17, ir = 8, domain = '', ml, branch, branchWeight } = parts;
  const inner = {
    name: 'inner',
    node: [{ name: 'thing', opType: 'Thing', domain: branch ?? '', output: ['z'] }],
    initializer: branchWeight ? [branchWeight] : [],
  };
  return Buffer.from(
    toBinary(
      ModelProtoSchema,
      create(ModelProtoSchema, {
        irVersion: BigInt(ir),
        opsetImport: [
          { domain: '', version: BigInt(opset) },
          ...(ml === undefined ? [] : [{ domain: 'ai.onnx.ml', version: BigInt(ml) }]),
        ],
        graph: {
          name: 'g',
          node: [
            { name: 'product', opType: 'MatMul', domain, input: ['x', 'w'], output: ['y'] },
            ...(branch === undefined
              ? []
              : [
                  {
                    opType: 'If',
                    input: ['x'],
                    output: ['z'],
                    attribute: [{ name: 'then_branch', g: inner }],
                  },
                ]),
          ],
          initializer: weights ?? [weight],
          input: inputs ?? [value('x', ['batch', 3])],
          output: outputs ?? [value('y', ['batch', 2])],
        },
      }),
    ),
  );
}

describe('an ONNX model', () => {
  it('tells its inputs and outputs; symbolic dimensions are −1', async () => {
    const model = await inspectArtifact(onnx());
    expect(model.format).toBe('onnx');
    expect(model.signature).toEqual({
      inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 3] }],
      outputs: [{ name: 'y', datatype: 'FP32', shape: [-1, 2] }],
    });
    expect(model.layers).toEqual([{ name: 'product', type: 'MatMul', parameters: 6 }]);
    expect(model.parameters).toBe(6);
  });

  it('weights that old exporters list among the inputs are not inputs', async () => {
    const { signature } = await inspectArtifact(onnx({ inputs: [value('x', ['n', 3]), value('w', [3, 2])] }));
    expect(signature.inputs.map((input) => input.name)).toEqual(['x']);
  });

  it.each([
    [10, 'FP16'],
    [16, 'BF16'],
    [8, 'BYTES'],
    [12, 'UINT32'],
    [13, 'UINT64'],
    [4, 'UINT16'],
    [5, 'INT16'],
  ])('may have inputs of ONNX type %i, which is %s', async (type, datatype) => {
    const { signature } = await inspectArtifact(onnx({ inputs: [value('x', ['n', 3], type)] }));
    expect(signature.inputs).toEqual([{ name: 'x', datatype, shape: [-1, 3] }]);
  });

  it('is served by its own bytes', async () => {
    const bytes = onnx();
    expect((await inspectArtifact(bytes)).onnx).toBe(bytes);
  });

  it.each([
    ['a new opset', onnx({ opset: 27 }), 'UNSUPPORTED_FORMAT', /opset 27; 7 to 26/],
    ['an old opset', onnx({ opset: 6 }), 'UNSUPPORTED_FORMAT', /opset 6/],
    ['a new IR', onnx({ ir: 14 }), 'UNSUPPORTED_FORMAT', /IR version 14/],
    [
      '8-bit floating point',
      onnx({ inputs: [value('x', [1, 3], 17)] }),
      'UNSUPPORTED_FORMAT',
      /FLOAT8E4M3FN/,
    ],
    ['a new ML opset', onnx({ ml: 6 }), 'UNSUPPORTED_FORMAT', /opset 6 of "ai.onnx.ml"; 1 to 5/],
    ['a map', onnx({ outputs: [zipMap] }), 'UNSUPPORTED_FORMAT', /output "y" is not a tensor but a sequence/],
    ['a custom operator in a branch', onnx({ branch: 'mine' }), 'UNSUPPORTED_LAYER', /"mine.Thing"/],
    [
      'a damaged weight in a branch',
      onnx({ branch: '', weights: [weight], branchWeight: { ...weight, rawData: new Uint8Array(20) } }),
      'CORRUPT_MODEL',
      /24 bytes/,
    ],
    ['a custom operator', onnx({ domain: 'mine' }), 'UNSUPPORTED_LAYER', /"mine.MatMul"/],
    ['no outputs', onnx({ outputs: [] }), 'CORRUPT_MODEL', /no output/],
    [
      'twice the same input',
      onnx({ inputs: [value('x', [1]), value('x', [1])] }),
      'CORRUPT_MODEL',
      /same name/,
    ],
    ['a negative dimension', onnx({ inputs: [value('x', [-5, 3])] }), 'CORRUPT_MODEL', /-5/],
    [
      'too few bytes',
      onnx({ weights: [{ ...weight, rawData: new Uint8Array(20) }] }),
      'CORRUPT_MODEL',
      /24 bytes/,
    ],
    [
      'a shape bomb',
      onnx({ weights: [{ ...weight, dims: [2n ** 40n, 2n ** 40n] }] }),
      'CORRUPT_MODEL',
      /shape/,
    ],
    [
      'data in another file',
      onnx({
        weights: [
          {
            ...weight,
            rawData: new Uint8Array(),
            dataLocation: TensorProto_DataLocation.EXTERNAL,
            externalData: [{ key: 'location', value: '/etc/passwd' }],
          },
        ],
      }),
      'UNSAFE_MODEL',
      /tensor "w" keeps its data in another file/,
    ],
  ])('%s is refused', async (_, bytes, code, message) => {
    const error: unknown = await inspectArtifact(bytes).catch((cause: unknown) => cause);
    if (!(error instanceof CommonwattError)) throw new Error('not refused', { cause: error });
    expect([error.code, error.message]).toEqual([code, expect.stringMatching(message)]);
    expect(error.hint).toBeTruthy();
  });

  it('many small parts are refused before they are decoded', async () => {
    // Two bytes each on the wire; hundreds of bytes each as objects.
    const node = Buffer.alloc(400_000, Buffer.from([0x0a, 0x00]));
    const length = Buffer.from([
      0x80 | (node.length & 0x7f),
      0x80 | ((node.length >> 7) & 0x7f),
      node.length >> 14,
    ]);
    const bomb = Buffer.concat([Buffer.from([0x08, 0x08, 0x3a]), length, node]);
    await expect(inspectArtifact(bomb, { maxMessages: 100_000 })).rejects.toMatchObject({
      code: 'UNSAFE_MODEL',
    });
  });

  it('nested without end is refused', async () => {
    let inner = Buffer.alloc(0);
    // TypeProto.sequence_type (4) → Sequence.elem_type (1) → TypeProto …
    for (let i = 0; i < 100; i++) {
      const tag = i % 2 === 0 ? 0x0a : 0x22;
      const size = inner.length < 128 ? [inner.length] : [0x80 | (inner.length & 0x7f), inner.length >> 7];
      inner = Buffer.concat([Buffer.from([tag, ...size]), inner]);
    }
    const wrap = (tag: number, body: Buffer) =>
      Buffer.concat([Buffer.from([tag, 0x80 | (body.length & 0x7f), body.length >> 7]), body]);
    const bytes = Buffer.concat([Buffer.from([0x08, 0x08]), wrap(0x3a, wrap(0x5a, wrap(0x12, inner)))]);
    await expect(inspectArtifact(bytes)).rejects.toMatchObject({
      code: expect.stringMatching(/UNSAFE_MODEL|CORRUPT_MODEL/),
    });
  });

  it('truncated or damaged bytes never do worse than a CommonwattError', async () => {
    const good = onnx();
    const damage = fc.tuple(
      fc.array(fc.tuple(fc.nat({ max: good.length - 1 }), fc.nat({ max: 255 })), { maxLength: 6 }),
      fc.integer({ min: 0, max: good.length }),
    );
    await fc.assert(
      fc.asyncProperty(damage, async ([changes, length]) => {
        const bytes = Buffer.from(good);
        for (const [at, byte] of changes) bytes.writeUInt8(byte, at);
        const outcome: unknown = await inspectArtifact(bytes.subarray(0, length)).catch(
          (error: unknown) => error,
        );
        if (outcome instanceof Error && !(outcome instanceof CommonwattError)) throw outcome;
      }),
      { numRuns: 1000, seed: 2 },
    );
  });
});

describe('bytes of no supported format', () => {
  it.each([
    ['a zip', writeZip([['archive/data.pkl', Buffer.from('x')]]), /a zip archive of archive\/data.pkl/],
    ['a pickle', Buffer.from([0x80, 0x04, 0x95]), /800495, a Python pickle/],
    ['text', Buffer.from('hello'), /68656c6c6f/],
    ['nothing', Buffer.alloc(0), /the file is empty/],
  ])('%s: says what was seen and what is supported', async (_, bytes, message) => {
    await expect(inspectArtifact(bytes)).rejects.toMatchObject({
      code: 'UNSUPPORTED_FORMAT',
      message: expect.stringMatching(message),
      hint: expect.stringMatching(/h5|ONNX/),
    });
  });
});
