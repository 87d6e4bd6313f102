/** TimeDistributed: a layer on every time step; Masking: steps that do not count. */
import { z } from 'zod';
import { type Dim, sizeOf, type Value } from '../graph.ts';
import type { Converter, LayerCall } from './layer.ts';

const wrapped = z.looseObject({ class_name: z.string(), config: z.looseObject({}) });

/** Time joins the batch, the layer computes, and time comes back. */
const timeDistributed: Converter = (layer) => {
  const config = layer.read(z.looseObject({ layer: wrapped }));
  const { graph } = layer;
  const value = layer.input();
  if (value.mask !== undefined) throw layer.refused('gets a masked input (mask_zero or Masking)');
  const inner = value.shape.slice(2).map((dim, i) => layer.known(dim, `axis ${i + 2}`));
  const step: Value = {
    shape: [null, ...inner],
    datatype: 'FP32',
    plain: graph.node('Reshape', [graph.plain(value), graph.integers([-1, ...inner])]),
  };
  const call = layer.inner(config.layer, ['layer'], [step]);
  const [result, second] = layer.convert(call);
  if (!result || second) throw layer.refused('wraps a layer with several outputs');
  Object.assign(layer.info, call.info);
  const out = result.shape.slice(1).map((dim, i) => layer.known(dim, `axis ${i + 1} of the layer inside`));
  return {
    shape: [...value.shape.slice(0, 2), ...out],
    datatype: result.datatype,
    plain: reunite(layer, value, result, out),
  };
};

function reunite(layer: LayerCall, value: Value, result: Value, out: number[]): string {
  const { graph } = layer;
  const time: Dim = value.shape[1] ?? null;
  if (time !== null) return graph.node('Reshape', [graph.plain(result), graph.integers([-1, time, ...out])]);
  const sizes = graph.node('Slice', [
    graph.node('Shape', [graph.plain(value)]),
    graph.integers([0]),
    graph.integers([2]),
  ]);
  return graph.node('Reshape', [
    graph.plain(result),
    graph.node('Concat', [sizes, graph.integers(out)], { axis: { int: 0 } }),
  ]);
}

/** A step whose features all have the value does not count, and becomes zero. */
const masking: Converter = (layer) => {
  const { mask_value } = layer.read(z.looseObject({ mask_value: z.number().default(0) }));
  const { graph } = layer;
  const value = layer.input();
  layer.rank(value, 3);
  const x = graph.plain(value);
  const differs = graph.node(
    'Cast',
    [graph.node('Not', [graph.node('Equal', [x, graph.float(mask_value)])])],
    { to: { int: 1 } },
  );
  const counts = graph.node('ReduceMax', [differs], { axes: { ints: [2] }, keepdims: { int: 1 } });
  const mask = graph.node('Cast', [graph.node('Squeeze', [counts, graph.integers([2])])], { to: { int: 9 } });
  if (sizeOf(value.shape.slice(2)) === 0) throw layer.refused('gets an input without features');
  return { shape: value.shape, datatype: 'FP32', plain: graph.node('Mul', [x, counts]), mask };
};

export const wrapperLayers = new Map<string, Converter>([
  ['TimeDistributed', timeDistributed],
  ['Masking', masking],
]);
