/** MultiHeadAttention: the attention of transformers, with causal and padding masks. */
import { z } from 'zod';
import type { Value } from '../graph.ts';
import { type Argument, type Converter, isTensor, type LayerCall } from './layer.ts';

const settings = z.looseObject({
  num_heads: z.int().positive(),
  key_dim: z.int().positive(),
  value_dim: z.int().positive().nullish(),
  use_bias: z.boolean().default(true),
  use_gate: z.literal(false).optional(),
  output_shape: z.null().optional(),
  attention_axes: z.tuple([z.literal(1)]).nullish(),
  sliding_window: z.null().optional(),
});

const multiHeadAttention: Converter = (layer) => {
  const config = layer.read(settings);
  const { graph } = layer;
  const query = tensor(layer, layer.args[0]);
  const value = tensor(layer, layer.argument('value', 1));
  const keyGiven = layer.argument('key', 2);
  const key = keyGiven === undefined ? value : tensor(layer, keyGiven);
  if (layer.args.length > 3) throw layer.refused('is called with more than three tensors');
  const causal = layer.argument('use_causal_mask') === true;
  const masks = paddingMasks(layer, query, value, keyGiven === undefined ? undefined : key);
  const { num_heads: heads, key_dim: size } = config;
  const valueSize = config.value_dim ?? size;
  const projections = { bias: config.use_bias, heads };
  const q = project(layer, 'query', query, { ...projections, size });
  const k = project(layer, 'key', key, { ...projections, size });
  const v = project(layer, 'value', value, { ...projections, size: valueSize });
  // [batch, heads, time, size] · [batch, heads, size, time]
  const scaled = graph.node('Mul', [
    split(layer, q, heads, size, [0, 2, 1, 3]),
    graph.float(1 / Math.sqrt(size)),
  ]);
  let scores = graph.node('MatMul', [scaled, split(layer, k, heads, size, [0, 2, 3, 1])]);
  if (causal) masks.push(causalMask(layer, q, k));
  if (masks.length > 0) {
    const mask = masks.reduce((all, one) => graph.node('And', [all, one]));
    // Far below any score, as Keras has it for float32: a row without any step attends to all alike.
    scores = graph.node('Where', [mask, scores, graph.float(layer.kerasMajor >= 3 ? -3e38 : -1e9)]);
  }
  const weights = graph.node('Softmax', [scores], { axis: { int: -1 } });
  const mixed = graph.node('MatMul', [weights, split(layer, v, heads, valueSize, [0, 2, 1, 3])]);
  const joined = graph.node('Reshape', [
    graph.node('Transpose', [mixed], { perm: { ints: [0, 2, 1, 3] } }),
    graph.integers([0, 0, heads * valueSize]),
  ]);
  const units = layer.known(query.shape[2], 'number of features');
  const folder = { folder: ['output_dense'] };
  const kernel = layer.use(layer.weight('kernel', [heads, valueSize, units], folder), 'output_kernel', [
    heads * valueSize,
    units,
  ]);
  const product = graph.node('MatMul', [joined, kernel]);
  const plain = config.use_bias
    ? graph.node('Add', [product, layer.use(layer.weight('bias', [units], folder), 'output_bias', [units])])
    : product;
  layer.info.units = units;
  const output: Value = { shape: [...query.shape.slice(0, 2), units], datatype: 'FP32', plain };
  if (query.mask !== undefined) output.mask = query.mask;
  return output;
};

function tensor(layer: LayerCall, argument: Argument | undefined): Value {
  if (!isTensor(argument) || argument.datatype !== 'FP32')
    throw layer.refused('is called without a query and a value of float32');
  layer.rank(argument, 3);
  return argument;
}

/** Kernels are [features, heads, size]; in memory that is [features, heads · size]. */
function project(
  layer: LayerCall,
  role: string,
  value: Value,
  { heads, size, bias }: { heads: number; size: number; bias: boolean },
): string {
  const { graph } = layer;
  const features = layer.known(value.shape[2], 'number of features');
  const folder = { folder: [`${role}_dense`] };
  const wide = heads * size;
  const kernel = layer.use(layer.weight('kernel', [features, heads, size], folder), `${role}_kernel`, [
    features,
    wide,
  ]);
  const product = graph.node('MatMul', [graph.plain(value), kernel]);
  if (!bias) return product;
  return graph.node('Add', [
    product,
    layer.use(layer.weight('bias', [heads, size], folder), `${role}_bias`, [wide]),
  ]);
}

function split(layer: LayerCall, x: string, heads: number, size: number, perm: number[]): string {
  const { graph } = layer;
  return graph.node('Transpose', [graph.node('Reshape', [x, graph.integers([0, 0, heads, size])])], {
    perm: { ints: perm },
  });
}

/** BOOL, to be broadcast to [batch, heads, query, key]. */
function paddingMasks(layer: LayerCall, query: Value, value: Value, key: Value | undefined): string[] {
  const { graph } = layer;
  const masks: string[] = [];
  if (query.mask !== undefined) masks.push(graph.node('Unsqueeze', [query.mask, graph.integers([1, 3])]));
  for (const masked of [value.mask, key?.mask])
    if (masked !== undefined) masks.push(graph.node('Unsqueeze', [masked, graph.integers([1, 2])]));
  const given = layer.argument('attention_mask');
  if (given !== undefined) throw layer.refused('is called with an attention_mask');
  return masks;
}

/** A step sees itself and the steps before it: row ≥ column. */
function causalMask(layer: LayerCall, q: string, k: string): string {
  const { graph } = layer;
  const positions = (x: string): string => {
    const length = graph.node('Gather', [graph.node('Shape', [x]), graph.integers(1)], { axis: { int: 0 } });
    return graph.node('Range', [graph.integers(0), length, graph.integers(1)]);
  };
  return graph.node('GreaterOrEqual', [
    graph.node('Unsqueeze', [positions(q), graph.integers([1])]),
    positions(k),
  ]);
}

export const attentionLayers = new Map<string, Converter>([['MultiHeadAttention', multiHeadAttention]]);
