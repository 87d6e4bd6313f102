/** What an import accepts is what the installed onnxruntime loads, version by version. */
import { create, toBinary } from '@bufbuild/protobuf';
import { InferenceSession } from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { inspectArtifact } from './formats.ts';
import { ModelProtoSchema, TensorProto_DataType } from './onnx_pb.ts';
import { domains, irVersions, opsets } from './onnx-read.ts';

function relu(ir: number, imports: { domain: string; version: number }[]): Buffer {
  const dim = [{ value: { case: 'dimValue' as const, value: 2n } }];
  const ends = {
    case: 'tensorType' as const,
    value: { elemType: TensorProto_DataType.FLOAT, shape: { dim } },
  };
  return Buffer.from(
    toBinary(
      ModelProtoSchema,
      create(ModelProtoSchema, {
        irVersion: BigInt(ir),
        opsetImport: imports.map(({ domain, version }) => ({ domain, version: BigInt(version) })),
        graph: {
          name: 'g',
          node: [{ opType: 'Relu', input: ['x'], output: ['y'] }],
          input: [{ name: 'x', type: { value: ends } }],
          output: [{ name: 'y', type: { value: ends } }],
        },
      }),
    ),
  );
}

const accepted = (bytes: Buffer) =>
  inspectArtifact(bytes).then(
    () => true,
    () => false,
  );
const loaded = (bytes: Buffer) =>
  InferenceSession.create(bytes, { logSeverityLevel: 4 }).then(
    async (session) => {
      await session.release();
      return true;
    },
    () => false,
  );

describe('what is accepted is loaded, and the next newer is neither', () => {
  const opset = (version: number) => relu(8, [{ domain: '', version }]);
  it.each(range(opsets.min, opsets.max + 1))('opset %i', async (version) => {
    const bytes = opset(version);
    expect([await accepted(bytes), await loaded(bytes)]).toEqual(Array(2).fill(version <= opsets.max));
  });

  it.each(range(irVersions.min, irVersions.max + 1))('IR version %i', async (version) => {
    const bytes = relu(version, [{ domain: '', version: 17 }]);
    expect([await accepted(bytes), await loaded(bytes)]).toEqual(Array(2).fill(version <= irVersions.max));
  });

  const others = [...domains].filter(([, max]) => max !== opsets.max);
  it.each(others)('%s %i', async (domain, max) => {
    for (const version of range(1, max + 1)) {
      const bytes = relu(8, [
        { domain: '', version: 17 },
        { domain, version },
      ]);
      expect([await accepted(bytes), await loaded(bytes)]).toEqual(Array(2).fill(version <= max));
    }
  });
});

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}
