import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { inspectArtifact } from './formats.ts';
import { distanceOf, KerasFolder } from './testing/keras-folder.ts';

/** COMMONWATT_TEST_LONG=1 reads every model in both of its forms. */
const h5Step = process.env.COMMONWATT_TEST_LONG ? 1 : 20;

let keras: KerasFolder;
beforeAll(() => {
  keras = new KerasFolder('keras-layers.py');
}, 300_000);
afterAll(() => keras?.remove());

describe('every converted layer', () => {
  it('predicts the same as in Keras, to 1e-5, with each of its options, from .h5 and from .keras', async () => {
    const wrong: string[] = [];
    for (const [i, [name, example]] of [...keras.cases].entries())
      for (const end of example.formats) {
        // Reading .h5 takes long; all that differs from .keras is where the weights are.
        if (end === '.h5' && i % h5Step !== 0 && !/nested|frozen|shared|bidirectional-unlike/.test(name))
          continue;
        const distance = await inspectArtifact(keras.read(name, end))
          .then(({ onnx, signature }) => distanceOf(onnx, signature, example))
          .catch((error: unknown) => String(error).slice(0, 300));
        if (typeof distance === 'string' || distance > 1e-5) wrong.push(`${name}${end}: ${distance}`);
      }
    expect(wrong).toEqual([]);
    expect(keras.cases.size).toBeGreaterThan(350);
  }, 300_000);
});
