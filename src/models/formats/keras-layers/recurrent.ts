/**
 * LSTM, GRU, SimpleRNN and Bidirectional. Keras keeps kernels as [input, gate · units], ONNX as
 * [direction, gate · units, input], with the gates of an LSTM in another order.
 */
import { z } from 'zod';
import type { Attribute, Value } from '../graph.ts';
import { type Argument, type Converter, isTensor, type LayerCall } from './layer.ts';
import { packSteps, spreadSteps } from './masked-steps.ts';

interface Cell {
  op: 'LSTM' | 'GRU' | 'RNN';
  /** Where ONNX has Keras's gates: the n-th of ONNX is the gates[n]-th of Keras. */
  gates: number[];
  states: number;
}

const cells = new Map<string, Cell>([
  // Keras: input, forget, cell, output.
  ['LSTM', { op: 'LSTM', gates: [0, 3, 1, 2], states: 2 }],
  // Both: update (z), reset, hidden.
  ['GRU', { op: 'GRU', gates: [0, 1, 2], states: 1 }],
  ['SimpleRNN', { op: 'RNN', gates: [0], states: 1 }],
]);

const settings = z.looseObject({
  units: z.int().positive(),
  use_bias: z.boolean().default(true),
  activation: z.string().default('tanh'),
  recurrent_activation: z.string().optional(),
  return_sequences: z.boolean().default(false),
  return_state: z.boolean().default(false),
  go_backwards: z.boolean().default(false),
  // A state that is kept from one request to the next would mix callers.
  stateful: z.literal(false).optional(),
  time_major: z.literal(false).optional(),
  zero_output_for_mask: z.boolean().optional(),
  reset_after: z.boolean().optional(),
});
type Settings = z.infer<typeof settings>;

interface Run {
  /** [batch, time, units], in the order of the input. */
  sequence: string;
  /** Last output, last states: [batch, units] each. */
  states: string[];
  units: number;
}

const recurrent: Converter = (layer) => {
  const config = layer.read(settings);
  const value = layer.sequence();
  const initial = initialStates(layer, cellOf(layer).states);
  const run = compute(layer, layer, config, value, config.go_backwards, initial);
  const time = value.shape[1] ?? null;
  const [last = ''] = run.states;
  const ordered =
    config.go_backwards && config.return_sequences ? backwards(layer, run.sequence) : run.sequence;
  const output: Value = config.return_sequences
    ? { shape: [null, time, run.units], datatype: 'FP32', plain: ordered }
    : { shape: [null, run.units], datatype: 'FP32', plain: last };
  if (config.return_sequences && value.mask !== undefined) output.mask = value.mask;
  if (config.go_backwards && value.mask !== undefined)
    throw layer.refused('goes backwards over a masked input');
  layer.info.units = config.units;
  if (!config.return_state) return output;
  return [
    output,
    ...run.states.map((plain): Value => ({ shape: [null, run.units], datatype: 'FP32', plain })),
  ];
};

function cellOf(layer: LayerCall): Cell {
  const cell = cells.get(layer.className);
  if (!cell) throw layer.refused('is not a recurrent layer that is converted');
  return cell;
}

function initialStates(layer: LayerCall, count: number): Value[] | undefined {
  const given = layer.argument('initial_state');
  // In Keras 2, and in Keras 3 when passed in one list, states come behind the sequence.
  const [first] = layer.args;
  const list: Argument[] = Array.isArray(first) ? first.slice(1) : [];
  const states = given === undefined ? list : [given].flat();
  if (states.length === 0) return undefined;
  if (states.length !== count)
    throw layer.refused(`is called with ${states.length} states instead of ${count}`);
  return states.map((state) => {
    if (!isTensor(state) || state.shape.length !== 2)
      throw layer.refused('is called with an initial state that is not a tensor of two axes');
    return state;
  });
}

/** One direction: declares the weights, and runs the cell over the steps that count. */
function compute(
  owner: LayerCall,
  layer: LayerCall,
  config: Settings,
  value: Value,
  reverse: boolean,
  initial?: Value[],
): Run {
  const { graph } = layer;
  const cell = cellOf(layer);
  owner.rank(value, 3);
  const inputs = layer.known(value.shape[2], 'number of features');
  const { units, use_bias } = config;
  const resetAfter = cell.op === 'GRU' && (config.reset_after ?? layer.kerasMajor >= 3);
  const wide = cell.gates.length * units;
  const folder = { folder: ['cell'] };
  const kernelAt = layer.weight('kernel', [inputs, wide], folder);
  const recurrentAt = layer.weight('recurrent_kernel', [units, wide], folder);
  const biasAt = use_bias ? layer.weight('bias', resetAfter ? [2, wide] : [wide], folder) : undefined;
  const role = reverse ? 'reverse' : 'forward';
  const w = graph.weight(`${role}_kernel`, [1, wide, inputs], [kernelAt], ([k]) =>
    gateRows(k, inputs, units, cell.gates),
  );
  const r = graph.weight(`${role}_recurrent`, [1, wide, units], [recurrentAt], ([k]) =>
    gateRows(k, units, units, cell.gates),
  );
  const b =
    biasAt === undefined
      ? ''
      : graph.weight(`${role}_bias`, [1, 2 * wide], [biasAt], ([k]) =>
          biases(k, units, cell.gates, resetAfter),
        );
  const steps = value.mask === undefined ? undefined : packSteps(graph, graph.plain(value), value.mask);
  const x = graph.node('Transpose', [steps?.packed ?? graph.plain(value)], { perm: { ints: [1, 0, 2] } });
  const state = (index: number): string => {
    const given = initial?.[index];
    return given ? graph.node('Unsqueeze', [graph.plain(given), graph.integers([0])]) : '';
  };
  const list = [x, w, r, b, steps?.lengths ?? '', state(0), ...(cell.op === 'LSTM' ? [state(1)] : [])];
  while (list.at(-1) === '') list.pop();
  const attributes: Record<string, Attribute> = {
    hidden_size: { int: units },
    direction: { text: reverse ? 'reverse' : 'forward' },
  };
  addActivations(layer, config, cell, attributes);
  if (cell.op === 'GRU') attributes.linear_before_reset = { int: resetAfter ? 1 : 0 };
  const [y = '', ...last] = graph.nodeOf(cell.op, list, 1 + cell.states, attributes);
  const flat = graph.node('Transpose', [graph.node('Squeeze', [y, graph.integers([1])])], {
    perm: { ints: [1, 0, 2] },
  });
  const states = last.map((name) => graph.node('Squeeze', [name, graph.integers([0])]));
  const zero = config.zero_output_for_mask ?? false;
  return { sequence: steps ? spreadSteps(graph, flat, steps, reverse, zero) : flat, states, units };
}

const onnxActivations = new Map<string, [string, number, number]>([
  ['tanh', ['Tanh', 0, 0]],
  ['sigmoid', ['Sigmoid', 0, 0]],
  ['relu', ['Relu', 0, 0]],
  ['linear', ['Affine', 1, 0]],
  ['elu', ['Elu', 1, 0]],
  ['softsign', ['Softsign', 0, 0]],
  ['softplus', ['Softplus', 0, 0]],
]);

function addActivations(
  layer: LayerCall,
  config: Settings,
  cell: Cell,
  attributes: Record<string, Attribute>,
): void {
  const legacy = layer.kerasMajor < 3;
  const find = (name: string): [string, number, number] => {
    if (name === 'hard_sigmoid') return ['HardSigmoid', legacy ? 0.2 : 1 / 6, 0.5];
    const known = onnxActivations.get(name);
    if (!known)
      throw layer.refused(
        `has the activation "${name.slice(0, 50)}"`,
        `converted are ${[...onnxActivations.keys(), 'hard_sigmoid'].join(', ')}`,
      );
    return known;
  };
  const main = find(config.activation);
  layer.info.activation = config.activation;
  const gate =
    cell.op === 'RNN'
      ? undefined
      : find(config.recurrent_activation ?? (legacy ? 'hard_sigmoid' : 'sigmoid'));
  const all = cell.op === 'LSTM' ? [gate, main, main] : cell.op === 'GRU' ? [gate, main] : [main];
  const used = all.filter((activation) => activation !== undefined);
  attributes.activations = { texts: used.map(([name]) => name) };
  // ONNX Runtime hands these out one by one only to functions that take them.
  const takesAlpha = used.filter(([name]) => ['Affine', 'HardSigmoid', 'Elu'].includes(name));
  if (takesAlpha.length === 0) return;
  attributes.activation_alpha = { floats: takesAlpha.map(([, alpha]) => alpha) };
  attributes.activation_beta = {
    floats: takesAlpha.filter(([name]) => name !== 'Elu').map(([, , beta]) => beta),
  };
}

/** [input, gate · units] → [gate · units, input], gates in ONNX's order. */
function gateRows(
  stored: Float32Array | undefined,
  inputs: number,
  units: number,
  gates: number[],
): Float32Array {
  const source = stored ?? new Float32Array();
  const wide = gates.length * units;
  const out = new Float32Array(source.length);
  for (const [to, from] of gates.entries())
    for (let unit = 0; unit < units; unit++)
      for (let i = 0; i < inputs; i++)
        out[(to * units + unit) * inputs + i] = source[i * wide + from * units + unit] ?? 0;
  return out;
}

/** ONNX has a bias for the input and one for the state; Keras has both only for a GRU that resets after. */
function biases(
  stored: Float32Array | undefined,
  units: number,
  gates: number[],
  both: boolean,
): Float32Array {
  const source = stored ?? new Float32Array();
  const wide = gates.length * units;
  const out = new Float32Array(2 * wide);
  for (let part = 0; part < (both ? 2 : 1); part++)
    for (const [to, from] of gates.entries())
      out.set(
        source.subarray(part * wide + from * units, part * wide + (from + 1) * units),
        part * wide + to * units,
      );
  return out;
}

function backwards(layer: LayerCall, sequence: string): string {
  const { graph } = layer;
  const [from, to] = [graph.integers([-1]), graph.integers([Number.MIN_SAFE_INTEGER])];
  return graph.node('Slice', [sequence, from, to, graph.integers([1]), graph.integers([-1])]);
}

const wrapped = z.looseObject({ class_name: z.string(), config: z.looseObject({}) });

const bidirectional: Converter = (layer) => {
  const config = layer.read(
    z.looseObject({
      layer: wrapped,
      backward_layer: wrapped.nullish(),
      merge_mode: z.enum(['concat', 'sum', 'ave', 'mul']).nullable().default('concat'),
    }),
  );
  const value = layer.sequence();
  const forwardCall = layer.inner(config.layer, ['forward_layer'], []);
  const forwardConfig = forwardCall.read(settings);
  const backwardLayer = config.backward_layer ?? config.layer;
  const backwardCall = layer.inner(backwardLayer, ['backward_layer'], []);
  const backwardConfig = backwardCall.read(settings);
  if (config.backward_layer && backwardConfig.go_backwards === forwardConfig.go_backwards)
    throw layer.refused('has two layers that go the same way');
  if (forwardConfig.go_backwards) throw layer.refused('has a forward layer that goes backwards');
  const { return_sequences: sequences, return_state } = forwardConfig;
  if (sequences !== backwardConfig.return_sequences || return_state !== backwardConfig.return_state)
    throw layer.refused('has two layers that return different things');
  const states = initialStates(layer, 2 * cellOf(forwardCall).states);
  const half = (states?.length ?? 0) / 2;
  const forward = compute(layer, forwardCall, forwardConfig, value, false, states?.slice(0, half));
  const backward = compute(layer, backwardCall, backwardConfig, value, true, states?.slice(half));
  layer.info.units = forwardConfig.units;
  const pair = sequences
    ? [forward.sequence, backward.sequence]
    : [forward.states[0] ?? '', backward.states[0] ?? ''];
  const time = value.shape[1] ?? null;
  const shaped = (plain: string, units: number): Value => ({
    shape: sequences ? [null, time, units] : [null, units],
    datatype: 'FP32',
    plain,
    ...(sequences && value.mask !== undefined ? { mask: value.mask } : {}),
  });
  const merged =
    config.merge_mode === null
      ? [shaped(pair[0] ?? '', forward.units), shaped(pair[1] ?? '', backward.units)]
      : [
          shaped(
            mergeOf(layer, pair, config.merge_mode),
            config.merge_mode === 'concat' ? forward.units + backward.units : forward.units,
          ),
        ];
  if (config.merge_mode !== 'concat' && config.merge_mode !== null && forward.units !== backward.units)
    throw layer.refused('merges directions of different sizes');
  if (!return_state) return merged;
  const all = [
    ...forward.states.map((name) => [name, forward.units] as const),
    ...backward.states.map((name) => [name, backward.units] as const),
  ];
  return [
    ...merged,
    ...all.map(([plain, units]): Value => ({ shape: [null, units], datatype: 'FP32', plain })),
  ];
};

function mergeOf(layer: LayerCall, pair: string[], mode: 'concat' | 'sum' | 'ave' | 'mul'): string {
  const { graph } = layer;
  if (mode === 'concat') return graph.node('Concat', pair, { axis: { int: -1 } });
  if (mode === 'mul') return graph.node('Mul', pair);
  const sum = graph.node('Add', pair);
  return mode === 'sum' ? sum : graph.node('Mul', [sum, graph.float(0.5)]);
}

export const recurrentLayers = new Map<string, Converter>([
  ...[...cells.keys()].map((name) => [name, recurrent] as const),
  ['Bidirectional', bidirectional],
]);
