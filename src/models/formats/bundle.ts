/**
 * Bundles: zip archives of an ONNX model and what belongs to it. With the files of a Hugging Face model beside it (or a
 * `commonwatt.yaml` that names a task) it is a pipeline; otherwise the model with its external data.
 */
import { CommonwattError } from '../../errors.ts';
import { readZip, type ZipFiles } from '../../zip.ts';
import { inspectPipeline } from './bundle-pipeline.ts';
import type { InspectedModel } from './formats.ts';
import { foldExternalData, maxOnnxBytes } from './onnx-external.ts';
import { inspectOnnx } from './onnx-read.ts';
import type { WeighLimits } from './onnx-weigh.ts';

export interface Bundle {
  files: ZipFiles;
  /** Where the files lie, '' or ending with a slash. */
  root: string;
  /** Text of a file of the root, bounded; undefined: there is none. */
  text(name: string): string | undefined;
}

const maxEntries = 2000;
/** Besides the model and its data; a tokenizer of 250,000 words has 17 MB. */
const maxTextBytes = 64 * 1024 * 1024;

/** True for a zip archive with an ONNX model in it; a damaged one still holds the names of its files. */
export function isBundle(bytes: Buffer): boolean {
  if (!looksLikeZip(bytes)) return false;
  try {
    return [...openZip(bytes).keys()].some((name) => name.endsWith('.onnx'));
  } catch (error) {
    if (bytes.includes('.onnx')) throw error;
    return false;
  }
}

function looksLikeZip(bytes: Uint8Array): boolean {
  return Buffer.from(bytes.subarray(0, 4)).toString('latin1') === 'PK\x03\x04';
}

/** Throws CORRUPT_MODEL, UNSAFE_MODEL, UNSUPPORTED_FORMAT, UNSUPPORTED_LAYER, PAYLOAD_TOO_LARGE. */
export function inspectBundle(bytes: Uint8Array, limits: WeighLimits): InspectedModel {
  const files = openZip(bytes);
  const model = findModel(files);
  const folder = model.slice(0, model.lastIndexOf('/') + 1);
  // Hugging Face's repositories keep exported models in a folder of their own.
  const root = folder.endsWith('onnx/') ? folder.slice(0, -'onnx/'.length) : folder;
  const bundle: Bundle = {
    files,
    root,
    text(name) {
      const file = files.get(root + name);
      if (file && file.sizeBytes > maxTextBytes)
        throw new CommonwattError('PAYLOAD_TOO_LARGE', `${name} has ${file.sizeBytes} bytes`, {
          where: name,
          hint: `at most ${maxTextBytes} are read`,
        });
      return file && Buffer.from(file.read()).toString('utf8');
    },
  };
  const onnx = foldExternalData(files.get(model)?.read() ?? new Uint8Array(), files, folder, limits);
  const inspected = inspectOnnx(onnx, limits);
  const marks = ['commonwatt.yaml', 'tokenizer.json', 'preprocessor_config.json', 'tokenizer_config.json'];
  if (!marks.some((name) => files.has(root + name))) return { format: 'onnx', onnx, ...inspected };
  return { ...inspected, format: 'pipeline', ...inspectPipeline(bundle, onnx, inspected.signature) };
}

function openZip(bytes: Uint8Array): ZipFiles {
  return readZip(bytes, { maxEntries, maxBytes: maxOnnxBytes + maxTextBytes });
}

/** `model.onnx`, or the only one there is. */
function findModel(files: ZipFiles): string {
  const models = [...files.keys()].filter((name) => name.endsWith('.onnx'));
  const named = models.filter((name) => name === 'model.onnx' || name.endsWith('/model.onnx'));
  const [found, ...more] = named.length > 0 ? named : models;
  if (found !== undefined && more.length === 0) return found;
  throw new CommonwattError(
    'UNSUPPORTED_FORMAT',
    found === undefined
      ? 'the archive has no ONNX model'
      : `the archive has ${models.length} ONNX models: ${models.slice(0, 5).join(', ')}`,
    { where: 'archive', hint: 'pack one folder with one model.onnx in it' },
  );
}
