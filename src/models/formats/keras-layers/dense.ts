/** Dense, Embedding, and layers that only act during training. */
import { z } from 'zod';
import type { Value } from '../graph.ts';
import { activate } from './activations.ts';
import type { Converter, LayerCall } from './layer.ts';

const dense: Converter = (layer) => {
  const { units, use_bias } = layer.read(
    z.looseObject({
      units: z.int().positive(),
      use_bias: z.boolean().default(true),
      // Quantised and low-rank weights are stored in another form.
      quantization_config: z.null().optional(),
      lora_rank: z.null().optional(),
    }),
  );
  layer.info.units = units;
  return activate(
    layer,
    project(layer, layer.asFloat(layer.anyInput()), units, use_bias),
    layer.config.activation,
  );
};

function project(layer: LayerCall, value: Value, units: number, useBias: boolean): Value {
  const { graph } = layer;
  const rank = value.shape.length;
  if (rank < 2) throw layer.refused('gets an input without features');
  const inputs = layer.known(value.shape.at(-1), 'number of features');
  const kernel = layer.use(layer.weight('kernel', [inputs, units]), 'kernel', [inputs, units]);
  const bias = useBias ? layer.use(layer.weight('bias', [units]), 'bias', [units]) : undefined;
  const x = graph.plain(value);
  const shape = [...value.shape.slice(0, -1), units];
  const kept = { shape, datatype: value.datatype };
  if (rank === 2)
    return { ...kept, plain: graph.node('Gemm', bias === undefined ? [x, kernel] : [x, kernel, bias]) };
  const product = graph.node('MatMul', [x, kernel]);
  return { ...kept, plain: bias === undefined ? product : graph.node('Add', [product, bias]) };
}

const embedding: Converter = (layer) => {
  const config = layer.read(
    z.looseObject({
      input_dim: z.int().positive(),
      output_dim: z.int().positive(),
      mask_zero: z.boolean().nullish(),
      quantization_config: z.null().optional(),
      lora_rank: z.null().optional(),
    }),
  );
  const { graph } = layer;
  const value = layer.anyInput();
  const dims = [config.input_dim, config.output_dim];
  const table = layer.use(layer.weight('embeddings', dims), 'embeddings', dims);
  const given = graph.plain(value);
  const indices = value.datatype.startsWith('INT') ? given : graph.node('Cast', [given], { to: { int: 6 } });
  layer.info.units = config.output_dim;
  const result: Value = {
    shape: [...value.shape, config.output_dim],
    datatype: 'FP32',
    plain: graph.node('Gather', [table, indices], { axis: { int: 0 } }),
  };
  if (config.mask_zero) {
    const wide = graph.node('Cast', [indices], { to: { int: 7 } });
    result.mask = graph.node('Not', [graph.node('Equal', [wide, graph.integers(0)])]);
  }
  return result;
};

/** Layers that only act during training. */
const identity: Converter = (layer) => {
  layer.read(z.looseObject({}));
  return layer.anyInput();
};

export const denseLayers = new Map<string, Converter>([
  ['Dense', dense],
  ['Embedding', embedding],
  ...[
    'Dropout',
    'SpatialDropout1D',
    'SpatialDropout2D',
    'SpatialDropout3D',
    'GaussianDropout',
    'GaussianNoise',
    'AlphaDropout',
    'ActivityRegularization',
    'RandomFlip',
    'RandomRotation',
    'RandomZoom',
    'RandomTranslation',
    'RandomContrast',
    'RandomBrightness',
    'Identity',
  ].map((name) => [name, identity] as const),
]);
