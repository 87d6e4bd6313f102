import { afterAll, beforeAll, expect, it } from 'vitest';
import { inspectArtifact } from './formats.ts';
import { distanceOf, KerasFolder } from './testing/keras-folder.ts';

/** COMMONWATT_TEST_RUNS=2000 makes as many, from the seed COMMONWATT_TEST_SEED. */
const runs = Number(process.env.COMMONWATT_TEST_RUNS ?? 60);
const seed = Number(process.env.COMMONWATT_TEST_SEED ?? 1);
const patience = 60_000 + 3000 * runs;

let keras: KerasFolder;
beforeAll(() => {
  keras = new KerasFolder('keras-random.py', String(runs), String(seed));
}, patience);
afterAll(() => keras?.remove());

it(
  'random architectures predict the same as in Keras, to 1e-5',
  async () => {
    const wrong: string[] = [];
    for (const [name, example] of keras.cases)
      for (const end of example.formats) {
        const distance = await inspectArtifact(keras.read(name, end))
          .then(({ onnx, signature }) => distanceOf(onnx, signature, example))
          .catch((error: unknown) => String(error).slice(0, 300));
        if (typeof distance === 'string' || distance > 1e-5) wrong.push(`${name}${end}: ${distance}`);
      }
    expect(wrong).toEqual([]);
    expect(keras.cases.size).toBeGreaterThan(0.8 * runs);
  },
  patience,
);
