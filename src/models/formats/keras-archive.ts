/** Reads the `.keras` archive of Keras 3 (and of 2.12 and later): config.json, metadata.json, model.weights.h5. */
import { z } from 'zod';
import { CommonwattError } from '../../errors.ts';
import type { ZipFiles } from '../../zip.ts';
import { parseModelConfig } from './keras-config.ts';
import { type KerasLimits, readKerasWeights } from './keras-h5-read.ts';
import type { KerasModel } from './keras-model.ts';
import { planFromJson } from './keras-plan.ts';
import { damaged } from './keras-weights.ts';

const configName = 'config.json';
const weightsName = 'model.weights.h5';
/** A configuration of a thousand layers has about a megabyte. */
const maxConfigBytes = 32 * 1024 * 1024;

export function isKerasArchive(archive: ZipFiles): boolean {
  return archive.has(configName) && [...archive.keys()].some((name) => name.startsWith('model.weights'));
}

/** Throws CORRUPT_MODEL, UNSAFE_MODEL, UNSUPPORTED_LAYER or UNSUPPORTED_FORMAT. */
export async function readKerasArchive(archive: ZipFiles, limits: KerasLimits): Promise<KerasModel> {
  const config = textOf(archive, configName, maxConfigBytes);
  const version = kerasVersion(textOf(archive, 'metadata.json', 65_536));
  const plan = planFromJson(parseModelConfig(config ?? ''), version, limits);
  const weights = archive.get(weightsName)?.read();
  if (!weights)
    throw new CommonwattError(
      'UNSUPPORTED_FORMAT',
      `the .keras archive has no ${weightsName}: its weights are in several files`,
      {
        where: weightsName,
        hint: 'save the model with model.save("model.keras"), without max_shard_size',
      },
    );
  return readKerasWeights(Buffer.from(weights.buffer, weights.byteOffset, weights.length), plan, limits);
}

function textOf(archive: ZipFiles, name: string, maxBytes: number): string | undefined {
  const file = archive.get(name);
  if (file && file.sizeBytes > maxBytes) throw damaged(`${name} has ${file.sizeBytes} bytes`, name);
  return file && Buffer.from(file.read()).toString('utf8');
}

function kerasVersion(metadata: string | undefined): string {
  const parsed = z
    .looseObject({ keras_version: z.string() })
    .safeParse(metadata && parseModelConfig(metadata));
  // Only Keras 3 writes the format without naming itself.
  return parsed.success ? parsed.data.keras_version : '3.0.0';
}
