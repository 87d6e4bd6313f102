/** Keras activations, by the names Keras writes into a model, and the layers that are activations. */
import { z } from 'zod';
import type { Graph, Value } from '../graph.ts';
import { axisOf, type Converter, type LayerCall } from './layer.ts';

type Compute = (graph: Graph<number>, x: string) => string;

const plainOperator =
  (op: string): Compute =>
  (graph, x) =>
    graph.node(op, [x]);

const clip =
  (min: number, max: number): Compute =>
  (graph, x) =>
    graph.node('Clip', [x, graph.float(min), graph.float(max)]);

const hardSigmoid =
  (alpha: number): Compute =>
  (graph, x) =>
    graph.node('HardSigmoid', [x], { alpha: { float: alpha }, beta: { float: 0.5 } });

const leaky =
  (alpha: number): Compute =>
  (graph, x) =>
    graph.node('LeakyRelu', [x], { alpha: { float: alpha } });

const selu: Compute = (graph, x) =>
  // Keras's constants, `keras.activations.selu`.
  graph.node('Selu', [x], { alpha: { float: 1.6732632423543772 }, gamma: { float: 1.0507009873554805 } });

/** x · ½ · (1 + erf(x / √2)); the operator Gelu came only with opset 20. */
const gelu: Compute = (graph, x) => {
  const erf = graph.node('Erf', [graph.node('Mul', [x, graph.float(Math.SQRT1_2)])]);
  return graph.node('Mul', [
    graph.node('Mul', [x, graph.float(0.5)]),
    graph.node('Add', [erf, graph.float(1)]),
  ]);
};

/** ½ · x · (1 + tanh(√(2/π) · (x + 0.044715 · x³))) */
const geluTanh: Compute = (graph, x) => {
  const cube = graph.node('Mul', [graph.node('Mul', [x, x]), x]);
  const sum = graph.node('Add', [x, graph.node('Mul', [cube, graph.float(0.044715)])]);
  const tanh = graph.node('Tanh', [graph.node('Mul', [sum, graph.float(Math.sqrt(2 / Math.PI))])]);
  return graph.node('Mul', [
    graph.node('Mul', [x, graph.float(0.5)]),
    graph.node('Add', [tanh, graph.float(1)]),
  ]);
};

const silu: Compute = (graph, x) => graph.node('Mul', [x, graph.node('Sigmoid', [x])]);

const shrink =
  (threshold: number, bias: number): Compute =>
  (graph, x) =>
    graph.node('Shrink', [x], { lambd: { float: threshold }, bias: { float: bias } });

const common: [string, Compute][] = [
  ['relu', plainOperator('Relu')],
  ['relu6', clip(0, 6)],
  ['sigmoid', plainOperator('Sigmoid')],
  ['tanh', plainOperator('Tanh')],
  ['softplus', plainOperator('Softplus')],
  ['softsign', plainOperator('Softsign')],
  ['exponential', plainOperator('Exp')],
  ['elu', (graph, x) => graph.node('Elu', [x], { alpha: { float: 1 } })],
  ['selu', selu],
  ['gelu', gelu],
  ['silu', silu],
  ['swish', silu],
  ['mish', (graph, x) => graph.node('Mul', [x, graph.node('Tanh', [graph.node('Softplus', [x])])])],
];

/** Only Keras 3 has these, or means something else by the same name in Keras 2 (hard_sigmoid). */
const since3 = new Map<string, Compute>([
  ...common,
  ['hard_sigmoid', hardSigmoid(1 / 6)],
  ['hard_silu', plainOperator('HardSwish')],
  ['hard_swish', plainOperator('HardSwish')],
  ['leaky_relu', leaky(0.2)],
  ['celu', (graph, x) => graph.node('Celu', [x], { alpha: { float: 1 } })],
  ['hard_tanh', clip(-1, 1)],
  ['hard_shrink', shrink(0.5, 0)],
  ['soft_shrink', shrink(0.5, 0.5)],
  ['tanh_shrink', (graph, x) => graph.node('Sub', [x, graph.node('Tanh', [x])])],
  ['log_sigmoid', (graph, x) => graph.node('Neg', [graph.node('Softplus', [graph.node('Neg', [x])])])],
  [
    'sparse_sigmoid',
    (graph, x) => graph.node('HardSigmoid', [x], { alpha: { float: 0.5 }, beta: { float: 0.5 } }),
  ],
  // ((clip(x, −1, 1) + 1) / 2)² up to 1, x from there: the square is (x + 1)²/4 between −1 and 1.
  [
    'sparse_plus',
    (graph, x) => {
      const half = graph.node('HardSigmoid', [x], { alpha: { float: 0.5 }, beta: { float: 0.5 } });
      const above = graph.node('Relu', [graph.node('Sub', [x, graph.float(1)])]);
      return graph.node('Add', [graph.node('Mul', [half, half]), above]);
    },
  ],
  [
    'squareplus',
    (graph, x) => {
      const root = graph.node('Sqrt', [graph.node('Add', [graph.node('Mul', [x, x]), graph.float(4)])]);
      return graph.node('Mul', [graph.node('Add', [x, root]), graph.float(0.5)]);
    },
  ],
]);

const before3 = new Map<string, Compute>([
  ...common,
  ['hard_sigmoid', hardSigmoid(0.2)],
  // TensorFlow.js's name for the approximation.
  ['gelu_new', geluTanh],
]);

/** Functions of a whole axis, the last one unless a layer says otherwise. */
const alongAxis = new Map([
  ['softmax', 'Softmax'],
  ['log_softmax', 'LogSoftmax'],
]);

const layersAsActivation = z.looseObject({ class_name: z.string(), config: z.looseObject({}) });
const functionObject = z.looseObject({ class_name: z.literal('function'), config: z.string() });

/** Applies what a layer's setting `activation` asks for: a name, or an activation layer of its own. */
export function activate(layer: LayerCall, value: Value, setting: unknown): Value {
  const named = functionObject.safeParse(setting);
  const name = named.success ? named.data.config : (setting ?? 'linear');
  if (typeof name === 'string') {
    layer.info.activation ??= name;
    return byName(layer, value, name);
  }
  const object = layersAsActivation.safeParse(setting);
  const converter = object.success ? activationLayers.get(object.data.class_name) : undefined;
  if (!object.success || !converter) throw unknownActivation(layer, setting);
  layer.info.activation ??= object.data.class_name;
  const inner = layer.inner(object.data, ['activation'], [value]);
  const [result] = [converter(inner)].flat();
  return result ?? value;
}

function byName(layer: LayerCall, value: Value, name: string): Value {
  if (name === 'linear') return value;
  const { graph } = layer;
  const op = alongAxis.get(name);
  if (op) return axisFunction(graph, value, op, -1);
  const compute = (layer.kerasMajor >= 3 ? since3 : before3).get(name);
  if (!compute) throw unknownActivation(layer, name);
  return graph.map(value, (x) => compute(graph, x));
}

function axisFunction(graph: Graph<number>, value: Value, op: string, axis: number): Value {
  const { plain: _, channelsFirst: __, ...rest } = value;
  return { ...rest, plain: graph.node(op, [graph.plain(value)], { axis: { int: axis } }) };
}

function unknownActivation(layer: LayerCall, setting: unknown): Error {
  const names = ['linear', ...alongAxis.keys(), ...(layer.kerasMajor >= 3 ? since3 : before3).keys()];
  return layer.refused(
    `has the activation ${JSON.stringify(setting).slice(0, 100)}, which is not converted`,
    `converted are ${names.join(', ')}`,
  );
}

const number = z.number();
/** Keras 2 wrote numbers as lists of one now and then. */
const numberOrOne = z.union([number, z.tuple([number]).transform(([n]) => n)]);

const activation: Converter = (layer) => {
  layer.read(z.looseObject({}));
  return activate(layer, layer.input(), layer.config.activation);
};

/** As `keras.activations.relu`: above the threshold x, clipped; below it slope · (x − threshold). */
const relu: Converter = (layer) => {
  const config = layer.read(
    z.looseObject({
      max_value: numberOrOne.nullish(),
      negative_slope: numberOrOne.nullish(),
      threshold: numberOrOne.nullish(),
    }),
  );
  const { graph } = layer;
  const [slope, threshold, max] = [config.negative_slope ?? 0, config.threshold ?? 0, config.max_value];
  return graph.map(layer.input(), (x) => {
    if (threshold === 0 && max == null) return slope === 0 ? graph.node('Relu', [x]) : leaky(slope)(graph, x);
    const over = graph.node('Greater', [x, graph.float(threshold)]);
    let result = threshold === 0 ? graph.node('Relu', [x]) : graph.node('Where', [over, x, graph.float(0)]);
    if (max != null) result = clip(0, max)(graph, result);
    if (slope === 0) return result;
    const under = graph.node('Relu', [graph.node('Sub', [graph.float(threshold), x])]);
    return graph.node('Sub', [result, graph.node('Mul', [under, graph.float(slope)])]);
  });
};

/** Keras 3 calls it negative_slope, Keras 2 alpha; the default is 0.3 in both. */
const leakyRelu: Converter = (layer) => {
  const config = layer.read(
    z.looseObject({ negative_slope: numberOrOne.nullish(), alpha: numberOrOne.nullish() }),
  );
  return layer.graph.map(layer.input(), (x) =>
    leaky(config.negative_slope ?? config.alpha ?? 0.3)(layer.graph, x),
  );
};

const elu: Converter = (layer) => {
  const { alpha } = layer.read(z.looseObject({ alpha: numberOrOne.default(1) }));
  return layer.graph.map(layer.input(), (x) => layer.graph.node('Elu', [x], { alpha: { float: alpha } }));
};

const thresholdedRelu: Converter = (layer) => {
  const { theta } = layer.read(z.looseObject({ theta: numberOrOne.default(1) }));
  return layer.graph.map(layer.input(), (x) =>
    layer.graph.node('ThresholdedRelu', [x], { alpha: { float: theta } }),
  );
};

const prelu: Converter = (layer) => {
  const { shared_axes } = layer.read(
    z.looseObject({ shared_axes: z.union([z.array(z.int()), z.int().transform((n) => [n])]).nullish() }),
  );
  const { graph } = layer;
  const value = layer.input();
  const shared = new Set((shared_axes ?? []).map((axis) => axisOf(layer, axis, value.shape.length)));
  const dims = value.shape
    .slice(1)
    .map((dim, i) => (shared.has(i + 1) ? 1 : layer.known(dim, `axis ${i + 1}`)));
  const slope = layer.use(layer.weight('alpha', dims), 'alpha', dims);
  const { shape, datatype } = value;
  return { shape, datatype, plain: graph.node('PRelu', [graph.plain(value), slope]) };
};

const softmax: Converter = (layer) => {
  const config = layer.read(
    z.looseObject({ axis: z.union([z.int(), z.tuple([z.int()]).transform(([n]) => n)]).default(-1) }),
  );
  const value = layer.input();
  return axisFunction(layer.graph, value, 'Softmax', axisOf(layer, config.axis, value.shape.length));
};

export const activationLayers = new Map<string, Converter>([
  ['Activation', activation],
  ['ReLU', relu],
  ['LeakyReLU', leakyRelu],
  ['ELU', elu],
  ['ThresholdedReLU', thresholdedRelu],
  ['PReLU', prelu],
  ['Softmax', softmax],
]);
