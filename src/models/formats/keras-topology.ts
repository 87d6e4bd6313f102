/** The order of layers in a Functional model that is a plain chain; branches and shared layers are refused. */
import { z } from 'zod';
import { CommonwattError } from '../../errors.ts';
import { quote } from '../names.ts';
import type { LayerConfig, ModelConfig } from './keras-config.ts';
import { exportHint } from './keras-layers.ts';

/** [layer, node index, tensor index] */
const endSchema = z.tuple([z.string(), z.literal(0), z.literal(0)]);
const endsSchema = z.union([endSchema.transform((end) => [end]), z.array(endSchema)]);

/** Keras 2: [[[layer, 0, 0, {arguments}]]] without the outer list of nodes. */
const node2 = z
  .tuple([z.tuple([z.string(), z.literal(0), z.literal(0), z.record(z.string(), z.unknown()).optional()])])
  .transform(([[from, , , kwargs]]) => ({ from, kwargs: kwargs ?? {} }));
/** Keras 3: {args: [tensor], kwargs}. */
const node3 = z
  .object({
    args: z.tuple([
      z.object({ class_name: z.literal('__keras_tensor__'), config: z.object({ keras_history: endSchema }) }),
    ]),
    kwargs: z.record(z.string(), z.unknown()),
  })
  .transform(({ args: [tensor], kwargs }) => ({ from: tensor.config.keras_history[0], kwargs }));
const nodesSchema = z.tuple([z.union([node2, node3])]);

/** Throws UNSUPPORTED_LAYER when the layers are not one chain from the only input to the only output. */
export function layerOrder(layers: LayerConfig[], model: ModelConfig): LayerConfig[] {
  const byName = new Map(layers.map((layer) => [String(layer.config.name ?? layer.name), layer]));
  const input = onlyEnd(model, 'input_layers');
  const output = onlyEnd(model, 'output_layers');
  const reversed: LayerConfig[] = [];
  for (let name = output; ; ) {
    const layer = byName.get(name);
    if (!layer) throw notChain(name, `layer ${quote(name)} is not in the file`);
    byName.delete(name);
    reversed.push(layer);
    if (name === input) break;
    name = predecessor(name, layer);
  }
  const [left] = byName.keys();
  if (left !== undefined) throw notChain(left, `layer ${quote(left)} is not on the way from input to output`);
  return reversed.reverse();
}

function predecessor(name: string, layer: LayerConfig): string {
  const parsed = nodesSchema.safeParse(layer.inbound_nodes ?? []);
  if (!parsed.success)
    throw notChain(name, `layer ${quote(name)} does not have exactly one input, or is used more than once`);
  const [{ from, kwargs }] = parsed.data;
  // training=True would keep dropout alive when the model is used.
  const set = Object.entries(kwargs).find(([, value]) => value !== null && value !== false);
  if (set) throw notChain(name, `layer ${quote(name)} is called with ${set[0]}=${JSON.stringify(set[1])}`);
  return from;
}

function onlyEnd(model: ModelConfig, key: 'input_layers' | 'output_layers'): string {
  const parsed = endsSchema.safeParse(
    key in model ? Object.entries(model).find(([k]) => k === key)?.[1] : undefined,
  );
  const [end, second] = parsed.success ? parsed.data : [];
  if (!end || second) throw notChain(key, `the model does not have exactly one entry in ${key}`);
  return end[0];
}

function notChain(where: string, message: string): CommonwattError {
  return new CommonwattError('UNSUPPORTED_LAYER', `the model is not a plain chain of layers: ${message}`, {
    where,
    hint: exportHint,
  });
}
