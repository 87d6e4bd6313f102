/** Which layer is called with what in a Functional model, in an order in which everything is there when it is needed. */
import { z } from 'zod';
import { CommonwattError } from '../../errors.ts';
import { quote } from '../names.ts';
import {
  exportHint,
  isModel,
  type KerasLayerConfig,
  type KerasModelConfig,
  malformed,
  nameOf,
} from './keras-config.ts';

/** The n-th result of the n-th call of a layer. */
export class TensorRef {
  readonly layer: string;
  readonly call: number;
  readonly result: number;

  constructor(layer: string, call: number, result: number) {
    this.layer = layer;
    this.call = call;
    this.result = result;
  }
}

/** A tensor, a list, or a plain value. */
export type CallArgument = TensorRef | CallArgument[] | { plain: unknown };

interface Call {
  layer: KerasLayerConfig;
  /** The how-manieth call of this layer it is. */
  index: number;
  args: CallArgument[];
  kwargs: Record<string, CallArgument>;
}

export interface Topology {
  inputs: TensorRef[];
  calls: Call[];
  outputs: TensorRef[];
}

const place = z.tuple([z.string().min(1), z.int().nonnegative(), z.int().nonnegative()]);
const tensor3 = z.looseObject({
  class_name: z.literal('__keras_tensor__'),
  config: z.looseObject({ keras_history: place }),
});
const node3 = z.looseObject({
  args: z.array(z.unknown()),
  kwargs: z.record(z.string(), z.unknown()).default({}),
});
const input2 = z.union([
  place.transform((ref) => ({ ref, kwargs: {} as Record<string, unknown> })),
  z
    .tuple([
      z.string().min(1),
      z.int().nonnegative(),
      z.int().nonnegative(),
      z.record(z.string(), z.unknown()),
    ])
    .transform(([layer, call, result, kwargs]) => ({
      ref: [layer, call, result] as [string, number, number],
      kwargs,
    })),
]);
const node2 = z.array(input2).min(1);

/** Throws CORRUPT_MODEL for calls that lead nowhere or round in a circle, UNSUPPORTED_LAYER for forms that are not known. */
export function topologyOf(model: KerasModelConfig): Topology {
  const calls = model.layers.flatMap(callsOf);
  const outputs = ends(model, 'output_layers');
  correctNesting(model.layers, calls, outputs);
  return { inputs: ends(model, 'input_layers'), calls: inOrder(model, calls), outputs };
}

function callsOf(layer: KerasLayerConfig): Call[] {
  return (layer.inbound_nodes ?? []).map((node, index) => {
    const modern = node3.safeParse(node);
    if (modern.success) {
      const args = modern.data.args.map((value) => argument3(value, 0));
      return { layer, index, args, kwargs: mapValues(modern.data.kwargs, (value) => argument3(value, 0)) };
    }
    const old = node2.safeParse(node);
    const first = old.success ? old.data[0] : undefined;
    if (!old.success || !first) throw unreadable(layer);
    const refs = old.data.map(({ ref }) => new TensorRef(...ref));
    const kwargs = mapValues(first.kwargs, argument2);
    return { layer, index, args: [refs.length === 1 && refs[0] ? refs[0] : refs], kwargs };
  });
}

function argument3(value: unknown, depth: number): CallArgument {
  const tensor = tensor3.safeParse(value);
  if (tensor.success) return new TensorRef(...tensor.data.config.keras_history);
  if (Array.isArray(value) && depth < 4) return value.map((item) => argument3(item, depth + 1));
  return { plain: value };
}

/** Keras 2 names tensors among keyword arguments as [layer, call, result]. */
function argument2(value: unknown): CallArgument {
  const ref = place.safeParse(value);
  if (ref.success) return new TensorRef(...ref.data);
  if (Array.isArray(value) && value.length > 0 && value.every((item) => place.safeParse(item).success))
    return value.map(argument2);
  return { plain: value };
}

function mapValues<A, B>(record: Record<string, A>, change: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value)]));
}

/** The model's inputs or outputs: one place, a list of them, or (Keras 3) a dictionary, flattened by its sorted keys. */
function ends(model: KerasModelConfig, key: 'input_layers' | 'output_layers'): TensorRef[] {
  const found: TensorRef[] = [];
  const collect = (value: unknown, depth: number): void => {
    const ref = place.safeParse(value);
    if (ref.success) found.push(new TensorRef(...ref.data));
    else if (depth > 4 || typeof value !== 'object' || value === null)
      throw malformed(`${key} does not name the model's ends`, key);
    else if (Array.isArray(value)) for (const item of value) collect(item, depth + 1);
    else
      for (const [, item] of Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)))
        collect(item, depth + 1);
  };
  collect(model.settings[key], 0);
  if (found.length === 0) throw malformed(`${key} is empty`, key);
  return found;
}

/**
 * A model inside a model counts its own making as call 0 in some places of some versions, so that its first real
 * call is 1 there. The last call is always wanted by somebody, which shows what is meant.
 */
function correctNesting(layers: KerasLayerConfig[], calls: Call[], outputs: TensorRef[]): void {
  const nested = new Set(layers.filter(isModel).map(nameOf));
  if (nested.size === 0) return;
  const count = new Map<string, number>();
  for (const { layer } of calls) count.set(nameOf(layer), (count.get(nameOf(layer)) ?? 0) + 1);
  const inside = calls.flatMap(({ args, kwargs }) =>
    [args, Object.values(kwargs)].flatMap((list) => refsIn(list)),
  );
  for (const refs of [inside, outputs])
    for (const name of nested) {
      const own = refs.filter((ref) => ref.layer === name);
      if (own.some((ref) => ref.call >= (count.get(name) ?? 0)))
        for (const ref of own) Object.assign(ref, { call: ref.call - 1 });
    }
}

function refsIn(argument: CallArgument): TensorRef[] {
  if (argument instanceof TensorRef) return [argument];
  return Array.isArray(argument) ? argument.flatMap(refsIn) : [];
}

/** Calls sorted so that each comes after the calls it needs. */
function inOrder(model: KerasModelConfig, calls: Call[]): Call[] {
  const known = new Set(calls.map((call) => key(nameOf(call.layer), call.index)));
  const inputs = new Set(
    model.layers.filter((layer) => (layer.inbound_nodes ?? []).length === 0).map(nameOf),
  );
  const waiting = new Map<string, Call[]>();
  const missing = new Map<Call, number>();
  const ready: Call[] = [];
  for (const call of calls) {
    const needs = new Set<string>();
    for (const ref of [...refsIn(call.args), ...refsIn(Object.values(call.kwargs))]) {
      if (inputs.has(ref.layer)) continue;
      const need = key(ref.layer, ref.call);
      if (!known.has(need))
        throw malformed(
          `layer ${quote(nameOf(call.layer))} is called with a tensor of ${quote(ref.layer)} that does not exist`,
          nameOf(call.layer),
        );
      needs.add(need);
    }
    for (const need of needs) waiting.set(need, [...(waiting.get(need) ?? []), call]);
    missing.set(call, needs.size);
    if (needs.size === 0) ready.push(call);
  }
  for (let i = 0; i < ready.length; i++) {
    const done = ready[i];
    if (!done) break;
    for (const call of waiting.get(key(nameOf(done.layer), done.index)) ?? []) {
      const left = (missing.get(call) ?? 0) - 1;
      missing.set(call, left);
      if (left === 0) ready.push(call);
    }
  }
  const stuck = calls.find((call) => (missing.get(call) ?? 0) > 0);
  if (stuck)
    throw malformed(`layer ${quote(nameOf(stuck.layer))} waits for itself, in a circle`, nameOf(stuck.layer));
  return ready;
}

function key(layer: string, call: number): string {
  return JSON.stringify([layer, call]);
}

function unreadable(layer: KerasLayerConfig): CommonwattError {
  return new CommonwattError(
    'UNSUPPORTED_LAYER',
    `layer ${quote(nameOf(layer))} is called in a way that is not known`,
    {
      where: nameOf(layer),
      hint: exportHint,
    },
  );
}
