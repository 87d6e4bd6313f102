/** From a Keras configuration to a graph whose weights are still in the file. */
import { z } from 'zod';
import { CommonwattError } from '../../errors.ts';
import type { Datatype } from '../models.ts';
import { quote } from '../names.ts';
import { type Dim, Graph, type LayerInfo, sizeOf, type Value } from './graph.ts';
import {
  exportHint,
  isModel,
  type KerasLayerConfig,
  type KerasModelConfig,
  majorOf,
  malformed,
  nameOf,
  parseModelConfig,
  readModelConfig,
  tooLarge,
} from './keras-config.ts';
import { type Argument, type DeclaredWeight, isIgnored, LayerCall, shapeText } from './keras-layers/layer.ts';
import { convertLayer, kerasLayers } from './keras-layers/layers.ts';
import { archiveName } from './keras-names.ts';
import { type CallArgument, TensorRef, topologyOf } from './keras-topology.ts';

export interface KerasPlan {
  graph: Graph<number>;
  layers: LayerInfo[];
  /** What the graph's weights stand for. */
  weights: DeclaredWeight[];
  parameters: number;
}

export interface ConfigLimits {
  maxLayers: number;
  maxParameters: number;
  /** Numbers in one row of a tensor. */
  maxRowElements: number;
}

const maxNesting = 8;

/** Throws CORRUPT_MODEL, UNSAFE_MODEL or UNSUPPORTED_LAYER, naming the layer. */
export function planFromConfig(
  text: string,
  kerasVersion: string | undefined,
  limits: ConfigLimits,
): KerasPlan {
  return planFromJson(parseModelConfig(text), kerasVersion, limits);
}

export function planFromJson(
  json: unknown,
  kerasVersion: string | undefined,
  limits: ConfigLimits,
): KerasPlan {
  const planner = new Planner(majorOf(kerasVersion), limits);
  planner.whole(readModelConfig(json, limits.maxLayers));
  return planner;
}

/** Where a layer is: names on the way, and folders in a `.keras` archive. */
interface Place {
  names: string[];
  folders: string[];
  trainable: boolean;
}

class Planner implements KerasPlan {
  readonly graph = new Graph<number>();
  readonly layers: LayerInfo[] = [];
  readonly weights: DeclaredWeight[] = [];
  parameters = 0;
  readonly #kerasMajor: number;
  readonly #limits: ConfigLimits;
  /** Weights of each layer, by where it is: a layer that is called again has them already. */
  readonly #declared = new Map<string, number[]>();
  #calls = 0;

  constructor(kerasMajor: number, limits: ConfigLimits) {
    this.#kerasMajor = kerasMajor;
    this.#limits = limits;
  }

  whole(model: KerasModelConfig): void {
    const root: Place = { names: [], folders: [], trainable: true };
    const { layers } = model;
    const entries = model.sequential
      ? [layers[0]].map((layer) => ({ layer, shape: layer && sequentialShape(layer, model) }))
      : topologyOf(model).inputs.map(({ layer: name }) => {
          const layer = layers.find((one) => nameOf(one) === name);
          return { layer, shape: layer?.config.batch_shape ?? layer?.config.batch_input_shape };
        });
    const single = entries.length === 1;
    const inputs = entries.map(({ layer, shape }) => {
      if (!layer) throw malformed('the model has no layers', 'model_config');
      return this.#entry(layer, shape, single ? 'input' : nameOf(layer));
    });
    const outputs = this.#model(model, inputs, root, 0);
    const names = outputNames(model, outputs.length);
    for (const [i, value] of outputs.entries()) this.graph.output(names[i] ?? '', value);
  }

  #entry(layer: KerasLayerConfig, shape: unknown, name: string): Value {
    const parsed = z.tuple([z.int().positive().nullable()], z.int().positive().nullable()).safeParse(shape);
    if (!parsed.success)
      throw new CommonwattError(
        'UNSUPPORTED_LAYER',
        `the input shape ${quote(JSON.stringify(shape) ?? 'null')} is not known`,
        {
          where: nameOf(layer),
          hint: 'give the model a keras.Input(shape=(n,)) and save it again',
        },
      );
    const dims: Dim[] = [null, ...parsed.data.slice(1)];
    if (sizeOf(dims) > this.#limits.maxRowElements)
      throw tooLarge(
        `one row of the input has the shape [${dims.slice(1).join(', ')}], more than ${this.#limits.maxRowElements} numbers`,
      );
    return this.graph.input(name, dims, entryType(layer));
  }

  #model(model: KerasModelConfig, inputs: Value[], place: Place, depth: number): Value[] {
    if (depth > maxNesting) throw tooLarge(`models are nested deeper than ${maxNesting}`);
    return model.sequential
      ? this.#sequential(model, inputs, place, depth)
      : this.#functional(model, inputs, place, depth);
  }

  #sequential(model: KerasModelConfig, inputs: Value[], place: Place, depth: number): Value[] {
    let values = inputs;
    const name = archiveNames(model, place);
    for (const layer of model.layers)
      values = this.#call(
        layer,
        [values.length === 1 ? (values[0] ?? null) : values],
        {},
        name(layer),
        depth,
      );
    return values;
  }

  #functional(model: KerasModelConfig, inputs: Value[], place: Place, depth: number): Value[] {
    const topology = topologyOf(model);
    const name = archiveNames(model, place);
    const places = new Map(model.layers.map((layer) => [layer, name(layer)]));
    const results = new Map<string, Value[]>();
    for (const [i, ref] of topology.inputs.entries()) {
      const layer = model.layers.find((one) => nameOf(one) === ref.layer);
      const value = inputs[i];
      if (!layer || !value || inputs.length !== topology.inputs.length)
        throw malformed(
          `a model with ${topology.inputs.length} inputs is called with ${inputs.length}`,
          ref.layer,
        );
      results.set(keyOf(ref), this.#call(layer, [value], {}, places.get(layer) ?? place, depth));
    }
    const find = (ref: TensorRef): Value => {
      const value = results.get(keyOf(ref))?.[ref.result];
      if (!value)
        throw malformed(
          `layer ${quote(ref.layer)} has no result ${ref.result} of call ${ref.call}`,
          ref.layer,
        );
      return value;
    };
    const resolve = (argument: CallArgument): Argument => {
      if (argument instanceof TensorRef) return find(argument);
      if (Array.isArray(argument)) return argument.map(resolve);
      const { plain } = argument;
      return typeof plain === 'object' && plain !== null ? { other: plain } : (plain as Argument);
    };
    for (const { layer, index, args, kwargs } of topology.calls) {
      const named = Object.fromEntries(Object.entries(kwargs).map(([key, value]) => [key, resolve(value)]));
      const values = this.#call(layer, args.map(resolve), named, places.get(layer) ?? place, depth);
      results.set(keyOf(new TensorRef(nameOf(layer), index, 0)), values);
    }
    return topology.outputs.map(find);
  }

  #call(
    layer: KerasLayerConfig,
    args: Argument[],
    kwargs: Record<string, Argument>,
    place: Place,
    depth: number,
  ): Value[] {
    if (++this.#calls > 4 * this.#limits.maxLayers)
      throw tooLarge(`the model calls layers more than ${4 * this.#limits.maxLayers} times`);
    const name = place.names.join('/');
    if (isModel(layer)) return this.#nested(layer, args, kwargs, place, depth);
    this.graph.scope = name;
    const before = this.parameters;
    const used: number[] = [];
    const call = this.#callOf(layer, name, args, kwargs, (weight) => this.#declare(place, used, weight));
    const outputs = this.#convert(call);
    this.#declared.set(name, used);
    if (!this.layers.some((known) => known.name === name))
      this.layers.push({ name, type: layer.class_name, ...call.info, parameters: this.parameters - before });
    return outputs;
  }

  #callOf(
    layer: KerasLayerConfig,
    name: string,
    args: Argument[],
    kwargs: Record<string, Argument>,
    declare: ConstructorParameters<typeof LayerCall>[0]['declare'],
  ): LayerCall {
    return new LayerCall({
      graph: this.graph,
      name,
      className: layer.class_name,
      config: layer.config,
      args,
      kwargs,
      kerasMajor: this.#kerasMajor,
      convert: (inner) => this.#convert(inner),
      declare,
    });
  }

  #convert(call: LayerCall): Value[] {
    const outputs = call.className === 'InputLayer' ? readInput(call) : convertLayer(call);
    if (!outputs) throw unknownLayer(call);
    for (const output of outputs) this.#checkSize(call, output);
    return outputs;
  }

  #nested(
    layer: KerasLayerConfig,
    args: Argument[],
    kwargs: Record<string, Argument>,
    place: Place,
    depth: number,
  ): Value[] {
    const call = this.#callOf(layer, place.names.join('/'), args, kwargs, () => 0);
    const inputs = call.inputs();
    call.argument('mask');
    call.finish();
    if (inputs.some((value) => value.mask !== undefined))
      throw call.refused('gets a masked input (mask_zero or Masking)');
    const model = readModelConfig(layer, this.#limits.maxLayers, place.names.join('/'));
    return this.#model(model, inputs, place, depth + 1);
  }

  #declare(place: Place, used: number[], weight: Omit<DeclaredWeight, 'layer'>): number {
    const known = this.#declared.get(place.names.join('/'))?.[used.length];
    if (known !== undefined) {
      if (this.weights[known]?.shape.join() !== weight.shape.join())
        throw malformed(
          `layer ${quote(place.names.join('/'))} is called with inputs of different sizes`,
          place.names.join('/'),
        );
      used.push(known);
      return known;
    }
    const declared: DeclaredWeight = {
      ...weight,
      layer: place.names,
      folder: [...place.folders, ...weight.folder],
      trainable: weight.trainable && place.trainable,
    };
    const size = isIgnored(declared) ? 0 : sizeOf(weight.shape);
    this.parameters += size;
    // Units of 2^40 end here: nothing of that size has been asked for yet.
    if (this.parameters > this.#limits.maxParameters)
      throw tooLarge(
        `layer ${quote(place.names.join('/'))} declares ${size} parameters, more than the limit of ${this.#limits.maxParameters}`,
        place.names.join('/'),
      );
    used.push(this.weights.length);
    return this.weights.push(declared) - 1;
  }

  #checkSize(call: LayerCall, output: Value): void {
    if (sizeOf(output.shape) > this.#limits.maxRowElements)
      throw tooLarge(
        `layer ${quote(call.name)} has an output of ${shapeText(output.shape)}, more than the limit of ${this.#limits.maxRowElements} numbers a row`,
        call.name,
      );
  }
}

function keyOf(ref: TensorRef): string {
  return JSON.stringify([ref.layer, ref.call]);
}

/** Place of each layer of a model; `.keras` numbers layers of the same class. */
function archiveNames(model: KerasModelConfig, place: Place): (layer: KerasLayerConfig) => Place {
  const used = new Map<string, number>();
  const folders = new Map<KerasLayerConfig, string>();
  for (const layer of model.layers) {
    const base = archiveName(layer.class_name);
    const count = used.get(base) ?? 0;
    used.set(base, count + 1);
    folders.set(layer, count === 0 ? base : `${base}_${count}`);
  }
  return (layer) => ({
    names: [...place.names, nameOf(layer)],
    folders: [...place.folders, 'layers', folders.get(layer) ?? ''],
    trainable: place.trainable && layer.config.trainable !== false,
  });
}

function readInput(call: LayerCall): Value[] {
  // Its dtype was looked at when the model's inputs were made.
  if (call.config.sparse === true || call.config.ragged === true)
    throw call.refused('takes sparse or ragged tensors');
  return [call.anyInput()];
}

const entryTypes: Record<string, Datatype> = {
  float32: 'FP32',
  int32: 'INT32',
  int64: 'INT64',
  uint8: 'UINT8',
};

/** The dtype of an InputLayer; a Sequential without one begins with floats. */
function entryType(layer: KerasLayerConfig): Datatype {
  if (layer.class_name !== 'InputLayer') return 'FP32';
  const dtype = layer.config.dtype ?? 'float32';
  const type = typeof dtype === 'string' ? entryTypes[dtype] : undefined;
  if (type) return type;
  throw new CommonwattError(
    'UNSUPPORTED_LAYER',
    `the input ${quote(nameOf(layer))} has the dtype ${quote(JSON.stringify(dtype).slice(0, 100))}`,
    {
      where: nameOf(layer),
      hint: `converted are ${Object.keys(entryTypes).join(', ')}; ${exportHint}`,
    },
  );
}

function sequentialShape(first: KerasLayerConfig, model: KerasModelConfig): unknown {
  return (
    first.config.batch_shape ??
    first.config.batch_input_shape ??
    model.settings.build_input_shape ??
    first.build_config?.input_shape
  );
}

/** The names of the layers that give them; one output is `output`. */
function outputNames(model: KerasModelConfig, count: number): string[] {
  if (count === 1) return ['output'];
  const names = model.sequential ? [] : topologyOf(model).outputs.map(({ layer }) => layer);
  const seen = new Map<string, number>();
  const inputs = new Set(model.layers.filter((layer) => layer.class_name === 'InputLayer').map(nameOf));
  return Array.from({ length: count }, (_, i) => {
    const base = names[i] ?? `output_${i}`;
    const times = seen.get(base) ?? 0;
    seen.set(base, times + 1);
    return times === 0 && !inputs.has(base) ? base : `${base}_${times || 'output'}`;
  });
}

function unknownLayer(layer: LayerCall): CommonwattError {
  return new CommonwattError(
    'UNSUPPORTED_LAYER',
    `layer ${quote(layer.name)} is a ${quote(layer.className)} layer, which is not converted`,
    {
      where: layer.name,
      hint: `converted are ${['InputLayer', ...kerasLayers.keys()].join(', ')}; ${exportHint}`,
    },
  );
}
