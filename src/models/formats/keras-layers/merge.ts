/** Layers with several inputs: Add, Concatenate, Dot and their like; also the operators + − × of Keras 3. */
import { z } from 'zod';
import type { Dim, Value } from '../graph.ts';
import { type Argument, axisOf, type Converter, isTensor, type LayerCall, shapeText } from './layer.ts';

/** The first argument is a list of tensors for a layer; an operator (`x * 2`) has two arguments, one may be a number. */
function operands(layer: LayerCall): (Value | number)[] {
  const [first] = layer.args;
  const list: Argument[] = Array.isArray(first) ? first : layer.args;
  if (Array.isArray(first) && layer.args.length > 1)
    throw layer.refused('is called with more than a list of tensors');
  return list.map((value) => {
    if (typeof value === 'number') return value;
    if (!isTensor(value)) throw layer.refused('is called with something that is not a tensor or a number');
    if (value.datatype !== 'FP32')
      throw layer.refused(`gets an input of the type ${value.datatype.toLowerCase()}`);
    return value;
  });
}

function isValue(operand: Value | number): operand is Value {
  return typeof operand !== 'number';
}

/** Shapes after broadcasting, from the last axis. Keras lines up equal ranks only in layers. */
function broadcast(layer: LayerCall, values: Value[]): Dim[] {
  const [first, ...others] = values;
  if (!first) throw layer.refused('is called without a tensor');
  return others.reduce<Dim[]>((shape, { shape: other }) => {
    const fits =
      other.length === shape.length &&
      shape.every(
        (dim, i) => dim === null || other[i] == null || dim === other[i] || dim === 1 || other[i] === 1,
      );
    if (!fits) throw layer.refused(`gets inputs of the shapes ${shapeText(shape)} and ${shapeText(other)}`);
    return shape.map((dim, i) =>
      dim === 1 ? (other[i] ?? null) : other[i] === 1 ? dim : (dim ?? other[i] ?? null),
    );
  }, first.shape);
}

/** In the order of axes in which all of them are at hand, if there is one. */
function together(layer: LayerCall, list: (Value | number)[], compute: (names: string[]) => string): Value {
  const { graph } = layer;
  const values = list.filter(isValue);
  const shape = broadcast(layer, values);
  const first = values.every((value) => value.channelsFirst !== undefined);
  const names = list.map((operand) =>
    isValue(operand) ? (first ? graph.channelsFirst(operand) : graph.plain(operand)) : graph.float(operand),
  );
  const name = compute(names);
  return { shape, datatype: 'FP32', ...(first ? { channelsFirst: name } : { plain: name }) };
}

const fold =
  (op: string, exactly?: number): Converter =>
  (layer) => {
    layer.read(z.looseObject({}));
    const list = operands(layer);
    if (list.length < 2 || (exactly !== undefined && list.length !== exactly))
      throw layer.refused(`gets ${list.length} inputs`);
    return together(layer, list, ([head = '', ...rest]) =>
      rest.reduce((sum, x) => layer.graph.node(op, [sum, x]), head),
    );
  };

const average: Converter = (layer) => {
  layer.read(z.looseObject({}));
  const list = operands(layer);
  const { graph } = layer;
  return together(layer, list, ([head = '', ...rest]) =>
    graph.node('Div', [rest.reduce((sum, x) => graph.node('Add', [sum, x]), head), graph.float(list.length)]),
  );
};

const concatenate: Converter = (layer) => {
  const config = layer.read(z.looseObject({ axis: z.int().default(-1) }));
  const { graph } = layer;
  const values = layer.inputs();
  const [head] = values;
  if (!head) throw layer.refused('is called without a tensor');
  const rank = head.shape.length;
  const axis = axisOf(layer, config.axis, rank);
  if (axis === 0) throw layer.refused('concatenates along the batch');
  const fits = values.every(
    ({ shape, datatype }) =>
      datatype === head.datatype &&
      shape.length === rank &&
      shape.every((dim, i) => i === axis || dim === head.shape[i] || dim === null || head.shape[i] === null),
  );
  if (!fits)
    throw layer.refused(
      `gets inputs of the shapes ${values.map(({ shape }) => shapeText(shape)).join(' and ')}`,
    );
  const total = values.reduce<Dim>(
    (sum, { shape }) => (sum === null || shape[axis] == null ? null : sum + (shape[axis] ?? 0)),
    0,
  );
  const shape = head.shape.map((dim, i) =>
    i === axis ? total : (dim ?? values.find((value) => value.shape[i] != null)?.shape[i] ?? null),
  );
  const { datatype } = head;
  if (rank > 2 && values.every((value) => value.channelsFirst !== undefined)) {
    const place = axis === rank - 1 ? 1 : axis + 1;
    return {
      shape,
      datatype,
      channelsFirst: graph.node(
        'Concat',
        values.map((value) => graph.channelsFirst(value)),
        { axis: { int: place } },
      ),
    };
  }
  return {
    shape,
    datatype,
    plain: graph.node(
      'Concat',
      values.map((value) => graph.plain(value)),
      { axis: { int: axis } },
    ),
  };
};

/** The product of two tensors along one axis of each. */
const dot: Converter = (layer) => {
  const config = layer.read(
    z.looseObject({
      axes: z.union([z.int().transform((n): [number, number] => [n, n]), z.tuple([z.int(), z.int()])]),
      normalize: z.boolean().default(false),
    }),
  );
  const { graph } = layer;
  const [a, b, more] = layer.inputs();
  if (!a || !b || more || a.datatype !== 'FP32' || b.datatype !== 'FP32')
    throw layer.refused('does not get two float32 inputs');
  const axes = [
    axisOf(layer, config.axes[0], a.shape.length),
    axisOf(layer, config.axes[1], b.shape.length),
  ] as const;
  if (axes.includes(0) || a.shape.length > 3 || b.shape.length > 3 || a.shape.length !== b.shape.length)
    throw layer.refused(`multiplies ${shapeText(a.shape)} by ${shapeText(b.shape)}`);
  const unit = (value: Value, axis: number): string => {
    const x = graph.plain(value);
    if (!config.normalize) return x;
    const sum = graph.node('ReduceSum', [graph.node('Mul', [x, x]), graph.integers([axis])], {
      keepdims: { int: 1 },
    });
    return graph.node('Div', [x, graph.node('Sqrt', [graph.node('Max', [sum, graph.float(1e-12)])])]);
  };
  const [x, y] = [unit(a, axes[0]), unit(b, axes[1])];
  if (a.shape.length === 2) {
    const sum = graph.node('ReduceSum', [graph.node('Mul', [x, y]), graph.integers([1])], {
      keepdims: { int: 1 },
    });
    return { shape: [null, 1], datatype: 'FP32', plain: sum };
  }
  const swap = (name: string): string => graph.node('Transpose', [name], { perm: { ints: [0, 2, 1] } });
  const plain = graph.node('MatMul', [axes[0] === 2 ? x : swap(x), axes[1] === 1 ? y : swap(y)]);
  return {
    shape: [null, a.shape[axes[0] === 2 ? 1 : 2] ?? null, b.shape[axes[1] === 1 ? 2 : 1] ?? null],
    datatype: 'FP32',
    plain,
  };
};

export const mergeLayers = new Map<string, Converter>([
  ['Add', fold('Add')],
  ['Subtract', fold('Sub', 2)],
  ['Multiply', fold('Mul')],
  ['Maximum', fold('Max')],
  ['Minimum', fold('Min')],
  ['Average', average],
  ['Concatenate', concatenate],
  ['Dot', dot],
  ['Divide', fold('Div', 2)],
  ['TrueDivide', fold('Div', 2)],
]);
