/**
 * One call of one Keras layer while a model is converted: what it is given, the weights it declares, and how it
 * refuses. A converter (`dense.ts`, `convolution.ts`, …) turns such a call into operators of the graph.
 */
import { z } from 'zod';
import { CommonwattError } from '../../../errors.ts';
import { quote } from '../../names.ts';
import { type Dim, type Graph, type LayerInfo, sizeOf, type Value } from '../graph.ts';
import { exportHint, refuseCode } from '../keras-config.ts';

/** A weight that is still in the file. */
export interface DeclaredWeight {
  /** Names of the models around the layer and of the layer: where `.h5` and tf.js have it. */
  layer: string[];
  /** The folder of the layer's own weights inside `.keras`. */
  folder: string[];
  /** Which of that folder's weights. */
  index: number;
  /** What Keras calls it; Keras 2 and 3 do not always agree. */
  roles: readonly string[];
  shape: number[];
  trainable: boolean;
}

/** What is there besides weights, and is not needed for predictions (the count of Normalization). */
const anything = 'anything';

/** An argument of a call: a tensor, a list, or a plain value. */
export type Argument = Value | Argument[] | string | number | boolean | null | { other: unknown };

/** A layer inside another layer's settings. */
export interface LayerConfig {
  class_name: string;
  config: Record<string, unknown>;
  module?: unknown;
  registered_name?: unknown;
}

export interface LayerContext {
  graph: Graph<number>;
  name: string;
  className: string;
  config: Record<string, unknown>;
  args: Argument[];
  kwargs: Record<string, Argument>;
  kerasMajor: number;
  /** Converts a layer that is inside another one. */
  convert(layer: LayerCall): Value[];
  /** Declares a weight; the answer stands for it in the graph. */
  declare(weight: {
    folder: string[];
    index: number;
    roles: readonly string[];
    shape: number[];
    trainable: boolean;
  }): number;
}

export type Converter = (layer: LayerCall) => Value | Value[];

const dtype = z.union([
  z.literal('float32').nullish(),
  z.looseObject({ config: z.looseObject({ name: z.literal('float32') }) }),
]);

export class LayerCall {
  readonly graph: Graph<number>;
  readonly name: string;
  readonly className: string;
  readonly config: Record<string, unknown>;
  readonly kerasMajor: number;
  readonly args: Argument[];
  readonly info: Pick<LayerInfo, 'units' | 'activation'> = {};
  readonly #context: LayerContext;
  readonly #kwargs: Map<string, Argument>;
  readonly #indices = new Map<string, number>();

  constructor(context: LayerContext) {
    this.#context = context;
    this.graph = context.graph;
    this.name = context.name;
    this.className = context.className;
    this.config = context.config;
    this.kerasMajor = context.kerasMajor;
    this.args = context.args;
    // null and false say no more than their absence.
    this.#kwargs = new Map(
      Object.entries(context.kwargs).filter(([, value]) => value !== null && value !== false),
    );
  }

  /** The settings, checked. Throws UNSUPPORTED_LAYER naming the setting. */
  read<T>(schema: z.ZodType<T>): T {
    const parsed = this.#parse(schema);
    if (parsed.success) return parsed.data;
    const key = String(parsed.error.issues[0]?.path[0] ?? 'config');
    throw this.refused(
      `has ${key} ${quote(shown(this.config[key]))}, which is not converted`,
      dtypeHint(key),
    );
  }

  #parse<T>(schema: z.ZodType<T>): z.ZodSafeParseResult<T> {
    const precision = z.looseObject({ dtype }).safeParse(this.config);
    return precision.success ? schema.safeParse(this.config) : (precision as z.ZodSafeParseError<T>);
  }

  /** An argument by name, or by its place when it was given without one. */
  argument(name: string, place?: number): Argument | undefined {
    const named = this.#kwargs.get(name);
    this.#kwargs.delete(name);
    return named ?? (place === undefined ? undefined : (this.args[place] ?? undefined));
  }

  /** Throws UNSUPPORTED_LAYER for arguments that nobody has asked for. */
  finish(): void {
    const [name, value] = this.#kwargs.entries().next().value ?? [];
    if (name !== undefined)
      throw this.refused(`is called with ${name}=${isTensor(value) ? 'a tensor' : shown(value)}`);
  }

  /** The tensors of the first argument: one, or a list. */
  inputs(): Value[] {
    const first = this.args[0];
    const list = Array.isArray(first) ? first : [first];
    return list.map((value) => {
      if (!isTensor(value)) throw this.refused('is called with something that is not a tensor');
      return value;
    });
  }

  /** The only tensor it is called with, as float32. */
  input(): Value {
    const value = this.anyInput();
    if (value.datatype !== 'FP32')
      throw this.refused(
        `gets an input of the type ${value.datatype.toLowerCase()}`,
        'cast it to float32 first',
      );
    return value;
  }

  anyInput(): Value {
    const [value, second] = this.inputs();
    if (!value || second || this.args.length > 1)
      throw this.refused(`is called with ${this.args.length > 1 ? this.args.length : 'several'} tensors`);
    return value;
  }

  /** Numbers of any type as float32, as Keras does before it computes. */
  asFloat(value: Value): Value {
    if (value.datatype === 'FP32') return value;
    return {
      ...this.graph.map(value, (x) => this.graph.node('Cast', [x], { to: { int: 1 } })),
      datatype: 'FP32',
    };
  }

  /** The sequence a recurrent layer is called with; its first states may stand behind it. */
  sequence(): Value {
    const [value] = this.inputs();
    if (value?.datatype !== 'FP32') throw this.refused('is not called with a float32 sequence');
    return value;
  }

  /** A size that must be known to convert the layer. */
  known(dim: Dim | undefined, what: string): number {
    if (dim === null || dim === undefined)
      throw this.refused(
        `needs to know its ${what}, which is variable`,
        'give keras.Input a fixed size there',
      );
    return dim;
  }

  rank(value: Value, ...allowed: number[]): number {
    const rank = value.shape.length;
    if (!allowed.includes(rank))
      throw this.refused(
        `gets an input of the shape ${shapeText(value.shape)}; expected are ${allowed.join(' or ')} axes with the batch`,
      );
    return rank;
  }

  /** Declares a weight. Each converter declares in the order of Keras's `layer.weights`. */
  weight(
    roles: string | readonly string[],
    shape: number[],
    more: { folder?: string[]; trainable?: boolean } = {},
  ): number {
    const folder = more.folder ?? [];
    const key = folder.join('/');
    const index = this.#indices.get(key) ?? 0;
    this.#indices.set(key, index + 1);
    return this.#context.declare({
      folder,
      index,
      roles: typeof roles === 'string' ? [roles] : roles,
      shape,
      trainable: more.trainable ?? true,
    });
  }

  /** Something the file has for this layer that predictions do not need. */
  skipWeight(): void {
    this.weight(anything, [], { trainable: false });
  }

  /** A weight in the graph as it is stored. */
  use(weight: number, role: string, dims: number[]): string {
    return this.graph.weight(role, dims, [weight], ([stored]) => stored ?? new Float32Array());
  }

  /** A layer inside this one (the layer of a wrapper): its weights are in `folder` of this one's. */
  inner(layer: LayerConfig, folder: string[], args: Argument[]): LayerCall {
    const { declare } = this.#context;
    const trainable = layer.config.trainable !== false;
    const text = (value: unknown): string | null => (typeof value === 'string' ? value : null);
    refuseCode({
      class_name: layer.class_name,
      config: { name: this.name },
      module: text(layer.module),
      registered_name: text(layer.registered_name),
    });
    return new LayerCall({
      ...this.#context,
      className: layer.class_name,
      config: layer.config,
      args,
      kwargs: {},
      declare: (weight) =>
        declare({
          ...weight,
          folder: [...folder, ...weight.folder],
          trainable: weight.trainable && trainable,
        }),
    });
  }

  convert(inner: LayerCall): Value[] {
    return this.#context.convert(inner);
  }

  refused(message: string, hint?: string): CommonwattError {
    return new CommonwattError(
      'UNSUPPORTED_LAYER',
      `layer ${quote(this.name)} (${this.className}) ${message}`,
      {
        where: this.name,
        hint: hint ? `${hint}; or ${exportHint}` : exportHint,
      },
    );
  }
}

export function isIgnored(weight: DeclaredWeight): boolean {
  return weight.roles.includes(anything);
}

export function isTensor(value: unknown): value is Value {
  return typeof value === 'object' && value !== null && 'datatype' in value && 'shape' in value;
}

export function shapeText(shape: readonly Dim[]): string {
  return `[${shape.map((dim, i) => (i === 0 ? 'batch' : (dim ?? 'variable'))).join(', ')}]`;
}

function shown(value: unknown): string {
  return (JSON.stringify(value) ?? 'missing').slice(0, 200);
}

function dtypeHint(key: string): string | undefined {
  return key === 'dtype'
    ? 'only float32 is converted: build the model with keras.config.set_dtype_policy("float32")'
    : undefined;
}

/** An axis as Keras counts it, from either end, as an index into the shape. */
export function axisOf(layer: LayerCall, axis: number, rank: number): number {
  const index = axis < 0 ? axis + rank : axis;
  if (index < 0 || index >= rank) throw layer.refused(`has axis ${axis}, but its input has ${rank} axes`);
  return index;
}

/** Rearranges the axes of a weight. */
export function transpose(
  data: Float32Array,
  shape: readonly number[],
  order: readonly number[],
): Float32Array {
  const strides = shape.map((_, axis) => sizeOf(shape.slice(axis + 1)));
  const sizes = order.map((axis) => shape[axis] ?? 1);
  const steps = order.map((axis) => strides[axis] ?? 0);
  const out = new Float32Array(data.length);
  const position = sizes.map(() => 0);
  let from = 0;
  for (let to = 0; to < out.length; to++) {
    out[to] = data[from] ?? 0;
    for (let axis = sizes.length - 1; axis >= 0; axis--) {
      from += steps[axis] ?? 0;
      const next = (position[axis] ?? 0) + 1;
      if (next < (sizes[axis] ?? 1)) {
        position[axis] = next;
        break;
      }
      from -= (steps[axis] ?? 0) * next;
      position[axis] = 0;
    }
  }
  return out;
}
