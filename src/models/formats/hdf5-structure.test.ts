import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { runPython } from '../../../test/python.ts';
import { CommonwattError } from '../../errors.ts';
import { inspectArtifact } from './formats.ts';
import { readStructure } from './hdf5-structure.ts';
import { writeKerasH5 } from './keras-h5-write.ts';
import { predict } from './testing/keras-folder.ts';

const tensorSchema = z.object({ shape: z.array(z.number()) });
const modelSchema = z.object({
  onnx: z.instanceof(Uint8Array),
  signature: z.object({ inputs: z.array(tensorSchema), outputs: z.array(tensorSchema) }),
});
const limits = { maxDatasetBytes: 1 << 20, maxStructures: 10_000 };
let file: Buffer;
/** The same in the forms of HDF5 1.8: links in the headers of groups, instead of tables of their own. */
let newer: Buffer;

const rewrite = `
import base64, io, sys
import h5py

def copy(a, b):
    for name, value in a.attrs.items():
        b.attrs[name] = value
    for name, child in a.items():
        if isinstance(child, h5py.Group):
            copy(child, b.create_group(name))
        else:
            b[name] = child[...]

out = io.BytesIO()
with h5py.File(io.BytesIO(base64.b64decode(sys.stdin.read()))) as a, h5py.File(out, "w", libver=("v108", "v108")) as b:
    copy(a, b)
sys.stdout.write(base64.b64encode(out.getvalue()).decode())
`;

beforeAll(async () => {
  const dense = (name: string, inputs: number, units: number) => ({
    name,
    type: 'dense' as const,
    units,
    activation: 'tanh' as const,
    kernel: new Float32Array(inputs * units).fill(0.5),
    bias: new Float32Array(units),
  });
  file = Buffer.from(
    await writeKerasH5({ name: 'net', inputSize: 3, layers: [dense('a', 3, 4), dense('b', 4, 2)] }),
  );
  newer = Buffer.from(runPython(rewrite, [], file.toString('base64')), 'base64');
});

const forms: [string, () => Buffer][] = [
  ['oldest', () => file],
  ['newer', () => newer],
];

describe('the structure of an HDF5 file', () => {
  it('has tables of contents in the oldest form only', () => {
    expect(forms.map(([, form]) => form().includes('SNOD'))).toEqual([true, false]);
  });

  it.each(forms)('is a tree of groups and data sets with shapes and types, in the %s form', (_, form) => {
    const weights = readStructure(form(), limits).children.get('model_weights');
    const layer = weights?.kind === 'group' ? weights.children.get('a') : undefined;
    const model = layer?.kind === 'group' ? layer.children.get('net') : undefined;
    const inner = model?.kind === 'group' ? model.children.get('a') : undefined;
    const kernel = inner?.kind === 'group' ? inner.children.get('kernel') : undefined;
    expect(kernel).toMatchObject({
      kind: 'dataset',
      shape: [3, 4],
      bytes: 48,
      datatype: { isFloat32: true },
    });
  });

  it('a truncated file is refused wherever it ends, with the bytes it should have', async () => {
    for (let length = 8; length < file.length; length += 61) {
      await expect(inspectArtifact(file.subarray(0, length))).rejects.toMatchObject({
        code: 'CORRUPT_MODEL',
      });
    }
    await expect(inspectArtifact(file.subarray(0, 3000))).rejects.toMatchObject({
      message: expect.stringContaining(`should have ${file.length} bytes and has 3000`),
    });
  });

  it.each(forms)(
    'damaged bytes of the %s form never do worse than a CommonwattError',
    { timeout: 180_000 },
    async (_, form) => {
      const whole = form();
      const damage = fc.array(fc.tuple(fc.nat({ max: whole.length - 1 }), fc.integer({ min: 1, max: 255 })), {
        minLength: 1,
        maxLength: 8,
      });
      await fc.assert(
        fc.asyncProperty(damage, async (flips) => {
          const bytes = Buffer.from(whole);
          for (const [at, bits] of flips) bytes.writeUInt8(bytes.readUInt8(at) ^ bits, at);
          const outcome = await inspectArtifact(bytes).catch((error: unknown) => error);
          if (outcome instanceof CommonwattError) {
            expect(outcome.status).toBe(400);
            return;
          }
          if (outcome instanceof Error) throw outcome;
          // What is accepted must be a model that works.
          const { onnx, signature } = modelSchema.parse(outcome);
          const width = signature.inputs[0]?.shape[1] ?? 0;
          expect(await predict(onnx, new Array<number>(width).fill(1), [1, width])).toHaveLength(
            signature.outputs[0]?.shape[1] ?? -1,
          );
        }),
        { numRuns: 25, seed: 11 },
      );
    },
  );

  it.each(forms)('the bounded reader alone survives any damage to the %s form, in any number', (_, form) => {
    const whole = form();
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat({ max: whole.length - 1 }), fc.nat({ max: 255 })), {
          minLength: 1,
          maxLength: 40,
        }),
        (changes) => {
          const bytes = Buffer.from(whole);
          for (const [at, value] of changes) bytes.writeUInt8(value, at);
          try {
            readStructure(bytes, limits);
          } catch (error) {
            if (!(error instanceof CommonwattError)) throw error;
          }
        },
      ),
      { numRuns: 3000, seed: 5 },
    );
  });
});

describe('bounds', () => {
  it('reading that takes too long is ended', async () => {
    await expect(inspectArtifact(file, { deadlineMs: 1 })).rejects.toMatchObject({
      code: 'CORRUPT_MODEL',
      message: expect.stringContaining('longer than 1 ms'),
    });
  });

  it('a model larger than the limits is refused before its weights are read', async () => {
    await expect(inspectArtifact(file, { maxParameters: 20 })).rejects.toMatchObject({
      code: 'UNSAFE_MODEL',
    });
    await expect(inspectArtifact(file, { maxKerasBytes: 100 })).rejects.toMatchObject({
      code: 'PAYLOAD_TOO_LARGE',
    });
  });

  it('memory comes back after each model', { timeout: 60_000 }, async () => {
    await inspectArtifact(file);
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 8; i++) await inspectArtifact(file);
    // A worker that stayed would keep some 30 MB each time.
    expect(process.memoryUsage().rss - before).toBeLessThan(120e6);
  });
});
