/**
 * A network as a graph of ONNX operators whose weights are still in their file: what every importable layered
 * model comes down to, and what `onnx-write.ts` writes. Building it reads no weight, so a hostile configuration
 * is refused before anything large is touched.
 */
import type { Datatype } from '../models.ts';

/** A size that is known, or null: it differs from request to request. */
export type Dim = number | null;

/** A tensor on its way through the network. Its shape begins with the batch. */
export interface Value {
  shape: Dim[];
  datatype: Datatype;
  /** Name of the ONNX value in the model's own order of axes, once there is one. */
  plain?: string;
  /** The same with the last axis moved behind the batch, the order in which ONNX convolves and pools. */
  channelsFirst?: string;
  /** Which time steps count, BOOL [batch, time], when the model says so (mask_zero). */
  mask?: string;
}

/** A weight in the file; `W` says where. */
interface WeightUse<W> {
  name: string;
  dims: number[];
  from: W[];
  /** From the weights as they are stored to the tensor that ONNX wants. */
  make: (stored: Float32Array[]) => Float32Array;
}

interface Constant {
  name: string;
  dims: number[];
  data: Float32Array | BigInt64Array | Int32Array;
}

export type Attribute =
  | { int: number }
  | { float: number }
  | { ints: number[] }
  | { floats: number[] }
  | { text: string }
  | { texts: string[] };

export interface Node {
  op: string;
  name: string;
  inputs: string[];
  outputs: string[];
  attributes: Record<string, Attribute>;
}

export interface Port {
  name: string;
  value: Value;
}

export class Graph<W> {
  readonly nodes: Node[] = [];
  readonly weights: WeightUse<W>[] = [];
  readonly constants: Constant[] = [];
  readonly inputs: Port[] = [];
  readonly outputs: Port[] = [];
  /** The layer that is being written: operators and weights carry its name. */
  scope = 'model';
  readonly #integers = new Map<string, string>();
  readonly #weightNames = new Map<string, string>();
  #values = 0;

  input(name: string, shape: Dim[], datatype: Datatype): Value {
    const value: Value = { shape, datatype, plain: name };
    this.inputs.push({ name, value });
    return value;
  }

  /** One operator with one output. */
  node(op: string, inputs: string[], attributes: Record<string, Attribute> = {}): string {
    const [output = ''] = this.nodeOf(op, inputs, 1, attributes);
    return output;
  }

  nodeOf(
    op: string,
    inputs: string[],
    outputs: number,
    attributes: Record<string, Attribute> = {},
  ): string[] {
    const names = Array.from({ length: outputs }, () => `value_${this.#values++}`);
    // Two operators of one layer must not share a name.
    this.nodes.push({ op, name: `${this.scope}/${op}_${this.#values}`, inputs, outputs: names, attributes });
    return names;
  }

  /** Gives a value its public name. */
  output(name: string, value: Value): void {
    const named: Node = {
      op: 'Identity',
      name: `${name}/output`,
      inputs: [this.plain(value)],
      outputs: [name],
      attributes: {},
    };
    this.nodes.push(named);
    this.outputs.push({ name, value });
  }

  float(data: Float32Array | number, dims: number[] = []): string {
    const name = `constant_${this.constants.length}`;
    this.constants.push({ name, dims, data: typeof data === 'number' ? Float32Array.of(data) : data });
    return name;
  }

  /** A list of whole numbers, as shapes and axes are given; a bare number is a scalar. */
  integers(data: number[] | number): string {
    const key = JSON.stringify(data);
    const known = this.#integers.get(key);
    if (known) return known;
    const name = `constant_${this.constants.length}`;
    const list = typeof data === 'number' ? [data] : data;
    this.constants.push({
      name,
      dims: typeof data === 'number' ? [] : [list.length],
      data: BigInt64Array.from(list, BigInt),
    });
    this.#integers.set(key, name);
    return name;
  }

  /** The same weights in the same form, asked for again by a layer that is called twice, are there once. */
  weight(role: string, dims: number[], from: W[], make: (stored: Float32Array[]) => Float32Array): string {
    const key = JSON.stringify([this.scope, role, dims, from]);
    const known = this.#weightNames.get(key);
    if (known) return known;
    const name = `${this.scope}/${role}_${this.weights.length}`;
    this.weights.push({ name, dims, from, make });
    this.#weightNames.set(key, name);
    return name;
  }

  plain(value: Value): string {
    if (value.plain !== undefined) return value.plain;
    if (value.channelsFirst === undefined) throw new Error('a value without a name');
    const rank = value.shape.length;
    const spatial = Array.from({ length: rank - 2 }, (_, i) => i + 2);
    value.plain = this.node('Transpose', [value.channelsFirst], { perm: { ints: [0, ...spatial, 1] } });
    return value.plain;
  }

  channelsFirst(value: Value): string {
    if (value.channelsFirst !== undefined) return value.channelsFirst;
    const rank = value.shape.length;
    const spatial = Array.from({ length: rank - 2 }, (_, i) => i + 1);
    value.channelsFirst = this.node('Transpose', [this.plain(value)], {
      perm: { ints: [0, rank - 1, ...spatial] },
    });
    return value.channelsFirst;
  }

  /** An element-wise function, in whichever order the value is at hand. */
  map(value: Value, compute: (name: string) => string): Value {
    const { shape, datatype } = value;
    return value.channelsFirst === undefined
      ? { shape, datatype, plain: compute(this.plain(value)) }
      : { shape, datatype, channelsFirst: compute(value.channelsFirst) };
  }
}

export function sizeOf(shape: readonly Dim[]): number {
  return shape.reduce<number>((all, dim) => all * (dim ?? 1), 1);
}

/** A layer as a user knows it. */
export interface LayerInfo {
  name: string;
  type: string;
  units?: number;
  activation?: string;
  parameters: number;
}
