/**
 * Reads a TensorFlow.js layers model: an archive of `model.json` and the weight shards it names. The architecture
 * is in Keras's words; the weights are in groups, each cut into shards, and may be quantised.
 */
import { z } from 'zod';
import { CommonwattError } from '../../errors.ts';
import type { ZipFiles } from '../../zip.ts';
import { quote } from '../names.ts';
import { allFinite } from './hdf5-read.ts';
import { exportHint, parseModelConfig } from './keras-config.ts';
import { type KerasModel, withWeights } from './keras-model.ts';
import { type ConfigLimits, planFromJson } from './keras-plan.ts';
import {
  damagedTfjs,
  locateByName,
  shardName,
  type TfjsWeight,
  valuesOf,
  weightSpec,
} from './tfjs-weights.ts';

const modelFile = 'model.json';
const maxModelBytes = 32 * 1024 * 1024;
const groupsSchema = z.array(z.looseObject({ paths: z.array(z.string()), weights: z.array(weightSpec) }));
const topologySchema = z.looseObject({ class_name: z.string() });
const modelSchema = z.looseObject({
  format: z.string().nullish(),
  // The converter wraps the model in what a Keras file says about it; TensorFlow.js itself does not.
  modelTopology: z.union([
    z
      .looseObject({ model_config: topologySchema, keras_version: z.string().optional() })
      .transform(({ model_config, keras_version }) => ({ config: model_config, version: keras_version })),
    topologySchema.transform((config) => ({ config, version: textOf(config.keras_version) })),
  ]),
  weightsManifest: groupsSchema.default([]),
});

/** The folder of the archive that `model.json` is in; undefined for another kind of archive. */
function folderOf(archive: ZipFiles): string | undefined {
  const found = [...archive.keys()].filter((name) => name === modelFile || name.endsWith(`/${modelFile}`));
  return found.length === 1 ? found[0]?.slice(0, -modelFile.length) : undefined;
}

export function isTfjsArchive(archive: ZipFiles): boolean {
  return folderOf(archive) !== undefined;
}

/** Throws CORRUPT_MODEL, UNSAFE_MODEL, UNSUPPORTED_LAYER or UNSUPPORTED_FORMAT. */
export function readTfjsArchive(archive: ZipFiles, limits: ConfigLimits): KerasModel {
  const folder = folderOf(archive) ?? '';
  const file = archive.get(folder + modelFile);
  if (!file || file.sizeBytes > maxModelBytes)
    throw damagedTfjs(`${modelFile} is missing or too large`, modelFile);
  const json = parseModelConfig(Buffer.from(file.read()).toString('utf8'));
  const format = z.looseObject({ format: z.string() }).safeParse(json);
  if (format.success && format.data.format !== 'layers-model')
    throw new CommonwattError('UNSUPPORTED_FORMAT', `the tf.js model is a ${quote(format.data.format)}`, {
      where: `${modelFile}: format`,
      hint: `layers models are converted; ${exportHint}, or tf2onnx --tfjs for a graph model`,
    });
  const parsed = modelSchema.safeParse(json);
  if (!parsed.success)
    throw damagedTfjs(
      `${parsed.error.issues[0]?.path.join('.') || modelFile}: ${parsed.error.issues[0]?.message}`,
      modelFile,
    );
  const { modelTopology, weightsManifest } = parsed.data;
  const plan = planFromJson(modelTopology.config, modelTopology.version, limits);
  const weights = weightsManifest.flatMap((group) => readGroup(archive, folder, group));
  const located = locateByName(plan.weights, weights);
  return withWeights(plan, (index) => {
    const weight = located[index];
    if (!weight) throw new Error(`weight ${index} was not located`);
    const data = valuesOf(weight);
    return { data, finite: allFinite(data) };
  });
}

/** The shards of a group are one long row of bytes, in which its weights lie one after another. */
function readGroup(
  archive: ZipFiles,
  folder: string,
  group: z.infer<typeof groupsSchema>[number],
): TfjsWeight[] {
  const shards = group.paths.map((path) => {
    const name = folder + shardName(path);
    const shard = archive.get(name)?.read();
    if (!shard) throw damagedTfjs(`the shard ${quote(name)} is not in the archive`, name);
    return shard;
  });
  const [only] = shards;
  const bytes =
    shards.length === 1 && only
      ? Buffer.from(only.buffer, only.byteOffset, only.length)
      : Buffer.concat(shards);
  let offset = 0;
  return group.weights.map((spec) => {
    const weight: TfjsWeight = { spec, bytes, offset };
    const size = spec.shape.reduce((all, dim) => all * dim, 1) * bytesPerElement(spec);
    offset += size;
    if (offset > bytes.length)
      throw damagedTfjs(
        `the weight ${quote(spec.name)} of ${size} bytes is beyond the ${bytes.length} bytes of its shards`,
        spec.name,
      );
    return weight;
  });
}

const bytesOf = new Map([
  ['float32', 4],
  ['int32', 4],
  ['bool', 1],
  ['uint8', 1],
  ['uint16', 2],
  ['float16', 2],
]);

function bytesPerElement(spec: z.infer<typeof weightSpec>): number {
  const dtype = spec.quantization?.dtype ?? spec.dtype;
  const size = bytesOf.get(dtype);
  if (size !== undefined) return size;
  throw new CommonwattError('UNSUPPORTED_LAYER', `the weight ${quote(spec.name)} is ${dtype}`, {
    where: spec.name,
    hint: exportHint,
  });
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
