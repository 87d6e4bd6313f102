/** Layers that move numbers about: Flatten, Reshape, Permute, padding, cropping, upsampling, repeating. */
import { z } from 'zod';
import { type Dim, sizeOf, type Value } from '../graph.ts';
import type { Converter, LayerCall } from './layer.ts';
import { dataFormat, perAxis } from './windows.ts';

const flatten: Converter = (layer) => {
  const { data_format } = layer.read(z.looseObject({ data_format: dataFormat }));
  const { graph } = layer;
  const value = layer.anyInput();
  const { shape, datatype } = value;
  if (shape.length === 2) return value;
  const inner = shape.slice(1);
  const size = inner.includes(null) ? null : sizeOf(inner);
  // "channels_first" moves the channels to the end before it flattens.
  const rank = shape.length;
  const order = [0, ...Array.from({ length: rank - 2 }, (_, i) => i + 2), 1];
  const x =
    data_format === 'channels_first' && rank > 2
      ? graph.node('Transpose', [graph.plain(value)], { perm: { ints: order } })
      : graph.plain(value);
  const flat =
    rank === 1
      ? graph.node('Unsqueeze', [x, graph.integers([1])])
      : graph.node('Flatten', [x], { axis: { int: 1 } });
  return { shape: [null, size], datatype, plain: flat };
};

const reshape: Converter = (layer) => {
  const { target_shape } = layer.read(
    z.looseObject({ target_shape: z.array(z.union([z.int().positive(), z.literal(-1), z.null()])) }),
  );
  const { graph } = layer;
  const value = layer.anyInput();
  const target = target_shape.map((size) => size ?? -1);
  if (target.filter((size) => size === -1).length > 1)
    throw layer.refused('has more than one open size in target_shape');
  const inner = value.shape.slice(1);
  const total = inner.includes(null) ? null : sizeOf(inner);
  const fixed = target.reduce((all, size) => (size === -1 ? all : all * size), 1);
  const open = total === null ? null : total / fixed;
  const consistent = open === null || (target.includes(-1) ? Number.isInteger(open) : open === 1);
  if (!consistent || fixed === 0)
    throw layer.refused(`cannot reshape ${total} numbers to [${target.join(', ')}]`);
  const shape: Dim[] = [null, ...target.map((size) => (size === -1 ? open : size))];
  // 0 keeps the batch as it is.
  const wanted = [0, ...target.map((size) => (size === -1 && open !== null ? open : size))];
  return {
    shape,
    datatype: value.datatype,
    plain: graph.node('Reshape', [graph.plain(value), graph.integers(wanted)]),
  };
};

const permute: Converter = (layer) => {
  const { dims } = layer.read(z.looseObject({ dims: z.array(z.int().positive()) }));
  const value = layer.anyInput();
  const rank = value.shape.length;
  if (
    dims.toSorted((a, b) => a - b).join() !==
    value.shape
      .slice(1)
      .map((_, i) => i + 1)
      .join()
  )
    throw layer.refused(`has the dims [${dims.join(', ')}] for an input of ${rank} axes`);
  const perm = [0, ...dims];
  return {
    shape: perm.map((axis) => value.shape[axis] ?? null),
    datatype: value.datatype,
    plain: layer.graph.node('Transpose', [layer.graph.plain(value)], { perm: { ints: perm } }),
  };
};

/** Which axes of a value are space, in the model's own order. */
function spaceAxes(rank: number, format: string | null | undefined): number[] {
  return Array.from({ length: rank - 2 }, (_, i) => i + (format === 'channels_first' ? 2 : 1));
}

const amount = z.int().nonnegative();
const sides = z.tuple([amount, amount]);

/** One number, one for each axis, or one for each side of each axis; in 1D a pair is the two sides. */
function sidesOf(rank: number): z.ZodType<[number, number][]> {
  const all = amount.transform((n) => Array.from({ length: rank }, (): [number, number] => [n, n]));
  if (rank === 1) return z.union([all, sides.transform((pair): [number, number][] => [pair])]);
  return z.union([
    all,
    z
      .array(amount)
      .length(rank)
      .transform((list) => list.map((n): [number, number] => [n, n])),
    z.array(sides).length(rank),
  ]);
}

const zeroPadding =
  (rank: number): Converter =>
  (layer) => {
    const config = layer.read(z.looseObject({ padding: sidesOf(rank), data_format: dataFormat }));
    const value = layer.input();
    layer.rank(value, rank + 2);
    const axes = spaceAxes(rank + 2, config.data_format);
    const pads = value.shape.map((_, axis): [number, number] => config.padding[axes.indexOf(axis)] ?? [0, 0]);
    const shape = value.shape.map((dim, axis) =>
      dim === null ? null : dim + (pads[axis]?.[0] ?? 0) + (pads[axis]?.[1] ?? 0),
    );
    return spatial(layer, value, shape, (x, order) => {
      const ordered = order.map((axis): [number, number] => pads[axis] ?? [0, 0]);
      const list = [...ordered.map(([begin]) => begin), ...ordered.map(([, end]) => end)];
      return layer.graph.node('Pad', [x, layer.graph.integers(list)]);
    });
  };

const cropping =
  (rank: number): Converter =>
  (layer) => {
    const config = layer.read(z.looseObject({ cropping: sidesOf(rank), data_format: dataFormat }));
    const value = layer.input();
    layer.rank(value, rank + 2);
    const axes = spaceAxes(rank + 2, config.data_format);
    const shape = value.shape.map((dim, axis) => {
      const [begin, end] = config.cropping[axes.indexOf(axis)] ?? [0, 0];
      if (dim !== null && begin + end >= dim) throw layer.refused(`leaves nothing of an axis of ${dim}`);
      return dim === null ? null : dim - begin - end;
    });
    return spatial(layer, value, shape, (x, order) => {
      const { graph } = layer;
      const places = axes.map((axis) => order.indexOf(axis));
      const starts = config.cropping.map(([begin]) => begin);
      const ends = config.cropping.map(([, end]) => (end === 0 ? Number.MAX_SAFE_INTEGER : -end));
      return graph.node('Slice', [x, graph.integers(starts), graph.integers(ends), graph.integers(places)]);
    });
  };

/** Each number again and again; other interpolations are refused. */
const upSampling =
  (rank: number): Converter =>
  (layer) => {
    const config = layer.read(
      z.looseObject({
        size: perAxis(rank).default(Array.from({ length: rank }, () => 2)),
        data_format: dataFormat,
        interpolation: z.literal('nearest').default('nearest'),
      }),
    );
    const value = layer.input();
    layer.rank(value, rank + 2);
    const axes = spaceAxes(rank + 2, config.data_format);
    const factor = (axis: number): number => config.size[axes.indexOf(axis)] ?? 1;
    const shape = value.shape.map((dim, axis) => (dim === null ? null : dim * factor(axis)));
    return spatial(layer, value, shape, (x, order) =>
      layer.graph.node(
        'Resize',
        [x, '', layer.graph.float(Float32Array.from(order, factor), [order.length])],
        {
          mode: { text: 'nearest' },
          coordinate_transformation_mode: { text: 'asymmetric' },
          nearest_mode: { text: 'floor' },
        },
      ),
    );
  };

/** Computes in whichever order of axes the value is at hand; `order` says which axis is where. */
function spatial(
  layer: LayerCall,
  value: Value,
  shape: Dim[],
  compute: (x: string, order: number[]) => string,
): Value {
  const rank = value.shape.length;
  const own = Array.from({ length: rank }, (_, i) => i);
  if (value.channelsFirst === undefined)
    return { shape, datatype: 'FP32', plain: compute(layer.graph.plain(value), own) };
  return {
    shape,
    datatype: 'FP32',
    channelsFirst: compute(value.channelsFirst, [0, rank - 1, ...own.slice(1, -1)]),
  };
}

const repeatVector: Converter = (layer) => {
  const { n } = layer.read(z.looseObject({ n: z.int().positive() }));
  const value = layer.input();
  layer.rank(value, 2);
  const { graph } = layer;
  const wide = graph.node('Unsqueeze', [graph.plain(value), graph.integers([1])]);
  return {
    shape: [null, n, value.shape[1] ?? null],
    datatype: 'FP32',
    plain: graph.node('Expand', [wide, graph.integers([1, n, 1])]),
  };
};

export const shapeLayers = new Map<string, Converter>([
  ['Flatten', flatten],
  ['Reshape', reshape],
  ['Permute', permute],
  ['RepeatVector', repeatVector],
  ...[1, 2, 3].flatMap((rank): [string, Converter][] => [
    [`ZeroPadding${rank}D`, zeroPadding(rank)],
    [`Cropping${rank}D`, cropping(rank)],
    [`UpSampling${rank}D`, upSampling(rank)],
  ]),
]);
