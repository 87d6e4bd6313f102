/** The contract that every runtime passes. A new sibling is one more row of the table. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { onnxRuntime } from './onnx.ts';
import { type Runtime, runtimeFor } from './runtime.ts';
import { type Datatype, datatypes, elementsOf, emptyData, packBytes, type Tensor } from './tensor.ts';
import { addModel, differenceModel, identityModel, onnxModel } from './testing/onnx-graphs.ts';

function rows(...values: number[]): Tensor[] {
  return [{ name: 'x', datatype: 'FP32', shape: [values.length / 2, 2], data: Float32Array.from(values) }];
}

interface Models {
  /** y = relu(x₀ − x₁) for rows of two. */
  difference(): Uint8Array;
  /** y = x. */
  identity(datatype: Datatype, shape: readonly number[]): Uint8Array;
}

const runtimes: [Runtime, Models][] = [
  [onnxRuntime, { difference: differenceModel, identity: identityModel }],
];

/** Elements of a datatype by random bytes; of BF16 and FP16 every bit pattern but NaN, of which only the fact counts. */
function anyTensor(datatype: Datatype): fc.Arbitrary<Tensor> {
  return fc
    .array(fc.integer({ min: 0, max: 3 }), { minLength: 2, maxLength: 2 })
    .chain((shape): fc.Arbitrary<Tensor> => {
      const elements = elementsOf(shape);
      if (datatype === 'BYTES')
        return fc
          .array(fc.string({ unit: 'binary', maxLength: 6 }), { minLength: elements, maxLength: elements })
          .map((texts) => texts.map((text) => Buffer.from(text.replaceAll('\0', '0'))))
          .map((parts) => ({ name: 'x', datatype, shape, data: packBytes(parts) }));
      const { byteLength } = emptyData(datatype, elements);
      return fc.uint8Array({ minLength: byteLength, maxLength: byteLength }).map((bytes) => {
        const data = emptyData(datatype, elements);
        new Uint8Array(data.buffer).set(datatype === 'BOOL' ? bytes.map((byte) => byte & 1) : bytes);
        if (data instanceof Uint16Array)
          data.forEach((bits, i) => {
            if (isNaN16(datatype, bits)) data[i] = 0x8000;
          });
        return { name: 'x', datatype, shape, data };
      });
    });
}

function isNaN16(datatype: Datatype, bits: number): boolean {
  if (datatype === 'FP16') return (bits & 0x7c00) === 0x7c00 && (bits & 0x3ff) !== 0;
  return datatype === 'BF16' && (bits & 0x7f80) === 0x7f80 && (bits & 0x7f) !== 0;
}

describe.each(runtimes)('runtime $name', (runtime, models) => {
  it('loads a model from memory, keeps none of its bytes, and computes rows of any number', async () => {
    const bytes = models.difference();
    const loaded = await runtime.load(bytes);
    bytes.fill(0);
    expect(await loaded.run(rows(3, 1))).toEqual([
      { name: 'y', datatype: 'FP32', shape: [1, 1], data: Float32Array.of(2) },
    ]);
    const [many] = await loaded.run(rows(3, 1, 1, 3, 0.5, 0.25));
    expect(many).toMatchObject({ shape: [3, 1], data: Float32Array.of(2, 0, 0.25) });
    await loaded.release();
  });

  it.each(datatypes)('carries %s as it is: values, empty tensors, scalars', async (datatype) => {
    const loaded = await runtime.load(models.identity(datatype, [-1, -1]));
    await fc.assert(
      fc.asyncProperty(anyTensor(datatype), async (tensor) => {
        expect(await loaded.run([tensor])).toEqual([{ ...tensor, name: 'y' }]);
      }),
      { numRuns: 60 },
    );
    await loaded.release();
    const scalar = await runtime.load(models.identity(datatype, []));
    const data = datatype === 'BYTES' ? packBytes([Buffer.from('é')]) : emptyData(datatype, 1);
    const one: Tensor = { name: 'x', datatype, shape: [], data };
    expect(await scalar.run([one])).toEqual([{ ...one, name: 'y' }]);
    await scalar.release();
  });

  it('computes several batches at once without mixing them', async () => {
    const loaded = await runtime.load(models.difference(), { threads: 2, executionProviders: ['cpu'] });
    const answers = await Promise.all(Array.from({ length: 50 }, (_, value) => loaded.run(rows(value, 0))));
    expect(answers.map(([output]) => output?.data[0])).toEqual(
      Array.from({ length: 50 }, (_, value) => value),
    );
    await loaded.release();
  });

  it('refuses bytes that are no model, and inputs that do not fit, and goes on', async () => {
    await expect(runtime.load(Buffer.from('no model'))).rejects.toThrow();
    const good = models.difference();
    await expect(runtime.load(good.subarray(0, good.length / 2))).rejects.toThrow();
    const loaded = await runtime.load(good);
    const wrong: Tensor[] = [
      { name: 'x', datatype: 'FP32', shape: [1, 3], data: new Float32Array(3) },
      { name: 'x', datatype: 'FP64', shape: [1, 2], data: new Float64Array(2) },
      { name: 'x', datatype: 'FP32', shape: [2, 2], data: new Float32Array(2) },
      { name: 'z', datatype: 'FP32', shape: [1, 2], data: new Float32Array(2) },
    ];
    for (const input of wrong) await expect(loaded.run([input])).rejects.toThrow();
    await expect(loaded.run([])).rejects.toThrow();
    expect(await loaded.run(rows(3, 1))).toMatchObject([{ data: Float32Array.of(2) }]);
    await loaded.release();
  });

  it('refuses an execution provider that it lacks, and names those that it has', async () => {
    await expect(
      runtime.load(models.difference(), { threads: 1, executionProviders: ['abacus', 'cpu'] }),
    ).rejects.toMatchObject({
      name: 'ProviderError',
      message: expect.stringMatching(/no execution provider abacus; it has cpu/),
    });
  });

  it('gives memory back: a model loaded and released again and again does not grow the process', async () => {
    const cycle = async (times: number) => {
      for (let i = 0; i < times; i++) {
        const loaded = await runtime.load(models.difference());
        await loaded.run(rows(i, 0));
        await loaded.release();
      }
      return process.memoryUsage.rss();
    };
    const before = await cycle(200);
    expect((await cycle(400)) - before).toBeLessThan(40e6);
  });
});

describe('the runtime of an artifact', () => {
  it('is onnxruntime for ONNX, and the pipelines for a zip archive', async () => {
    expect(await runtimeFor(differenceModel())).toBe(onnxRuntime);
    expect((await runtimeFor(Buffer.from('PK\x03\x04'))).name).toBe('pipeline');
  });
});

describe('onnxruntime', () => {
  it('refuses text that it would cut or garble', async () => {
    const loaded = await onnxRuntime.load(identityModel('BYTES', [-1]));
    const run = (element: Uint8Array) =>
      loaded.run([{ name: 'x', datatype: 'BYTES', shape: [1], data: packBytes([element]) }]);
    await expect(run(Buffer.from([0xff, 0x41]))).rejects.toThrow('element 0 of input x is not UTF-8 text');
    await expect(run(Buffer.from('a\0b'))).rejects.toThrow('element 0 of input x has a NUL character');
    const [marked] = await run(Buffer.from('\ufeffa'));
    expect(marked?.data).toEqual(packBytes([Buffer.from('\ufeffa')]));
    await loaded.release();
  });

  it('computes bfloat16 beside other datatypes, exactly, with its names and its order kept', async () => {
    const loaded = await onnxRuntime.load(addModel('BF16'));
    const outputs = await loaded.run([
      { name: 'b', datatype: 'FP32', shape: [2], data: Float32Array.of(1, 0.5) },
      // 1.5 and −0.0078125 as bfloat16
      { name: 'a', datatype: 'BF16', shape: [2], data: Uint16Array.of(0x3fc0, 0xbc00) },
    ]);
    expect(outputs).toEqual([
      { name: 'sum', datatype: 'FP32', shape: [2], data: Float32Array.of(2.5, 0.4921875) },
      { name: 'rounded', datatype: 'BF16', shape: [2], data: Uint16Array.of(0x4020, 0x3efc) },
      { name: 'same', datatype: 'BF16', shape: [2], data: Uint16Array.of(0x3fc0, 0xbc00) },
    ]);
    await loaded.release();
  });

  it('refuses values that are no tensors, and says how to export without', async () => {
    const sequence = onnxModel({
      inputs: [['x', 'FP32', [-1]]],
      outputs: [['y', 'FP32', [-1]]],
      nodes: [{ op: 'SequenceConstruct', inputs: ['x'], outputs: ['y'] }],
    });
    await expect(onnxRuntime.load(sequence)).rejects.toThrow();
  });

  it('refuses a provider whose libraries are not there, and does not fall back to the processor', async () => {
    const load = onnxRuntime.load(differenceModel(), { threads: 1, executionProviders: ['cuda', 'cpu'] });
    await expect(load).rejects.toMatchObject({
      name: 'ProviderError',
      message: expect.stringMatching(/cuda/),
    });
    await expect(
      onnxRuntime.load(Buffer.from('no model'), { threads: 1, executionProviders: ['cuda'] }),
    ).rejects.not.toMatchObject({ name: 'ProviderError' });
  });
});
