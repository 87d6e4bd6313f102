/**
 * Reads a Keras `model_config` into a chain of layers, by an allow-list, before any weight is read. Nothing in a
 * configuration is ever executed or looked up as code: a layer that is not on the list is refused by name.
 */
import { z } from 'zod';
import { CommonwattError } from '../../errors.ts';
import { quote } from '../names.ts';
import type { Chain, LayerInfo } from './chain.ts';
import { exportHint, type KerasLayer, kerasLayers, sizeOf, type WeightPlace } from './keras-layers.ts';
import { layerOrder } from './keras-topology.ts';

const layerSchema = z.object({
  class_name: z.string(),
  name: z.string().optional(),
  module: z.string().nullish(),
  registered_name: z.string().nullish(),
  config: z.looseObject({ name: z.string().min(1).max(1000).optional() }),
  build_config: z.looseObject({ input_shape: z.unknown() }).nullish(),
  inbound_nodes: z.array(z.unknown()).optional(),
});
export type LayerConfig = z.infer<typeof layerSchema>;

const modelSchema = z.object({
  class_name: z.string(),
  module: z.string().nullish(),
  registered_name: z.string().nullish(),
  // Keras 1 and early Keras 2 wrote the layers of a Sequential as a bare list.
  config: z.union([
    z.array(z.unknown()).transform((layers) => ({ layers })),
    z.looseObject({ layers: z.array(z.unknown()) }),
  ]),
});
export type ModelConfig = z.infer<typeof modelSchema>['config'];

export interface KerasPlan {
  chain: Chain<WeightPlace>;
  layers: LayerInfo[];
  /** Layers that have weights, in order, with the shapes of their weights in order. */
  weights: { layer: string; shapes: number[][] }[];
  parameters: number;
}

export interface ConfigLimits {
  maxLayers: number;
  maxParameters: number;
  /** Numbers in one row of an input. */
  maxRowElements: number;
}

/** Throws CORRUPT_MODEL, UNSAFE_MODEL or UNSUPPORTED_LAYER, naming the layer. */
export function planFromConfig(
  text: string,
  kerasVersion: string | undefined,
  limits: ConfigLimits,
): KerasPlan {
  const model = parse(modelSchema, parseJson(text), 'model_config');
  if (!['Sequential', 'Functional', 'Model'].includes(model.class_name) || isCustom(model))
    throw new CommonwattError('UNSUPPORTED_LAYER', `the model is of the class ${quote(model.class_name)}`, {
      where: 'model_config.class_name',
      hint: `Sequential models and Functional chains are converted; ${exportHint}`,
    });
  if (model.config.layers.length > limits.maxLayers)
    throw tooLarge(
      `the model has ${model.config.layers.length} layers, more than the limit of ${limits.maxLayers}`,
    );
  const layers = model.config.layers.map((layer, i) =>
    parse(layerSchema, layer, `model_config.config.layers[${i}]`),
  );
  for (const layer of layers) refuseCode(layer);
  const ordered = model.class_name === 'Sequential' ? layers : layerOrder(layers, model.config);
  return plan(ordered, model.config, majorOf(kerasVersion), limits);
}

function plan(
  layers: LayerConfig[],
  model: ModelConfig,
  kerasMajor: number,
  limits: ConfigLimits,
): KerasPlan {
  const inputShape = inputShapeOf(layers, model);
  if (sizeOf(inputShape) > limits.maxRowElements)
    throw tooLarge(
      `one row of the input has the shape [${inputShape.join(', ')}], more than ${limits.maxRowElements} numbers`,
    );
  const result: KerasPlan = {
    chain: { inputShape, outputShape: inputShape, steps: [] },
    layers: [],
    weights: [],
    parameters: 0,
  };
  const names = new Set<string>();
  for (const layer of layers) {
    const name = nameOf(layer);
    if (names.has(name)) throw malformed(`two layers are named ${quote(name)}`, name);
    names.add(name);
    const reader = kerasLayers.get(layer.class_name);
    if (!reader) throw unknownLayer(layer);
    const read: KerasLayer = reader({
      name,
      config: layer.config,
      shape: result.chain.outputShape,
      kerasMajor,
    });
    const parameters = read.weights.reduce((sum, shape) => sum + sizeOf(shape), 0);
    result.parameters += parameters;
    // Units of 2^40 end here: nothing of that size has been asked for yet.
    if (result.parameters > limits.maxParameters || sizeOf(read.shape) > limits.maxRowElements)
      throw tooLarge(
        `layer ${quote(name)} declares ${parameters} parameters and an output of [${read.shape.join(', ')}], more than the limits of ${limits.maxParameters} parameters and ${limits.maxRowElements} numbers a row`,
        name,
      );
    result.chain.outputShape = read.shape;
    result.chain.steps.push(...read.steps);
    if (read.weights.length > 0) result.weights.push({ layer: name, shapes: read.weights });
    result.layers.push({ name, type: layer.class_name, ...read.info, parameters });
  }
  return result;
}

/** Python code and classes of the user's own are never run here. */
function refuseCode(layer: LayerConfig): void {
  const name = quote(nameOf(layer));
  if (/lambda/i.test(layer.class_name) || layer.class_name === 'TensorFlowOpLayer')
    throw new CommonwattError(
      'UNSAFE_MODEL',
      `layer ${name} is a ${layer.class_name} layer: it carries code, which is never run here`,
      { where: nameOf(layer), hint: `replace it by a layer of Keras, or ${exportHint}` },
    );
  if (isCustom(layer))
    throw new CommonwattError(
      'UNSAFE_MODEL',
      `layer ${name} is of the custom class ${quote(layer.registered_name ?? layer.class_name)}, whose code is not in the file`,
      { where: nameOf(layer), hint: exportHint },
    );
}

function isCustom(object: {
  class_name: string;
  module?: string | null | undefined;
  registered_name?: string | null | undefined;
}): boolean {
  const { class_name, module, registered_name } = object;
  return (
    class_name.includes('>') ||
    (registered_name != null && registered_name !== class_name) ||
    (module != null &&
      !/^(tf_)?keras(\.|$)/.test(module) &&
      !/^tensorflow\.(python\.)?keras(\.|$)/.test(module))
  );
}

function inputShapeOf(layers: LayerConfig[], model: ModelConfig): number[] {
  const first = layers[0];
  if (!first) throw malformed('the model has no layers', 'model_config');
  const shape =
    first.config.batch_shape ??
    first.config.batch_input_shape ??
    ('build_input_shape' in model ? model.build_input_shape : undefined) ??
    first.build_config?.input_shape;
  const parsed = z.tuple([z.int().positive().nullable()], z.int().positive()).safeParse(shape);
  if (!parsed.success || parsed.data.length < 2)
    throw new CommonwattError(
      'UNSUPPORTED_LAYER',
      `the input shape ${quote(JSON.stringify(shape) ?? 'null')} is not fixed`,
      {
        where: nameOf(first),
        hint: 'give the model a keras.Input(shape=(n,)) with known sizes and save it again',
      },
    );
  return parsed.data.slice(1).map(Number);
}

function nameOf(layer: LayerConfig): string {
  return layer.config.name ?? layer.name ?? layer.class_name;
}

/** Files without a version are older than Keras 2.0.4; the activations of Keras 2 are meant. */
function majorOf(version: string | undefined): number {
  return Number.parseInt(version ?? '2', 10) || 2;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new CommonwattError('CORRUPT_MODEL', 'the attribute model_config is not JSON', {
      where: 'model_config',
      hint: 'save the model again with model.save("model.h5")',
      cause,
    });
  }
}

function parse<T>(schema: z.ZodType<T>, value: unknown, where: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw malformed(`${[where, ...(issue?.path ?? [])].join('.')}: ${issue?.message ?? 'not valid'}`, where);
}

function malformed(message: string, where: string): CommonwattError {
  return new CommonwattError('CORRUPT_MODEL', `the model's configuration is damaged: ${message}`, {
    where,
    hint: 'save the model again with model.save("model.h5")',
  });
}

function tooLarge(message: string, where = 'model_config'): CommonwattError {
  return new CommonwattError('UNSAFE_MODEL', message, { where, hint: 'import a smaller model' });
}

function unknownLayer(layer: LayerConfig): CommonwattError {
  return new CommonwattError(
    'UNSUPPORTED_LAYER',
    `layer ${quote(nameOf(layer))} is a ${quote(layer.class_name)} layer, which is not converted`,
    { where: nameOf(layer), hint: `converted are ${[...kerasLayers.keys()].join(', ')}; ${exportHint}` },
  );
}
