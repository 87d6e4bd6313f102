/** Pools over windows and over all of space. */
import { z } from 'zod';
import type { Dim, Value } from '../graph.ts';
import type { Converter, LayerCall } from './layer.ts';
import {
  dataFormat,
  imageOf,
  imageValue,
  movedOver,
  perAxis,
  type Window,
  windowAttributes,
} from './windows.ts';

const pool =
  (op: 'MaxPool' | 'AveragePool', rank: number): Converter =>
  (layer) => {
    const ofTwo = Array.from({ length: rank }, () => 2);
    const config = layer.read(
      z.looseObject({
        pool_size: perAxis(rank).default(ofTwo),
        strides: perAxis(rank).nullish(),
        padding: z.enum(['valid', 'same']).default('valid'),
        data_format: dataFormat,
      }),
    );
    const value = layer.input();
    layer.rank(value, rank + 2);
    const image = imageOf(layer, value, config.data_format);
    const window: Window = {
      kernel: config.pool_size,
      strides: config.strides ?? config.pool_size,
      dilation: config.pool_size.map(() => 1),
      padding: config.padding,
    };
    // Padding never counts: an average is over what is there.
    const x = layer.graph.node(op, [image.x], windowAttributes(layer, image.space, window));
    return imageValue({ ...image, x, space: movedOver(layer, image.space, window) });
  };

const globalPool =
  (op: 'ReduceMean' | 'ReduceMax', rank: number): Converter =>
  (layer) => {
    const { keepdims, data_format } = layer.read(
      z.looseObject({ keepdims: z.boolean().nullish(), data_format: dataFormat }),
    );
    const value = layer.input();
    layer.rank(value, rank + 2);
    if (value.mask !== undefined) return maskedMean(layer, value, value.mask);
    const { graph } = layer;
    const last = data_format !== 'channels_first';
    // Straight from the order in which it is at hand; the result without space is the same in both.
    const first = !last || (value.channelsFirst !== undefined && !keepdims);
    const x = last && first ? graph.channelsFirst(value) : graph.plain(value);
    const axes = value.shape.slice(2).map((_, i) => i + (first ? 2 : 1));
    const channels = (last ? value.shape.at(-1) : value.shape[1]) ?? null;
    const ones: Dim[] = axes.map(() => 1);
    const shape: Dim[] = keepdims
      ? last
        ? [null, ...ones, channels]
        : [null, channels, ...ones]
      : [null, channels];
    return {
      shape,
      datatype: 'FP32',
      plain: graph.node(op, [x], { axes: { ints: axes }, keepdims: { int: keepdims ? 1 : 0 } }),
    };
  };

/** The mean of the time steps that count, as GlobalAveragePooling1D takes it. */
function maskedMean(layer: LayerCall, value: Value, mask: string): Value {
  const { keepdims, data_format } = layer.read(
    z.looseObject({ keepdims: z.boolean().nullish(), data_format: dataFormat }),
  );
  if (layer.className !== 'GlobalAveragePooling1D' || data_format === 'channels_first' || keepdims)
    throw layer.refused(
      'gets a mask (mask_zero or Masking), which is converted only without keepdims and with channels last',
    );
  const { graph } = layer;
  const counted = graph.node('Unsqueeze', [
    graph.node('Cast', [mask], { to: { int: 1 } }),
    graph.integers([2]),
  ]);
  const reduce = (x: string): string =>
    graph.node('ReduceSum', [x, graph.integers([1])], { keepdims: { int: 0 } });
  const sum = reduce(graph.node('Mul', [graph.plain(value), counted]));
  return {
    shape: [null, value.shape[2] ?? null],
    datatype: 'FP32',
    plain: graph.node('Div', [sum, reduce(counted)]),
  };
}

export const poolingLayers = new Map<string, Converter>(
  [1, 2, 3].flatMap((rank): [string, Converter][] => [
    [`MaxPooling${rank}D`, pool('MaxPool', rank)],
    [`AveragePooling${rank}D`, pool('AveragePool', rank)],
    [`GlobalMaxPooling${rank}D`, globalPool('ReduceMax', rank)],
    [`GlobalAveragePooling${rank}D`, globalPool('ReduceMean', rank)],
  ]),
);
