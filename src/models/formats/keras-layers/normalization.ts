/** Layers that shift and scale: by stored statistics (BatchNormalization, Normalization, Rescaling) or by the input's own. */
import { z } from 'zod';
import { type Dim, sizeOf, type Value } from '../graph.ts';
import { axisOf, type Converter, type LayerCall } from './layer.ts';

const number = z.number();
const oneAxis = z.union([z.int(), z.tuple([z.int()]).transform(([n]) => n)]);
const axes = z.union([z.int().transform((n) => [n]), z.array(z.int()).min(1)]);

const batchNormalization: Converter = (layer) => {
  const config = layer.read(
    z.looseObject({
      axis: oneAxis.default(-1),
      epsilon: number.default(1e-3),
      scale: z.boolean().default(true),
      center: z.boolean().default(true),
      renorm: z.literal(false).optional(),
    }),
  );
  const { graph } = layer;
  const value = layer.input();
  const rank = value.shape.length;
  const axis = axisOf(layer, config.axis, rank);
  const size = layer.known(value.shape[axis], 'number of features');
  const dims = [size];
  const stored = (role: string, trainable = true): string =>
    layer.use(layer.weight(role, dims, { trainable }), role, dims);
  const gamma = config.scale ? stored('gamma') : graph.float(new Float32Array(size).fill(1), dims);
  const beta = config.center ? stored('beta') : graph.float(new Float32Array(size), dims);
  const inputs = [gamma, beta, stored('moving_mean', false), stored('moving_variance', false)];
  const normalise = (x: string): string =>
    graph.node('BatchNormalization', [x, ...inputs], { epsilon: { float: config.epsilon } });
  const { shape, datatype } = value;
  // ONNX normalises the axis behind the batch.
  if (axis === 1) return { shape, datatype, plain: normalise(graph.plain(value)) };
  if (axis === rank - 1) return { shape, datatype, channelsFirst: normalise(graph.channelsFirst(value)) };
  const order = shape.map((_, i) => i);
  [order[1], order[axis]] = [axis, 1];
  const swap = (x: string): string => graph.node('Transpose', [x], { perm: { ints: order } });
  return { shape, datatype, plain: swap(normalise(swap(graph.plain(value)))) };
};

const layerNormalization: Converter = (layer) => {
  const config = layer.read(
    z.looseObject({
      axis: axes.default([-1]),
      epsilon: number.default(1e-3),
      scale: z.boolean().default(true),
      center: z.boolean().default(true),
      rms_scaling: z.literal(false).optional(),
    }),
  );
  const { graph } = layer;
  const value = layer.input();
  const rank = value.shape.length;
  const over = config.axis.map((axis) => axisOf(layer, axis, rank)).toSorted((a, b) => a - b);
  if (over.includes(0)) throw layer.refused('normalises over the batch');
  const dims = over.map((axis) => layer.known(value.shape[axis], `axis ${axis}`));
  const gammaAt = config.scale ? layer.weight('gamma', dims) : undefined;
  const betaAt = config.center ? layer.weight('beta', dims) : undefined;
  const { shape, datatype } = value;
  const trailing = over.every((axis, i) => axis === rank - over.length + i);
  const size = sizeOf(dims);
  // Spread out to line up with the axes they belong to.
  const wide = trailing ? dims : shape.map((dim, axis) => (over.includes(axis) ? (dim ?? 1) : 1));
  const gamma = gammaAt === undefined ? undefined : layer.use(gammaAt, 'gamma', wide);
  const beta = betaAt === undefined ? undefined : layer.use(betaAt, 'beta', wide);
  if (trailing) {
    const scale = gamma ?? graph.float(new Float32Array(size).fill(1), dims);
    const attributes = { axis: { int: -over.length }, epsilon: { float: config.epsilon } };
    const inputs = [graph.plain(value), scale, ...(beta === undefined ? [] : [beta])];
    return { shape, datatype, plain: graph.node('LayerNormalization', inputs, attributes) };
  }
  const x = standardise(layer, graph.plain(value), over, config.epsilon);
  return { shape, datatype, plain: shiftAndScale(layer, x, gamma, beta) };
};

function standardise(layer: LayerCall, x: string, over: number[], epsilon: number): string {
  const { graph } = layer;
  const mean = (of: string): string =>
    graph.node('ReduceMean', [of], { axes: { ints: over }, keepdims: { int: 1 } });
  const centred = graph.node('Sub', [x, mean(x)]);
  const variance = mean(graph.node('Mul', [centred, centred]));
  return graph.node('Div', [
    centred,
    graph.node('Sqrt', [graph.node('Add', [variance, graph.float(epsilon)])]),
  ]);
}

function shiftAndScale(
  layer: LayerCall,
  x: string,
  gamma: string | undefined,
  beta: string | undefined,
): string {
  const scaled = gamma === undefined ? x : layer.graph.node('Mul', [x, gamma]);
  return beta === undefined ? scaled : layer.graph.node('Add', [scaled, beta]);
}

const groupNormalization: Converter = (layer) => {
  const config = layer.read(
    z.looseObject({
      groups: z.int().default(32),
      axis: oneAxis.default(-1),
      epsilon: number.default(1e-3),
      scale: z.boolean().default(true),
      center: z.boolean().default(true),
    }),
  );
  const { graph } = layer;
  const value = layer.input();
  const rank = value.shape.length;
  const axis = axisOf(layer, config.axis, rank);
  const last = axis === rank - 1;
  if (!last && axis !== 1) throw layer.refused(`normalises axis ${config.axis}`);
  const channels = layer.known(value.shape[axis], 'number of channels');
  const groups = config.groups === -1 ? channels : config.groups;
  if (groups < 1 || channels % groups !== 0)
    throw layer.refused(`has ${groups} groups for ${channels} channels`);
  const dims = [channels, ...Array.from({ length: rank - 2 }, () => 1)];
  const gamma = config.scale ? layer.use(layer.weight('gamma', [channels]), 'gamma', dims) : undefined;
  const beta = config.center ? layer.use(layer.weight('beta', [channels]), 'beta', dims) : undefined;
  const x = last ? graph.channelsFirst(value) : graph.plain(value);
  const grouped = graph.node('Reshape', [x, graph.integers([0, groups, -1])]);
  const even = standardise(layer, grouped, [2], config.epsilon);
  const result = shiftAndScale(layer, graph.node('Reshape', [even, graph.node('Shape', [x])]), gamma, beta);
  const { shape, datatype } = value;
  return last ? { shape, datatype, channelsFirst: result } : { shape, datatype, plain: result };
};

const unitNormalization: Converter = (layer) => {
  const config = layer.read(z.looseObject({ axis: axes.default([-1]) }));
  const { graph } = layer;
  const value = layer.input();
  const over = config.axis.map((axis) => axisOf(layer, axis, value.shape.length));
  const x = graph.plain(value);
  const sum = graph.node('ReduceSum', [graph.node('Mul', [x, x]), graph.integers(over)], {
    keepdims: { int: 1 },
  });
  // keras.ops.normalize: the sum of squares is at least 1e-12.
  const length = graph.node('Sqrt', [graph.node('Max', [sum, graph.float(1e-12)])]);
  return { shape: value.shape, datatype: 'FP32', plain: graph.node('Div', [x, length]) };
};

const statistics: z.ZodType<number[]> = z.lazy(() =>
  z.union([number.transform((n) => [n]), z.array(statistics).transform((list) => list.flat())]),
);

/** (x − mean) / max(√variance, 1e-7), by what it has seen before or by what it was given. */
const normalization: Converter = (layer) => {
  const config = layer.read(
    z.looseObject({
      axis: z
        .union([axes, z.array(z.int()).length(0)])
        .nullish()
        .default([-1]),
      mean: statistics.nullish(),
      variance: statistics.nullish(),
      invert: z.literal(false).optional(),
    }),
  );
  const { graph } = layer;
  const value = layer.asFloat(layer.anyInput());
  const rank = value.shape.length;
  const kept = (config.axis ?? []).map((axis) => axisOf(layer, axis, rank)).toSorted((a, b) => a - b);
  const dims = kept.map((axis) => layer.known(value.shape[axis], `axis ${axis}`));
  const wide = value.shape.map((dim, axis) => (kept.includes(axis) ? (dim ?? 1) : 1));
  const x = graph.plain(value);
  const deviation = (variance: number): number => Math.max(Math.fround(Math.sqrt(variance)), 1e-7);
  if (config.mean != null && config.variance != null) {
    const given = [config.mean, config.variance.map(deviation)].map((list) => {
      if (list.length !== 1 && list.length !== sizeOf(dims))
        throw layer.refused('has a mean or variance of another size than its axis');
      return graph.float(Float32Array.from(list), list.length === 1 ? [] : wide);
    });
    return scaled(layer, value.shape, x, given[0] ?? '', given[1] ?? '');
  }
  const mean = layer.use(layer.weight('mean', dims, { trainable: false }), 'mean', wide);
  const variance = layer.weight('variance', dims, { trainable: false });
  layer.skipWeight();
  const spread = graph.weight('deviation', wide, [variance], ([v]) => Float32Array.from(v ?? [], deviation));
  return scaled(layer, value.shape, x, mean, spread);
};

function scaled(layer: LayerCall, shape: Dim[], x: string, mean: string, deviation: string): Value {
  const { graph } = layer;
  return { shape, datatype: 'FP32', plain: graph.node('Div', [graph.node('Sub', [x, mean]), deviation]) };
}

const rescaling: Converter = (layer) => {
  const config = layer.read(
    z.looseObject({
      scale: z.union([number, z.array(number)]),
      offset: z.union([number, z.array(number)]).default(0),
    }),
  );
  const { graph } = layer;
  const value = layer.asFloat(layer.anyInput());
  const constant = (setting: number | number[]): string => {
    if (typeof setting === 'number') return graph.float(setting);
    if (setting.length !== value.shape.at(-1))
      throw layer.refused('has a scale or offset of another size than its last axis');
    return graph.float(Float32Array.from(setting), [setting.length]);
  };
  const compute = (x: string): string =>
    graph.node('Add', [graph.node('Mul', [x, constant(config.scale)]), constant(config.offset)]);
  if (typeof config.scale === 'number' && typeof config.offset === 'number') return graph.map(value, compute);
  return { shape: value.shape, datatype: 'FP32', plain: compute(graph.plain(value)) };
};

export const normalizationLayers = new Map<string, Converter>([
  ['BatchNormalization', batchNormalization],
  // Keras 2 on TensorFlow 1 wrote these names for the same layer.
  ['BatchNormalizationV1', batchNormalization],
  ['BatchNormalizationV2', batchNormalization],
  ['LayerNormalization', layerNormalization],
  ['GroupNormalization', groupNormalization],
  ['UnitNormalization', unitNormalization],
  ['Normalization', normalization],
  ['Rescaling', rescaling],
]);
