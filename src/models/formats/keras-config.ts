/**
 * Reads a Keras `model_config` by an allow-list, before any weight is read. Nothing in a configuration is ever
 * executed or looked up as code: a layer that is not on the list is refused by name.
 */
import { z } from 'zod';
import { CommonwattError } from '../../errors.ts';
import { quote } from '../names.ts';

export const exportHint =
  'export it to ONNX instead: model.export("model.onnx", format="onnx") in Keras 3.8 or later, or tf2onnx';

const layerSchema = z.object({
  class_name: z.string(),
  name: z.string().optional(),
  module: z.string().nullish(),
  registered_name: z.string().nullish(),
  config: z.looseObject({ name: z.string().min(1).max(1000).optional() }),
  build_config: z.looseObject({ input_shape: z.unknown().optional() }).nullish(),
  inbound_nodes: z.array(z.unknown()).optional(),
});
export type KerasLayerConfig = z.infer<typeof layerSchema>;

const modelSchema = z.object({
  class_name: z.string(),
  module: z.string().nullish(),
  registered_name: z.string().nullish(),
  // Keras 1 and early Keras 2 wrote the layers of a Sequential as a bare list.
  config: z.union([
    z.array(z.unknown()).transform((layers): { layers: unknown[]; [key: string]: unknown } => ({ layers })),
    z.looseObject({ layers: z.array(z.unknown()) }),
  ]),
});

export interface KerasModelConfig {
  sequential: boolean;
  layers: KerasLayerConfig[];
  settings: Record<string, unknown>;
}

/** Models, also where a layer may stand. */
const modelClasses = ['Sequential', 'Functional', 'Model'];

export function isModel(layer: { class_name: string }): boolean {
  return modelClasses.includes(layer.class_name);
}

/** Throws CORRUPT_MODEL when it is not JSON. */
export function parseModelConfig(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new CommonwattError('CORRUPT_MODEL', "the model's configuration is not JSON", {
      where: 'model_config',
      hint: 'save the model again, with model.save("model.keras")',
      cause,
    });
  }
}

/** Throws CORRUPT_MODEL, UNSAFE_MODEL or UNSUPPORTED_LAYER, naming the layer. */
export function readModelConfig(json: unknown, maxLayers: number, where = 'model_config'): KerasModelConfig {
  const model = parse(modelSchema, json, where);
  if (!isModel(model) || isCustom(model))
    throw new CommonwattError('UNSUPPORTED_LAYER', `the model is of the class ${quote(model.class_name)}`, {
      where: `${where}.class_name`,
      hint: `Sequential and Functional models are converted; ${exportHint}`,
    });
  const { layers, ...settings } = model.config;
  if (layers.length > maxLayers)
    throw tooLarge(`the model has ${layers.length} layers, more than the limit of ${maxLayers}`);
  const read = layers.map((layer, i) => parse(layerSchema, layer, `${where}.config.layers[${i}]`));
  const names = new Set<string>();
  for (const layer of read) {
    refuseCode(layer);
    const name = nameOf(layer);
    if (names.has(name)) throw malformed(`two layers are named ${quote(name)}`, name);
    names.add(name);
  }
  return { sequential: model.class_name === 'Sequential', layers: read, settings };
}

/** Python code and classes of the user's own are never run here. */
export function refuseCode(
  layer: Pick<KerasLayerConfig, 'class_name' | 'registered_name' | 'module' | 'config' | 'name'>,
): void {
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

export function nameOf(layer: Pick<KerasLayerConfig, 'class_name' | 'config' | 'name'>): string {
  return layer.config.name ?? layer.name ?? layer.class_name;
}

/** Files without a version are older than Keras 2.0.4; the activations of Keras 2 are meant. */
export function majorOf(version: string | undefined): number {
  return Number.parseInt(version ?? '2', 10) || 2;
}

function parse<T>(schema: z.ZodType<T>, value: unknown, where: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw malformed(`${[where, ...(issue?.path ?? [])].join('.')}: ${issue?.message ?? 'not valid'}`, where);
}

export function malformed(message: string, where: string): CommonwattError {
  return new CommonwattError('CORRUPT_MODEL', `the model's configuration is damaged: ${message}`, {
    where,
    hint: 'save the model again, with model.save("model.keras")',
  });
}

export function tooLarge(message: string, where = 'model_config'): CommonwattError {
  return new CommonwattError('UNSAFE_MODEL', message, { where, hint: 'import a smaller model' });
}
