import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { runPython } from '../../../test/python.ts';
import { inspectArtifact } from './formats.ts';
import { type KerasSequential, writableActivations, writeKerasH5 } from './keras-h5-write.ts';
import { distance, predict } from './testing/keras-folder.ts';

const weight = fc.float({ min: -1, max: 1, noNaN: true });

/** Networks of every writable activation, with weights of the size that training gives. */
const network: fc.Arbitrary<KerasSequential> = fc
  .tuple(
    fc.integer({ min: 1, max: 12 }),
    fc.array(
      fc.record({
        units: fc.integer({ min: 1, max: 12 }),
        activation: fc.constantFrom(...writableActivations),
      }),
      { minLength: 1, maxLength: 4 },
    ),
    fc.array(weight, { minLength: 700, maxLength: 700 }),
  )
  .map(([inputSize, sizes, pool]) => {
    let at = 0;
    const take = (n: number): Float32Array => Float32Array.from({ length: n }, () => pool[at++ % 700] ?? 0);
    let inputs = inputSize;
    const layers = sizes.map(({ units, activation }, i) => {
      const kernel = take(inputs * units);
      inputs = units;
      return { name: `dense_${i}`, type: 'dense' as const, units, activation, kernel, bias: take(units) };
    });
    return { name: 'sequential', inputSize, layers };
  });

const example: KerasSequential = {
  name: 'digits',
  inputSize: 2,
  layers: [
    {
      name: 'hidden',
      type: 'dense',
      units: 3,
      activation: 'relu',
      kernel: Float32Array.of(0.5, -1, 2, 0.25, 1, -0.5),
      bias: Float32Array.of(0.1, 0.2, 0.3),
    },
    {
      name: 'output',
      type: 'dense',
      units: 1,
      activation: 'sigmoid',
      kernel: Float32Array.of(1, -2, 0.5),
      bias: Float32Array.of(-0.25),
    },
  ],
  training: { optimizer: 'adam', learningRate: 0.01, loss: 'binaryCrossentropy', metrics: ['accuracy'] },
};

const script = `
import json, os, sys
os.environ["KERAS_BACKEND"] = "numpy"
import warnings
import absl.logging, keras, numpy as np
warnings.simplefilter("ignore")
absl.logging.set_verbosity("error")
cases = json.load(sys.stdin)
out = []
for case in cases:
    model = keras.models.load_model(case["file"])
    optimizer = getattr(model, "optimizer", None)
    rows = np.asarray(case["rows"], dtype="float32").reshape(-1, case["inputSize"])
    out.append({
        "predictions": np.asarray(model(rows)).ravel().tolist(),
        "layers": [layer.name for layer in model.layers],
        "optimizer": type(optimizer).__name__ if optimizer else None,
        "learningRate": float(optimizer.learning_rate) if optimizer else None,
        "loss": getattr(model.loss, "__name__", model.loss) if optimizer else None,
    })
json.dump(out, sys.stdout)
`;
const loadedSchema = z.array(
  z.object({
    predictions: z.array(z.number()),
    layers: z.array(z.string()),
    optimizer: z.string().nullable(),
    learningRate: z.number().nullable(),
    loss: z.string().nullable(),
  }),
);

it('a written file loads in Keras and predicts the same as its ONNX form, to 1e-5', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'commonwatt-h5-'));
  try {
    const networks = [example, ...fc.sample(network, { numRuns: 12, seed: 3 })];
    const cases = await Promise.all(
      networks.map(async (model, i) => {
        const bytes = await writeKerasH5(model);
        const file = join(folder, `${i}.h5`);
        writeFileSync(file, bytes);
        const rows = Array.from({ length: 5 * model.inputSize }, (_, k) =>
          Math.fround(Math.sin(k * 1.7) * 2),
        );
        const { onnx } = await inspectArtifact(Buffer.from(bytes));
        return {
          file,
          inputSize: model.inputSize,
          rows,
          ours: await predict(onnx, rows, [5, model.inputSize]),
        };
      }),
    );
    const loaded = loadedSchema.parse(JSON.parse(runPython(script, [], JSON.stringify(cases))));
    expect(loaded.length).toBe(networks.length);
    for (const [i, { predictions }] of loaded.entries())
      expect(distance(cases[i]?.ours ?? [], predictions)).toBeLessThan(1e-5);
    // Optimizer, learning rate and loss let Keras go on training.
    expect(loaded[0]).toMatchObject({
      layers: ['hidden', 'output'],
      optimizer: 'Adam',
      learningRate: expect.closeTo(0.01, 6),
      loss: 'binary_crossentropy',
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

it('a written file gives back exactly the weights that went in', async () => {
  const { layers, parameters } = await inspectArtifact(Buffer.from(await writeKerasH5(example)));
  expect(layers.map((layer) => layer.name)).toEqual(['input_layer', 'hidden', 'output']);
  expect(parameters).toBe(2 * 3 + 3 + 3 + 1);
});

it('weights that do not fit their layer are refused by name', async () => {
  const [hidden, output] = example.layers;
  if (!hidden || !output) throw new Error('the example has two layers');
  await expect(
    writeKerasH5({ ...example, layers: [hidden, { ...output, kernel: Float32Array.of(1, 2) }] }),
  ).rejects.toMatchObject({ code: 'INVALID_REQUEST', message: expect.stringContaining('layer "output"') });
  await expect(writeKerasH5({ ...example, name: '../up' })).rejects.toMatchObject({
    code: 'INVALID_REQUEST',
  });
});
