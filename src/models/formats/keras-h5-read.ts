/** Reads a Keras `.h5` model: structure, then configuration, then weights, each only after the one before passed. */
import { CommonwattError } from '../../errors.ts';
import { type H5Description, type H5Tensor, withH5 } from './h5-process.ts';
import { compressed, largestDataset, readCompressed } from './hdf5-read.ts';
import { type Hdf5Group, readStructure } from './hdf5-structure.ts';
import { type KerasModel, modelOf } from './keras-model.ts';
import { type ConfigLimits, type KerasPlan, planFromConfig } from './keras-plan.ts';
import { locateByFolder, locateByLayer, type StoredWeight } from './keras-weights.ts';

export interface KerasLimits extends ConfigLimits {
  maxStructures: number;
  deadlineMs: number;
}

/** The HDF5 library's own working memory, bytes. */
const libraryBytes = 128 * 1024 * 1024;

/** Throws CORRUPT_MODEL, UNSAFE_MODEL, UNSUPPORTED_LAYER or UNSUPPORTED_FORMAT. */
export async function readKerasH5(bytes: Buffer, limits: KerasLimits): Promise<KerasModel> {
  const structure = structureOf(bytes, limits);
  const { plan, stored, tensors } = await withH5(bounds(bytes, structure, limits), async (process) => {
    const description = await process.open(bytes);
    const plan = planOf(description, limits);
    const stored = locateByLayer(plan.weights, description.weightNames, structure);
    return { plan, stored, tensors: await readCompressed(process, compressed(stored)) };
  });
  return modelOf(plan, stored, bytes, tensors);
}

/** The weights of a `.keras` archive: the architecture is known from elsewhere. */
export async function readKerasWeights(
  bytes: Buffer,
  plan: KerasPlan,
  limits: KerasLimits,
): Promise<KerasModel> {
  const structure = structureOf(bytes, limits);
  const stored = locateByFolder(plan.weights, structure);
  return modelOf(plan, stored, bytes, await throughLibrary(bytes, structure, stored, limits));
}

/** As Keras writes them, weights are not compressed, and the library is not needed. */
async function throughLibrary(
  bytes: Buffer,
  structure: Hdf5Group,
  stored: (StoredWeight | undefined)[],
  limits: KerasLimits,
): Promise<Map<string, H5Tensor>> {
  const wanted = compressed(stored);
  if (wanted.length === 0) return new Map();
  return withH5(bounds(bytes, structure, limits), async (process) => {
    await process.open(bytes);
    return readCompressed(process, wanted);
  });
}

function structureOf(bytes: Buffer, limits: KerasLimits): Hdf5Group {
  return readStructure(bytes, {
    maxDatasetBytes: limits.maxParameters * 4,
    maxStructures: limits.maxStructures,
  });
}

function bounds(
  bytes: Buffer,
  structure: Hdf5Group,
  limits: KerasLimits,
): { maxWasmBytes: number; deadlineMs: number } {
  // One tensor at a time is in the library's memory, next to what it works with.
  return {
    maxWasmBytes: libraryBytes + bytes.length + largestDataset(structure),
    deadlineMs: limits.deadlineMs,
  };
}

function planOf(description: H5Description, limits: KerasLimits): KerasPlan {
  if (description.modelConfig === undefined)
    throw new CommonwattError(
      'UNSUPPORTED_FORMAT',
      'the HDF5 file has no attribute model_config: it is not a whole Keras model',
      {
        where: 'model_config',
        hint: 'save the model, not its weights alone: model.save("model.keras") instead of model.save_weights(…)',
      },
    );
  return planFromConfig(description.modelConfig, description.kerasVersion, limits);
}
