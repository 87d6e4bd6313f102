/** ONNX models with external data, as they come in a zip archive; written by Python's onnx where it writes such. */
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { beforeAll, describe, expect, it } from 'vitest';
import { runPython } from '../../../test/python.ts';
import { CommonwattError } from '../../errors.ts';
import { writeZip } from '../../zip.ts';
import { inspectArtifact } from './formats.ts';
import { ModelProtoSchema, TensorProto_DataLocation, TensorProto_DataType } from './onnx_pb.ts';

let model: Buffer;
let data: Buffer;

/** y = x · w, and a constant in a branch that has its data outside, too. */
beforeAll(() => {
  const folder = mkdtempSync(join(tmpdir(), 'external-'));
  runPython(
    `
import sys, numpy as np, onnx
from onnx import helper, numpy_helper, TensorProto
branch = helper.make_graph([helper.make_node("Add", ["y", "c"], ["z"])], "b", [], [helper.make_tensor_value_info("z", 1, None)],
    [numpy_helper.from_array(np.full(2, 10, np.float32), "c")])
other = helper.make_graph([helper.make_node("Identity", ["y"], ["z2"])], "o", [], [helper.make_tensor_value_info("z2", 1, None)])
graph = helper.make_graph(
    [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("If", ["on"], ["out"], then_branch=branch, else_branch=other)],
    "g", [helper.make_tensor_value_info("x", 1, ["n", 3])], [helper.make_tensor_value_info("out", 1, ["n", 2])],
    [numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(3, 2), "w"), numpy_helper.from_array(np.array(True), "on")])
m = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.save(m, sys.argv[1] + "/model.onnx", save_as_external_data=True, location="model.onnx.data", size_threshold=0)
`,
    [folder],
  );
  model = readFileSync(join(folder, 'model.onnx'));
  data = readFileSync(join(folder, 'model.onnx.data'));
});

/** One tensor with these fields in place of its own. */
function changed(fields: Record<string, string>): Buffer {
  const proto = fromBinary(ModelProtoSchema, model);
  const weight = proto.graph?.initializer.find(({ name }) => name === 'w');
  if (!weight) throw new Error('no weight');
  const kept = weight.externalData.filter(({ key }) => !(key in fields));
  weight.externalData = [
    ...kept,
    ...Object.entries(fields).map(([key, value]) => ({
      ...kept[0]!,
      $typeName: 'onnx.StringStringEntryProto' as const,
      key,
      value,
    })),
  ];
  return Buffer.from(toBinary(ModelProtoSchema, proto));
}

const zip = (bytes: Buffer, files: [string, Buffer][] = [['model.onnx.data', data]]) =>
  writeZip([['model.onnx', bytes], ...files]);

describe('an ONNX model with external data', () => {
  it('is folded into one file that computes the same', async () => {
    const { format, onnx, signature, parameters } = await inspectArtifact(zip(model));
    expect([format, parameters, signature.inputs[0]?.shape]).toEqual(['onnx', 7, [-1, 3]]);
    const session = await InferenceSession.create(onnx);
    const { out } = await session.run({ x: new Tensor('float32', Float32Array.of(1, 1, 1), [1, 3]) });
    expect(Array.from(out?.data as Float32Array)).toEqual([16, 19]);
    await session.release();
  });

  it('may lie in a folder of the archive, with its data', async () => {
    const inside = writeZip([
      ['a/model.onnx', model],
      ['a/model.onnx.data', data],
    ]);
    expect((await inspectArtifact(inside)).format).toBe('onnx');
  });

  it.each([
    ['upwards', { location: '../model.onnx.data' }, 'UNSAFE_MODEL', /outside the model's own folder/],
    ['upwards in between', { location: 'a/../../x' }, 'UNSAFE_MODEL', /outside/],
    ['an absolute path', { location: '/etc/passwd' }, 'UNSAFE_MODEL', /outside/],
    ['another system’s path', { location: 'C:\\x' }, 'UNSAFE_MODEL', /outside/],
    ['nowhere', { location: '' }, 'UNSAFE_MODEL', /outside/],
    [
      'a file that is not there',
      { location: 'other.data' },
      'CORRUPT_MODEL',
      /"other.data", which is not beside/,
    ],
    ['past the end', { offset: '100000' }, 'CORRUPT_MODEL', /wants the bytes 100000/],
    ['too much', { length: '99999' }, 'CORRUPT_MODEL', /wants the bytes/],
    ['too little', { length: '20' }, 'CORRUPT_MODEL', /24 bytes\), but 20 bytes/],
    ['less than nothing', { offset: '-8' }, 'CORRUPT_MODEL', /offset "-8"/],
    ['no number', { length: '1e1' }, 'CORRUPT_MODEL', /length "1e1"/],
    ['an enormous number', { offset: '9007199254740993' }, 'CORRUPT_MODEL', /offset/],
  ])('from %s is refused', async (_, fields: Record<string, string>, code, message) => {
    await expect(inspectArtifact(zip(changed(fields)))).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
      where: 'w',
      hint: expect.any(String),
    });
  });

  it('with its data here and there at once is refused', async () => {
    const both = create(ModelProtoSchema, fromBinary(ModelProtoSchema, model));
    const weight = both.graph!.initializer[0]!;
    weight.dataLocation = TensorProto_DataLocation.DEFAULT;
    weight.dataType = TensorProto_DataType.FLOAT;
    await expect(inspectArtifact(zip(Buffer.from(toBinary(ModelProtoSchema, both))))).rejects.toMatchObject({
      code: 'CORRUPT_MODEL',
      message: expect.stringContaining('names a file but has its data here'),
    });
  });

  it('damaged in any way is read or refused, never worse', async () => {
    const good = zip(model);
    const damage = fc.array(fc.tuple(fc.nat({ max: good.length - 1 }), fc.nat({ max: 255 })), {
      minLength: 1,
      maxLength: 6,
    });
    const fields = fc.dictionary(
      fc.constantFrom('location', 'offset', 'length', 'checksum'),
      fc.oneof(fc.string(), fc.integer().map(String)),
      { maxKeys: 3 },
    );
    const attempt = async (bytes: Buffer) => {
      const outcome: unknown = await inspectArtifact(bytes).catch((error: unknown) => error);
      if (outcome instanceof Error && !(outcome instanceof CommonwattError)) throw outcome;
    };
    await fc.assert(
      fc.asyncProperty(damage, fields, async (changes, own) => {
        const bytes = Buffer.from(good);
        for (const [at, byte] of changes) bytes.writeUInt8(byte, at);
        await attempt(bytes);
        await attempt(zip(changed(own)));
      }),
      { numRuns: 1000, seed: 3 },
    );
  });
});
