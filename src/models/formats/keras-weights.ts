/** Where a Keras file has the weights that a plan asks for, and that they are of the type and shape it expects. */
import { CommonwattError } from '../../errors.ts';
import { quote } from '../names.ts';
import type { Hdf5Dataset, Hdf5Group } from './hdf5-structure.ts';
import { type DeclaredWeight, isIgnored } from './keras-layers/layer.ts';

/** A weight in the file. */
export interface StoredWeight {
  path: string;
  dataset: Hdf5Dataset;
}

/**
 * In the layout of `.h5`: for each layer of the outermost model a list of names, trainable weights first, those of
 * models inside it among them. One entry for each declared weight; undefined for what is not needed.
 */
export function locateByLayer(
  weights: readonly DeclaredWeight[],
  stored: readonly [string, string[]][],
  structure: Hdf5Group,
): (StoredWeight | undefined)[] {
  const located: (StoredWeight | undefined)[] = weights.map(() => undefined);
  const listed = new Map(stored);
  const prefix = structure.children.has('model_weights') ? ['model_weights'] : [];
  const layers = new Map<string, number[]>();
  for (const [i, { layer }] of weights.entries())
    layers.set(layer[0] ?? '', [...(layers.get(layer[0] ?? '') ?? []), i]);
  for (const [layer, names] of stored)
    if (names.length > 0 && !layers.has(layer) && layer !== 'top_level_model_weights')
      throw damaged(`it has weights for layer ${quote(layer)}, which has none by its configuration`, layer);
  for (const [layer, wanted] of layers) {
    const names = listed.get(layer) ?? [];
    if (names.length !== wanted.length)
      throw damaged(`layer ${quote(layer)} has ${names.length} weights instead of ${wanted.length}`, layer);
    const ordered = [
      ...wanted.filter((i) => weights[i]?.trainable),
      ...wanted.filter((i) => !weights[i]?.trainable),
    ];
    for (const [n, i] of ordered.entries()) {
      const weight = weights[i];
      const name = names[n] ?? '';
      if (!weight || isIgnored(weight)) continue;
      checkRole(weight, name);
      const parts = [...prefix, ...layer.split('/'), ...name.split('/')].filter((part) => part !== '');
      located[i] = checked(find(structure, parts), parts, weight, name);
    }
  }
  return located;
}

/** In the layout of the archive: a folder for each layer, its weights by number. */
export function locateByFolder(
  weights: readonly DeclaredWeight[],
  structure: Hdf5Group,
): (StoredWeight | undefined)[] {
  // Keras 2 (from 2.12) called the folder of layers by another name.
  const legacy =
    !structure.children.has('layers') && structure.children.has('_layer_checkpoint_dependencies');
  return weights.map((weight) => {
    if (isIgnored(weight)) return undefined;
    const folder = weight.folder.map((part) =>
      legacy && part === 'layers' ? '_layer_checkpoint_dependencies' : part,
    );
    const parts = [...folder, 'vars', String(weight.index)];
    return checked(find(structure, parts), parts, weight, parts.join('/'));
  });
}

function find(root: Hdf5Group, parts: string[]): Hdf5Dataset | undefined {
  let group = root;
  for (const [i, part] of parts.entries()) {
    const child = group.children.get(part);
    if (child?.kind === 'dataset') return i === parts.length - 1 ? child : undefined;
    if (!child) return undefined;
    group = child;
  }
  return undefined;
}

/** `dense/kernel:0` and `sequential/dense/kernel` both end in what the weight is. */
function checkRole(weight: DeclaredWeight, name: string): void {
  const role = (name.split('/').at(-1) ?? '').replace(/:\d+$/, '').replace(/_\d+$/, '');
  if (weight.roles.includes(role) || role.startsWith('variable')) return;
  throw damaged(
    `layer ${quote(weight.layer.join('/'))} has the weight ${quote(name)} where its ${weight.roles[0]} should be`,
    weight.layer.join('/'),
  );
}

function checked(
  dataset: Hdf5Dataset | undefined,
  parts: string[],
  weight: DeclaredWeight,
  name: string,
): StoredWeight {
  const layer = weight.layer.join('/');
  const label = `weight ${quote(name)} (${weight.roles[0]}) of layer ${quote(layer)}`;
  if (!dataset) throw damaged(`${label} is missing`, layer);
  if (dataset.shape.join() !== weight.shape.join())
    throw damaged(
      `${label} has the shape [${dataset.shape.join(', ')}]; its configuration asks for [${weight.shape.join(', ')}]`,
      layer,
    );
  if (!dataset.datatype.isFloat32)
    throw new CommonwattError(
      'UNSUPPORTED_LAYER',
      `${label} is ${dataset.datatype.description}, not float32`,
      {
        where: layer,
        hint: 'set keras.config.set_dtype_policy("float32"), build the model, load the weights into it and save it again',
      },
    );
  return { path: `/${parts.join('/')}`, dataset };
}

export function damaged(message: string, where: string): CommonwattError {
  return new CommonwattError('CORRUPT_MODEL', `the Keras model is damaged: ${message}`, {
    where,
    hint: 'save the model again, with model.save("model.keras")',
  });
}
