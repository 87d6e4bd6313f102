/** Reads a Keras `.h5` model: structure, then configuration, then weights, each only after the one before passed. */
import { CommonwattError } from '../../errors.ts';
import { quote } from '../names.ts';
import type { Chain, LayerInfo, Step } from './chain.ts';
import { type H5Description, type H5Tensor, withH5 } from './h5-process.ts';
import { type Hdf5Dataset, type Hdf5Group, readStructure } from './hdf5-structure.ts';
import { type ConfigLimits, type KerasPlan, planFromConfig } from './keras-config.ts';
import type { WeightPlace } from './keras-layers.ts';

export interface KerasLimits extends ConfigLimits {
  maxStructures: number;
  deadlineMs: number;
}

export interface KerasModel {
  chain: Chain<Float32Array>;
  layers: LayerInfo[];
  parameters: number;
}

/** The HDF5 library's own working memory, bytes. */
const libraryBytes = 128 * 1024 * 1024;

/** Throws CORRUPT_MODEL, UNSAFE_MODEL, UNSUPPORTED_LAYER or UNSUPPORTED_FORMAT. */
export async function readKerasH5(bytes: Buffer, limits: KerasLimits): Promise<KerasModel> {
  const maxDatasetBytes = limits.maxParameters * 4;
  const structure = readStructure(bytes, { maxDatasetBytes, maxStructures: limits.maxStructures });
  const bounds = {
    // One tensor at a time is in the library's memory, next to what it works with.
    maxWasmBytes: libraryBytes + bytes.length + largest(structure),
    deadlineMs: limits.deadlineMs,
  };
  return withH5(bounds, async (process) => {
    const description = await process.open(bytes);
    if (description.modelConfig === undefined) throw withoutArchitecture();
    const plan = planFromConfig(description.modelConfig, description.kerasVersion, limits);
    const tensors = await process.tensors(locateWeights(plan, description, structure));
    const weights = byLayer(plan, tensors);
    const steps = plan.chain.steps.map((step) => fill(step, weights));
    return { chain: { ...plan.chain, steps }, layers: plan.layers, parameters: plan.parameters };
  });
}

/** Throws CORRUPT_MODEL for a network that could only answer NaN. */
function byLayer(plan: KerasPlan, tensors: H5Tensor[]): Map<string, Float32Array[]> {
  const weights = new Map<string, Float32Array[]>();
  let next = 0;
  for (const { layer, shapes } of plan.weights) {
    const own = tensors.slice(next, next + shapes.length);
    next += shapes.length;
    if (own.some((tensor) => !tensor.finite))
      throw damaged(`the weights of layer ${quote(layer)} contain NaN or infinite numbers`, layer);
    weights.set(
      layer,
      own.map((tensor) => tensor.data),
    );
  }
  return weights;
}

/** Where each weight is, after its stored shape and type were found to be what the configuration asks for. */
function locateWeights(
  plan: KerasPlan,
  description: H5Description,
  structure: Hdf5Group,
): { path: string; shape: number[] }[] {
  const weighted = description.weightNames.filter(([, names]) => names.length > 0);
  if (weighted.length !== plan.weights.length)
    throw damaged(
      `${plan.weights.length} of its layers have weights by its configuration, ${weighted.length} by its contents`,
      'model_weights',
    );
  const prefix = structure.children.has('model_weights') ? ['model_weights'] : [];
  return plan.weights.flatMap(({ layer, shapes }, i) => {
    const [stored, names] = weighted[i] ?? ['', []];
    if (stored !== layer)
      throw damaged(
        `the weights of layer ${quote(stored)} are where those of ${quote(layer)} should be`,
        layer,
      );
    if (names.length !== shapes.length)
      throw damaged(`layer ${quote(layer)} has ${names.length} weights instead of ${shapes.length}`, layer);
    return shapes.map((shape, w) => {
      const parts = [...prefix, ...layer.split('/'), ...(names[w] ?? '').split('/')].filter(
        (part) => part !== '',
      );
      checkWeight(find(structure, parts), shape, layer, names[w] ?? '');
      return { path: `/${parts.join('/')}`, shape };
    });
  });
}

function find(root: Hdf5Group, parts: string[]): Hdf5Dataset | undefined {
  let group = root;
  for (const part of parts) {
    const child = group.children.get(part);
    if (child?.kind === 'dataset') return part === parts.at(-1) ? child : undefined;
    if (!child) return undefined;
    group = child;
  }
  return undefined;
}

function checkWeight(dataset: Hdf5Dataset | undefined, shape: number[], layer: string, name: string): void {
  const label = `weight ${quote(name)} of layer ${quote(layer)}`;
  if (!dataset) throw damaged(`${label} is missing`, layer);
  if (dataset.shape.join() !== shape.join())
    throw damaged(
      `${label} has the shape [${dataset.shape.join(', ')}]; its configuration asks for [${shape.join(', ')}]`,
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
}

function fill(step: Step<WeightPlace>, weights: Map<string, Float32Array[]>): Step<Float32Array> {
  const at = (place: WeightPlace): Float32Array => {
    const tensor = weights.get(place.layer)?.[place.index];
    if (!tensor)
      throw damaged(`weight ${place.index} of layer ${quote(place.layer)} is missing`, place.layer);
    return tensor;
  };
  switch (step.type) {
    case 'dense':
      return { ...step, kernel: at(step.kernel), bias: step.bias && at(step.bias) };
    case 'batchNormalization':
      return {
        ...step,
        gamma: step.gamma && at(step.gamma),
        beta: step.beta && at(step.beta),
        mean: at(step.mean),
        variance: at(step.variance),
      };
    default:
      return step;
  }
}

function largest(root: Hdf5Group): number {
  let bytes = 0;
  const seen = new Set<Hdf5Group>();
  const open = [root];
  for (let group = open.pop(); group; group = open.pop()) {
    if (seen.has(group)) continue;
    seen.add(group);
    for (const child of group.children.values()) {
      if (child.kind === 'group') open.push(child);
      else bytes = Math.max(bytes, child.bytes);
    }
  }
  return bytes;
}

function withoutArchitecture(): CommonwattError {
  return new CommonwattError(
    'UNSUPPORTED_FORMAT',
    'the HDF5 file has no attribute model_config: it is not a whole Keras model',
    {
      where: 'model_config',
      hint: 'save the model, not its weights alone: model.save("model.h5") instead of model.save_weights(…)',
    },
  );
}

function damaged(message: string, where: string): CommonwattError {
  return new CommonwattError('CORRUPT_MODEL', `the Keras model is damaged: ${message}`, {
    where,
    hint: 'save the model again with model.save("model.h5")',
  });
}
