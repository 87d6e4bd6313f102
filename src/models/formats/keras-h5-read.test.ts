import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CommonwattError, type ErrorCode } from '../../errors.ts';
import { inspectArtifact } from './formats.ts';
import { distanceOf, KerasFolder } from './testing/keras-folder.ts';

let keras: KerasFolder;
beforeAll(() => {
  keras = new KerasFolder('keras-models.py');
});
afterAll(() => keras?.remove());

async function refusal(bytes: Buffer): Promise<CommonwattError> {
  const outcome: unknown = await inspectArtifact(bytes).catch((error: unknown) => error);
  if (outcome instanceof CommonwattError) return outcome;
  throw new Error('it was not refused', { cause: outcome });
}

describe('a model saved by Keras', () => {
  it('predicts the same as ONNX, to 1e-5, whatever version and layout it is in', async () => {
    const wrong: string[] = [];
    for (const [name, example] of keras.cases)
      for (const end of example.formats) {
        const { onnx, signature, format } = await inspectArtifact(keras.read(name, end));
        expect(format).toBe(end === '.h5' ? 'keras-h5' : 'keras');
        const difference = await distanceOf(onnx, signature, example);
        if (difference > 1e-5) wrong.push(`${name}${end}: ${difference}`);
      }
    expect(wrong).toEqual([]);
    expect(keras.cases.size).toBeGreaterThan(7);
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
    ['lambda', 'UNSAFE_MODEL', /layer "lambda[^"]*" is a Lambda layer.*code/],
    ['custom-layer', 'UNSAFE_MODEL', /custom class/],
    ['custom-activation', 'UNSUPPORTED_LAYER', /activation/],
    ['foreign-module', 'UNSAFE_MODEL', /custom class "system"/],
    ['stateful', 'UNSUPPORTED_LAYER', /layer "lstm" \(LSTM\) has stateful/],
    ['custom-inside', 'UNSAFE_MODEL', /layer "time_distributed" is of the custom class/],
    ['conv-lstm', 'UNSUPPORTED_LAYER', /layer "conv_lstm1d" is a "ConvLSTM1D" layer/],
    ['bilinear', 'UNSUPPORTED_LAYER', /interpolation "\\"bilinear/],
    ['half', 'UNSUPPORTED_LAYER', /dtype/],
    ['double', 'UNSUPPORTED_LAYER', /dtype/],
    ['always-dropout', 'UNSUPPORTED_LAYER', /training=true/],
    ['weights-only', 'UNSUPPORTED_FORMAT', /model_config/],
    ['empty', 'UNSUPPORTED_FORMAT', /model_config/],
    ['units-bomb', 'UNSAFE_MODEL', /"dense.*declares 4398046511104 parameters/],
    ['input-bomb', 'UNSAFE_MODEL', /one row of the input/],
    ['units-wrong', 'CORRUPT_MODEL', /has the shape \[4, 6\]; its configuration asks for \[4, 7\]/],
    ['units-text', 'UNSUPPORTED_LAYER', /units/],
    ['no-layers', 'CORRUPT_MODEL', /no layers/],
    ['same-names', 'CORRUPT_MODEL', /dense_1/],
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
    ['nested', 'UNSAFE_MODEL', /nested/],
    ['dense-group', 'UNSUPPORTED_FORMAT', /contents of \/ in the dense form of HDF5 1.8/],
    ['dense-attributes', 'UNSUPPORTED_FORMAT', /contents of \/ in the dense form of HDF5 1.8/],
    ['user-block', 'UNSUPPORTED_FORMAT', /begins with the bytes/],
  ];
  const refusedArchives: typeof refusals = [
    ['lambda', 'UNSAFE_MODEL', /layer "lambda[^"]*" is a Lambda layer.*code/],
    ['custom-layer', 'UNSAFE_MODEL', /custom class/],
    ['no-weights', 'UNSUPPORTED_FORMAT', /zip archive of/],
    ['no-config', 'UNSUPPORTED_FORMAT', /zip archive of/],
    ['torch', 'UNSUPPORTED_FORMAT', /archive\/data.pkl/],
    ['sharded', 'UNSUPPORTED_FORMAT', /several files/],
    ['other-units', 'CORRUPT_MODEL', /has the shape \[4, 6\]; its configuration asks for \[4, 7\]/],
    ['other-class', 'UNSUPPORTED_LAYER', /"dense[^"]*" is a "EinsumDense" layer/],
    ['broken-config', 'CORRUPT_MODEL', /not JSON/],
    ['nested-json', 'CORRUPT_MODEL', /not JSON/],
    ['weights-not-h5', 'CORRUPT_MODEL', /HDF5/],
  ];
  it.each([
    ...refusals.map((one) => [...one, '.h5'] as const),
    ...refusedArchives.map((one) => [...one, '.keras'] as const),
  ])('%s → %s', async (name, code, message, end) => {
    const error = await refusal(keras.read(name, end));
    expect([error.code, error.message]).toEqual([code, expect.stringMatching(message)]);
    expect(error.hint).toBeTruthy();
    expect(error.where).toBeTruthy();
  });
});
