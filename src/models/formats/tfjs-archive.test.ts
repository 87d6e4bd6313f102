import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import {
  input,
  type LayersModel,
  layers,
  loadLayersModel,
  model,
  type SymbolicTensor,
  sequential,
} from '@tensorflow/tfjs-layers';
import { beforeAll, describe, expect, it } from 'vitest';
import { onnxRuntime } from '../../runtimes/onnx.ts';
import { writeZip } from '../../zip.ts';
import { inspectArtifact } from './formats.ts';
import { distance } from './testing/keras-folder.ts';

beforeAll(() => tf.setBackend('cpu'));

/** Recurrent layers start orthogonal by default, which needs parts of the library that are not loaded here. */
const glorot = { recurrentInitializer: 'glorotUniform' } as const;

function recurrent(): LayersModel {
  const x = input({ shape: [6, 4] });
  let y = layers.lstm({ units: 3, returnSequences: true, ...glorot }).apply(x);
  const both = layers.gru({ units: 3, returnSequences: true, ...glorot });
  y = layers.bidirectional({ layer: both as never, mergeMode: 'concat' }).apply(y);
  y = layers.conv1d({ filters: 4, kernelSize: 3, padding: 'same', activation: 'relu' }).apply(y);
  y = layers.batchNormalization().apply(y) as SymbolicTensor;
  const inner = sequential({
    name: 'inner',
    layers: [layers.dense({ units: 4, inputShape: [6, 4] }), layers.batchNormalization(), layers.leakyReLU()],
  });
  const sum = layers.add().apply([y, inner.apply(y) as SymbolicTensor]) as SymbolicTensor;
  const each = layers.timeDistributed({ layer: layers.dense({ units: 2, activation: 'softmax' }) });
  const mean = layers.globalAveragePooling1d({});
  return model({
    inputs: x,
    outputs: [
      mean.apply(sum) as SymbolicTensor,
      each.apply(inner.apply(sum) as SymbolicTensor) as SymbolicTensor,
    ],
  });
}

function image(): LayersModel {
  return sequential({
    layers: [
      layers.conv2d({
        inputShape: [12, 12, 3],
        filters: 4,
        kernelSize: 3,
        strides: 2,
        padding: 'same',
        activation: 'relu6',
      }),
      layers.depthwiseConv2d({ kernelSize: 3, depthMultiplier: 2, activation: 'elu' }),
      layers.separableConv2d({ filters: 5, kernelSize: 2, activation: 'selu' }),
      layers.batchNormalization(),
      layers.upSampling2d({ size: [2, 2] }),
      layers.maxPooling2d({ poolSize: 2, strides: 1 }),
      layers.zeroPadding2d({
        padding: [
          [0, 1],
          [1, 0],
        ],
      }),
      layers.conv2dTranspose({ filters: 3, kernelSize: 3, strides: 2 }),
      layers.dropout({ rate: 0.3 }),
      layers.flatten(),
      layers.dense({ units: 4, activation: 'softmax' }),
    ],
  });
}

function text(): LayersModel {
  return sequential({
    layers: [
      layers.embedding({ inputDim: 6, outputDim: 4, inputLength: 7 }),
      layers.simpleRNN({ units: 3, returnSequences: true, ...glorot }),
      layers.layerNormalization(),
      layers.globalMaxPooling1d(),
      layers.reshape({ targetShape: [3, 1] }),
      layers.permute({ dims: [2, 1] }),
      layers.flatten(),
      layers.prelu(),
      layers.dense({ units: 2, activation: 'hardSigmoid' }),
    ],
  });
}

interface Saved {
  json: { weightsManifest: { paths: string[]; weights: tf.io.WeightsManifestEntry[] }[] };
  data: Uint8Array;
}

async function save(network: LayersModel): Promise<Saved> {
  let artifacts: tf.io.ModelArtifacts = {};
  await network.save({
    save: async (given) => {
      artifacts = given;
      return { modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: 'JSON' } };
    },
  });
  const { weightData, weightSpecs, ...rest } = artifacts;
  if (!(weightData instanceof ArrayBuffer)) throw new Error('no weights were saved');
  return {
    json: {
      ...rest,
      weightsManifest: [
        { paths: ['group1-shard1of2.bin', 'group1-shard2of2.bin'], weights: weightSpecs ?? [] },
      ],
    },
    data: new Uint8Array(weightData),
  };
}

/** Two shards, cut in the middle of a number. */
function pack({ json, data }: Saved, folder = ''): Buffer {
  const cut = Math.floor(data.length / 2) + 1;
  return writeZip([
    [`${folder}model.json`, Buffer.from(JSON.stringify(json))],
    [`${folder}group1-shard1of2.bin`, data.subarray(0, cut)],
    [`${folder}group1-shard2of2.bin`, data.subarray(cut)],
  ]);
}

function randomise(network: LayersModel): void {
  network.setWeights(
    network.getWeights().map((weight, i) => {
      const name = network.weights[i]?.name ?? '';
      const values = tf.randomNormal(weight.shape, 0, 0.5, 'float32', i + 1);
      return name.includes('variance') ? tf.add(tf.abs(values), 0.5) : values;
    }),
  );
}

/** As TensorFlow.js itself reads what was saved, quantisation and all. */
async function compare(saved: Saved, rows: tf.Tensor, archive = pack(saved)): Promise<number> {
  const { weightsManifest, ...rest } = saved.json;
  const artifacts = {
    ...rest,
    weightSpecs: weightsManifest[0]?.weights ?? [],
    weightData: saved.data.slice().buffer,
  };
  const network = await loadLayersModel({ load: async () => artifacts });
  const expected = [network.predict(rows)].flat();
  const { onnx, signature, format } = await inspectArtifact(archive);
  expect(format).toBe('tfjs-layers');
  const loaded = await onnxRuntime.load(onnx);
  const [first] = signature.inputs;
  const data = Float32Array.from(rows.dataSync());
  const outputs = await loaded.run([{ name: first?.name ?? '', datatype: 'FP32', shape: rows.shape, data }]);
  await loaded.release();
  const distances = signature.outputs.map(({ name }, i) => {
    const found = outputs.find((output) => output.name === name);
    expect(found?.shape).toEqual(expected[i]?.shape);
    return distance(Array.from(found?.data ?? [], Number), Array.from(expected[i]?.dataSync() ?? []));
  });
  return Math.max(...distances);
}

/** Every float32 weight in a smaller form, as the converter's --quantize_… options write it. */
function quantise({ json, data }: Saved, dtype: 'uint8' | 'uint16' | 'float16'): Saved {
  const parts: Uint8Array[] = [];
  let at = 0;
  const weights = (json.weightsManifest[0]?.weights ?? []).map((spec) => {
    const count = spec.shape.reduce((a, b) => a * b, 1);
    const values = new Float32Array(data.slice(at, at + 4 * count).buffer);
    at += 4 * count;
    const least = Math.min(...values);
    const scale = (Math.max(...values) - least) / (dtype === 'uint8' ? 255 : 65535) || 1;
    const numbers = Array.from(values, (value) => Math.round((value - least) / scale));
    if (dtype === 'float16') parts.push(new Uint8Array(Uint16Array.from(values, toHalf).buffer));
    else
      parts.push(
        dtype === 'uint8' ? Uint8Array.from(numbers) : new Uint8Array(Uint16Array.from(numbers).buffer),
      );
    return { ...spec, quantization: dtype === 'float16' ? { dtype } : { dtype, scale, min: least } };
  });
  return {
    json: {
      ...json,
      weightsManifest: json.weightsManifest.map((group) => ({
        ...group,
        weights: weights as typeof group.weights,
      })),
    },
    data: new Uint8Array(Buffer.concat(parts)),
  };
}

/** Cut, not rounded: what matters is that both sides read the same bits. */
function toHalf(value: number): number {
  const bits = new Uint32Array(Float32Array.of(value).buffer)[0] ?? 0;
  const exponent = ((bits >>> 23) & 0xff) - 112;
  const sign = (bits >>> 16) & 0x8000;
  if (exponent <= 0) return sign | (exponent < -9 ? 0 : ((bits & 0x7fffff) | 0x800000) >>> (14 - exponent));
  return sign | (exponent << 10) | ((bits >>> 13) & 0x3ff);
}

const networks: [string, () => LayersModel, number[]][] = [
  ['recurrent', recurrent, [3, 6, 4]],
  ['image', image, [2, 12, 12, 3]],
];

describe('a tf.js layers model', () => {
  it.each(networks)('%s: predicts the same as in TensorFlow.js, to 1e-5', async (_, make, shape) => {
    const network = make();
    randomise(network);
    const saved = await save(network);
    const rows = tf.randomNormal(shape, 0, 1, 'float32', 9);
    expect(await compare(saved, rows)).toBeLessThan(1e-5);
    expect(await compare(saved, rows, pack(saved, 'folder/'))).toBeLessThan(1e-5);
  });

  it('text: word numbers through an embedding', async () => {
    const network = text();
    randomise(network);
    const rows = tf.tensor2d(
      [
        [0, 1, 2, 3, 4, 5, 1],
        [5, 5, 1, 0, 0, 2, 3],
      ],
      [2, 7],
      'float32',
    );
    expect(await compare(await save(network), rows)).toBeLessThan(1e-5);
  });

  it.each(['uint8', 'uint16', 'float16'] as const)(
    'with weights of %s is read as TensorFlow.js reads it',
    async (dtype) => {
      const network = image();
      randomise(network);
      const rows = tf.randomNormal([2, 12, 12, 3], 0, 1, 'float32', 9);
      expect(await compare(quantise(await save(network), dtype), rows)).toBeLessThan(1e-5);
    },
  );
});

describe('a damaged tf.js model', () => {
  const changes: [string, (saved: Saved) => void, RegExp][] = [
    ['a graph model', ({ json }) => Object.assign(json, { format: 'graph-model' }), /graph-model/],
    ['no topology', ({ json }) => Object.assign(json, { modelTopology: {} }), /modelTopology/],
    [
      'a shard that is missing',
      ({ json }) => json.weightsManifest[0]?.paths.push('group1-shard3of3.bin'),
      /shard3of3/,
    ],
    [
      'a shard elsewhere',
      ({ json }) => json.weightsManifest[0]?.paths.push('../../secret.bin'),
      /not beside/,
    ],
    ['too few bytes', (saved) => Object.assign(saved, { data: saved.data.subarray(0, 100) }), /beyond/],
    [
      'no weights',
      ({ json }) => json.weightsManifest[0]?.weights.splice(0, 1),
      /kernel of layer .* is not among/,
    ],
    [
      'another shape',
      ({ json }) => Object.assign(json.weightsManifest[0]?.weights[0] ?? {}, { shape: [3, 3, 4, 3] }),
      /has the shape \[3, 3, 4, 3\]/,
    ],
  ];
  it.each(changes)('%s is refused', async (_, change, message) => {
    const saved = await save(image());
    change(saved);
    await expect(inspectArtifact(pack(saved))).rejects.toThrow(message);
  });
});
