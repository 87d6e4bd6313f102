import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { runPython } from '../../../test/python.ts';
import { inspectArtifact } from './formats.ts';
import { readKerasH5 } from './keras-h5-read.ts';
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

/** HDF5 may keep a group of more than eight entries in another way than a small one. */
function deep(layers: number, name: string): KerasSequential {
  const units = 4;
  const take = (n: number, seed: number): Float32Array =>
    Float32Array.from({ length: n }, (_, i) => Math.sin(seed + i * 1.3));
  return {
    name: 'deep',
    inputSize: units,
    layers: Array.from({ length: layers }, (_, i) => ({
      name: `${name}_${i}`,
      type: 'dense',
      units,
      activation: 'tanh',
      kernel: take(units * units, i),
      bias: take(units, -i),
    })),
  };
}

/** Of all layers in order, kernel before bias. */
function weightsOf({ layers }: KerasSequential): Float32Array[] {
  return layers.flatMap(({ kernel, bias }) => [kernel, bias]);
}

/** The bytes, so that nothing is rounded. */
function exactly(weights: readonly Float32Array[]): string[] {
  return weights.map(({ buffer, byteOffset, byteLength }) =>
    Buffer.from(buffer, byteOffset, byteLength).toString('base64'),
  );
}

const script = `
import base64, json, os, sys
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
        "weights": [base64.b64encode(np.asarray(w, "<f4").tobytes()).decode() for w in model.get_weights()],
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
    weights: z.array(z.string()),
    layers: z.array(z.string()),
    optimizer: z.string().nullable(),
    learningRate: z.number().nullable(),
    loss: z.string().nullable(),
  }),
);

it('a written file loads in Keras with its very weights and predicts the same as its ONNX form, to 1e-5', {
  timeout: 180_000,
}, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'commonwatt-h5-'));
  try {
    const networks = [
      example,
      ...fc.sample(network, { numRuns: 12, seed: 3 }),
      deep(8, 'dense'),
      deep(40, 'dense'),
      deep(64, 'x'.repeat(90)),
    ];
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
    for (const [i, { predictions, weights, layers }] of loaded.entries()) {
      const model = networks[i];
      expect(layers).toEqual(model?.layers.map((layer) => layer.name));
      expect(weights).toEqual(model && exactly(weightsOf(model)));
      expect(distance(cases[i]?.ours ?? [], predictions)).toBeLessThan(1e-5);
    }
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

const limits = {
  maxLayers: 1000,
  maxParameters: 1 << 20,
  maxRowElements: 1 << 20,
  maxStructures: 200_000,
  deadlineMs: 30_000,
};

it.each([
  ['two layers', example],
  ['seven layers', deep(7, 'dense')],
  ['eight layers', deep(8, 'dense')],
  ['40 layers', deep(40, 'dense')],
  ['999 layers with long names', deep(999, 'x'.repeat(90))],
])('a written file of %s gives back exactly the weights that went in', async (_, model) => {
  const bytes = Buffer.from(await writeKerasH5(model));
  const { layers, parameters, stored } = await readKerasH5(bytes, limits);
  expect(layers.map(({ name }) => name)).toEqual(['input_layer', ...model.layers.map(({ name }) => name)]);
  const weights = weightsOf(model);
  expect(parameters).toBe(weights.reduce((sum, { length }) => sum + length, 0));
  expect(exactly(weights.map((_, index) => stored(index)))).toEqual(exactly(weights));
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
