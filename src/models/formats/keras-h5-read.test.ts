import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CommonwattError, type ErrorCode } from '../../errors.ts';
import { inspectArtifact } from './formats.ts';
import { distance, KerasFolder, predict } from './testing/keras-folder.ts';

let keras: KerasFolder;
beforeAll(() => {
  keras = new KerasFolder();
});
afterAll(() => keras?.remove());

async function refusal(bytes: Buffer): Promise<CommonwattError> {
  const outcome: unknown = await inspectArtifact(bytes).catch((error: unknown) => error);
  if (outcome instanceof CommonwattError) return outcome;
  throw new Error('it was not refused', { cause: outcome });
}

describe('a model saved by Keras', () => {
  it('predicts the same as ONNX, to 1e-5, for every kind of layer and for random networks', async () => {
    const wrong: string[] = [];
    for (const [name, { rows, shape, predictions }] of keras.cases) {
      const { onnx, format } = await inspectArtifact(keras.read(name));
      expect(format).toBe('keras-h5');
      const difference = distance(await predict(onnx, rows, shape), predictions);
      if (difference > 1e-5) wrong.push(`${name}: ${difference}`);
    }
    expect(wrong).toEqual([]);
    expect(keras.cases.size).toBeGreaterThan(30);
  });

  it('is described: inputs, outputs, layers, parameters', async () => {
    const model = await inspectArtifact(keras.read('sequential'));
    expect(model.signature).toEqual({
      inputs: [{ name: 'input', datatype: 'FP32', shape: [-1, 4] }],
      outputs: [{ name: 'output', datatype: 'FP32', shape: [-1, 1] }],
    });
    expect(
      model.layers.map(({ type, units, activation, parameters }) => [type, units, activation, parameters]),
    ).toEqual([
      ['InputLayer', undefined, undefined, 0],
      ['Dense', 6, 'relu', 30],
      ['Dropout', undefined, undefined, 0],
      ['Dense', 1, 'sigmoid', 7],
    ]);
    expect(model.parameters).toBe(37);
  });

  it('keeps the shape of an input that is not flat', async () => {
    const { signature } = await inspectArtifact(keras.read('flatten'));
    expect(signature.inputs[0]?.shape).toEqual([-1, 3, 4]);
  });
});

describe('a model that must not or cannot be served', () => {
  const refusals: [string, ErrorCode, RegExp][] = [
    ['lambda', 'UNSAFE_MODEL', /layer "lambda" is a Lambda layer.*code/],
    ['custom-layer', 'UNSAFE_MODEL', /custom class/],
    ['custom-activation', 'UNSUPPORTED_LAYER', /activation/],
    ['foreign-module', 'UNSAFE_MODEL', /custom class "system"/],
    ['lstm', 'UNSUPPORTED_LAYER', /"lstm" is a "LSTM" layer/],
    ['nested', 'UNSUPPORTED_LAYER', /"Sequential" layer/],
    ['dense-on-matrix', 'UNSUPPORTED_LAYER', /shape \[4, 2\]/],
    ['half', 'UNSUPPORTED_LAYER', /dtype/],
    ['double', 'UNSUPPORTED_LAYER', /dtype/],
    ['branch', 'UNSUPPORTED_LAYER', /not a plain chain/],
    ['shared-layer', 'UNSUPPORTED_LAYER', /not a plain chain/],
    ['always-dropout', 'UNSUPPORTED_LAYER', /training=true/],
    ['two-inputs', 'UNSUPPORTED_LAYER', /input_layers/],
    ['weights-only', 'UNSUPPORTED_FORMAT', /model_config/],
    ['empty', 'UNSUPPORTED_FORMAT', /model_config/],
    ['units-bomb', 'UNSAFE_MODEL', /"dense.*declares 5497558138880 parameters/],
    ['input-bomb', 'UNSAFE_MODEL', /one row of the input/],
    ['units-wrong', 'CORRUPT_MODEL', /has the shape \[4, 6\]; its configuration asks for \[4, 7\]/],
    ['units-text', 'UNSUPPORTED_LAYER', /units/],
    ['no-layers', 'CORRUPT_MODEL', /no layers/],
    ['same-names', 'CORRUPT_MODEL', /dense_99/],
    ['nan', 'CORRUPT_MODEL', /NaN/],
    ['missing-weight', 'CORRUPT_MODEL', /kernel.*is missing/],
    ['external-storage', 'UNSAFE_MODEL', /another file/],
    ['external-link', 'UNSAFE_MODEL', /an external link/],
    ['soft-link', 'UNSAFE_MODEL', /a soft link/],
    ['virtual', 'UNSAFE_MODEL', /virtual/],
    ['chunk-bomb', 'UNSAFE_MODEL', /1048576, 1048576/],
    ['zip-bomb', 'UNSAFE_MODEL', /unpack/],
    ['never-written', 'CORRUPT_MODEL', /never written/],
    ['double-weights', 'UNSUPPORTED_LAYER', /float64/],
    ['big-endian', 'UNSUPPORTED_LAYER', /big-endian/],
    ['whole-numbers', 'UNSUPPORTED_LAYER', /integer/],
    ['lzf', 'UNSUPPORTED_FORMAT', /filter 32000/],
    ['config-not-json', 'CORRUPT_MODEL', /not JSON/],
    ['config-not-text', 'UNSUPPORTED_FORMAT', /model_config/],
    ['deep', 'UNSAFE_MODEL', /nested/],
    ['user-block', 'UNSUPPORTED_FORMAT', /begins with the bytes/],
  ];
  it.each(refusals)('%s → %s', async (name, code, message) => {
    const error = await refusal(keras.read(name));
    expect([error.code, error.message]).toEqual([code, expect.stringMatching(message)]);
    expect(error.hint).toBeTruthy();
    expect(error.where).toBeTruthy();
  });
});
