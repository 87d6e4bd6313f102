/**
 * The Keras layers that are converted, by class; a class that is not here is refused by name.
 * A new layer: a converter in the file of its kind, a line in that file's map, a case in `testing/keras-layers.py`.
 */
import type { Value } from '../graph.ts';
import { activationLayers } from './activations.ts';
import { attentionLayers } from './attention.ts';
import { convolutionLayers } from './convolution.ts';
import { denseLayers } from './dense.ts';
import type { Converter, LayerCall } from './layer.ts';
import { mergeLayers } from './merge.ts';
import { normalizationLayers } from './normalization.ts';
import { poolingLayers } from './pooling.ts';
import { recurrentLayers } from './recurrent.ts';
import { shapeLayers } from './shape.ts';
import { wrapperLayers } from './wrappers.ts';

export const kerasLayers: ReadonlyMap<string, Converter> = new Map<string, Converter>([
  ...denseLayers,
  ...convolutionLayers,
  ...poolingLayers,
  ...normalizationLayers,
  ...recurrentLayers,
  ...attentionLayers,
  ...shapeLayers,
  ...mergeLayers,
  ...activationLayers,
  ...wrapperLayers,
]);

/** These say themselves what becomes of a mask. */
const ownMask = new Set([
  'Embedding',
  'Masking',
  'MultiHeadAttention',
  'Bidirectional',
  'LSTM',
  'GRU',
  'SimpleRNN',
  'TimeDistributed',
  'GlobalAveragePooling1D',
]);

/** Keras forgets the mask at these (they do not set `supports_masking`). */
const forgetsMask = new Set([
  ...convolutionLayers.keys(),
  ...shapeLayers.keys(),
  ...[...poolingLayers.keys()].filter((name) => name !== 'GlobalAveragePooling1D'),
]);

/** Converts a call, and sees to the mask of its input: kept, forgotten, or the layer is refused. */
export function convertLayer(layer: LayerCall): Value[] | undefined {
  const converter = kerasLayers.get(layer.className);
  if (!converter) return undefined;
  const outputs = [converter(layer)].flat();
  layer.finish();
  if (ownMask.has(layer.className)) return outputs;
  const mask = maskAfter(layer);
  return outputs.map(({ mask: _, ...value }) => (mask === undefined ? value : { ...value, mask }));
}

function maskAfter(layer: LayerCall): string | undefined {
  const values = layer.args
    .flat()
    .filter(
      (argument): argument is Value =>
        typeof argument === 'object' && argument !== null && 'datatype' in argument,
    );
  const masks = new Set(values.map((value) => value.mask));
  const [mask] = masks;
  if (masks.size <= 1 && mask === undefined) return undefined;
  if (forgetsMask.has(layer.className)) return undefined;
  if (!mergeLayers.has(layer.className) && !['Softmax', 'ThresholdedReLU'].includes(layer.className))
    return mask;
  // Add and its like count a step if any input does, and know nothing if an input has no mask.
  const adds = mergeLayers.has(layer.className) && !['Concatenate', 'Dot'].includes(layer.className);
  if (adds && masks.has(undefined)) return undefined;
  const lastAxis =
    layer.className !== 'Concatenate' || layer.config.axis === undefined || layer.config.axis === -1;
  if (masks.size === 1 && lastAxis && (adds || layer.className === 'Concatenate')) return mask;
  throw layer.refused('gets a mask (mask_zero or Masking), which is not converted there');
}
