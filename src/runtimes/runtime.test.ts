/** The contract that every runtime passes. A new sibling is one more row of the table. */
import { describe, expect, it } from 'vitest';
import { inspectArtifact } from '../models/formats/formats.ts';
import { writeKerasH5 } from '../models/formats/keras-h5-write.ts';
import { onnxRuntime } from './onnx.ts';
import type { Runtime } from './runtime.ts';
import type { Tensor } from './tensor.ts';

/** y = relu(x₀ − x₁), small enough to compute by hand. */
async function difference(): Promise<Uint8Array> {
  const h5 = await writeKerasH5({
    name: 'difference',
    inputSize: 2,
    layers: [
      {
        name: 'dense',
        type: 'dense',
        units: 1,
        activation: 'relu',
        kernel: Float32Array.of(1, -1),
        bias: Float32Array.of(0),
      },
    ],
  });
  return (await inspectArtifact(Buffer.from(h5))).onnx;
}

function rows(...values: number[]): Tensor[] {
  return [
    { name: 'input', datatype: 'FP32', shape: [values.length / 2, 2], data: Float32Array.from(values) },
  ];
}

const oneThread = { threads: 1, executionProviders: ['cpu'] };

const runtimes: [Runtime, () => Promise<Uint8Array>][] = [[onnxRuntime, difference]];

describe.each(runtimes)('runtime $name', (runtime, model) => {
  it('loads a model from memory and computes rows of any number', async () => {
    const loaded = await runtime.load(await model(), oneThread);
    expect(await loaded.run(rows(3, 1))).toEqual([
      { name: 'output', datatype: 'FP32', shape: [1, 1], data: Float32Array.of(2) },
    ]);
    const [many] = await loaded.run(rows(3, 1, 1, 3, 0.5, 0.25));
    expect(many).toMatchObject({ shape: [3, 1], data: Float32Array.of(2, 0, 0.25) });
    await loaded.release();
  });

  it('computes several batches at once without mixing them', async () => {
    const loaded = await runtime.load(await model(), oneThread);
    const answers = await Promise.all(Array.from({ length: 50 }, (_, value) => loaded.run(rows(value, 0))));
    expect(answers.map(([output]) => output?.data[0])).toEqual(
      Array.from({ length: 50 }, (_, value) => value),
    );
    await loaded.release();
  });

  it('refuses bytes that are no model, and inputs that do not fit', async () => {
    await expect(runtime.load(Buffer.from('no model'), oneThread)).rejects.toThrow();
    const loaded = await runtime.load(await model(), oneThread);
    await expect(
      loaded.run([{ name: 'input', datatype: 'FP32', shape: [1, 3], data: new Float32Array(3) }]),
    ).rejects.toThrow();
    await loaded.release();
  });
});
