/**
 * The formats of models: recognise, check for safety, inspect, convert.
 *
 * In: the bytes of an artifact from anyone. Out: what it is, its inputs and outputs, its layers, and the ONNX
 * form that runners load. Promise: no code in an artifact is run, no file but the artifact is read, time and
 * memory are bounded, and every refusal says what was wrong, where, and what would be right.
 * A new format: one file that reads it into a `Graph` or ONNX, and a line in `inspectArtifact`.
 */
import { CommonwattError } from '../../errors.ts';
import { readZip } from '../../zip.ts';
import type { ArtifactFormat, ModelSignature } from '../models.ts';
import { inspectBundle, isBundle } from './bundle.ts';
import type { LayerInfo, Port } from './graph.ts';
import { hdf5Signature } from './hdf5-structure.ts';
import { isKerasArchive, readKerasArchive } from './keras-archive.ts';
import { type KerasLimits, readKerasH5 } from './keras-h5-read.ts';
import type { KerasModel } from './keras-model.ts';
import { inspectOnnx } from './onnx-read.ts';
import type { WeighLimits } from './onnx-weigh.ts';
import { writeOnnx } from './onnx-write.ts';
import { isTfjsArchive, readTfjsArchive } from './tfjs-archive.ts';

export interface InspectedModel {
  format: ArtifactFormat;
  signature: ModelSignature;
  /** The form that is served: for an ONNX artifact its own bytes, for a pipeline the bundle that runners load. */
  onnx: Uint8Array;
  layers: LayerInfo[];
  parameters: number;
}

export interface FormatLimits extends KerasLimits, WeighLimits {
  /** Largest Keras file, bytes: while it is read it is in memory several times. */
  maxKerasBytes: number;
  /** Files in an archive. */
  maxEntries: number;
  /** Largest ONNX file, bytes. Protocol buffers end at 2 GiB. */
  maxOnnxBytes: number;
}

const defaultLimits: FormatLimits = {
  maxKerasBytes: 256 * 1024 * 1024,
  maxOnnxBytes: 2 * 1024 * 1024 * 1024 - 1,
  maxEntries: 10_000,
  maxLayers: 1000,
  maxParameters: 64 * 1024 * 1024,
  maxRowElements: 16 * 1024 * 1024,
  maxStructures: 200_000,
  maxMessages: 1_000_000,
  maxScalars: 32 * 1024 * 1024,
  deadlineMs: 30_000,
};

/** Throws UNSUPPORTED_FORMAT, CORRUPT_MODEL, UNSAFE_MODEL, UNSUPPORTED_LAYER or PAYLOAD_TOO_LARGE. */
export async function inspectArtifact(
  bytes: Buffer,
  limits: Partial<FormatLimits> = {},
): Promise<InspectedModel> {
  const all = { ...defaultLimits, ...limits };
  if (isBundle(bytes)) return inspectBundle(bytes, all);
  const format = detectFormat(bytes);
  if (format === 'onnx') {
    checkSize(bytes, all.maxOnnxBytes, 'ONNX');
    return { format, onnx: bytes, ...inspectOnnx(bytes, all) };
  }
  checkSize(bytes, all.maxKerasBytes, 'Keras');
  if (format === 'zip') return inspectArchive(bytes, all);
  return converted(format, await readKerasH5(bytes, all));
}

async function inspectArchive(bytes: Buffer, limits: FormatLimits): Promise<InspectedModel> {
  const archive = readZip(bytes, { maxEntries: limits.maxEntries, maxBytes: limits.maxKerasBytes });
  if (isKerasArchive(archive)) return converted('keras', await readKerasArchive(archive, limits));
  if (isTfjsArchive(archive)) return converted('tfjs-layers', readTfjsArchive(archive, limits));
  const names = [...archive.keys()].slice(0, 5);
  throw new CommonwattError(
    'UNSUPPORTED_FORMAT',
    `the model's format is not supported: a zip archive of ${names.join(', ').slice(0, 200) || 'nothing'}`,
    { where: 'archive', hint: `${supported}; for PyTorch, export to ONNX with torch.onnx.export` },
  );
}

async function converted(format: ArtifactFormat, model: KerasModel): Promise<InspectedModel> {
  const specs = (ports: Port[]) =>
    ports.map(({ name, value }) => ({
      name,
      datatype: value.datatype,
      shape: value.shape.map((dim) => dim ?? -1),
    }));
  return {
    format,
    signature: { inputs: specs(model.graph.inputs), outputs: specs(model.graph.outputs) },
    onnx: await writeOnnx(model.graph, 'keras', model.stored),
    layers: model.layers,
    parameters: model.parameters,
  };
}

/** By its first bytes. Throws UNSUPPORTED_FORMAT, naming what it is instead where that is known. */
function detectFormat(bytes: Uint8Array): 'keras-h5' | 'onnx' | 'zip' {
  if (hdf5Signature.equals(bytes.subarray(0, hdf5Signature.length))) return 'keras-h5';
  if (looksLikeOnnx(bytes)) return 'onnx';
  if (zipSignature.equals(bytes.subarray(0, zipSignature.length))) return 'zip';
  const start = Buffer.from(bytes.subarray(0, 8));
  const foreign = foreignFormats.find(({ magic }) => start.subarray(0, magic.length).equals(magic));
  const seen = bytes.length === 0 ? 'the file is empty' : `it begins with the bytes ${start.toString('hex')}`;
  throw new CommonwattError(
    'UNSUPPORTED_FORMAT',
    `the model's format is not supported: ${seen}${foreign ? `, ${foreign.name}` : ''}`,
    { where: 'byte 0', hint: foreign?.hint ?? supported },
  );
}

const supported =
  'supported are Keras (.keras and .h5), ONNX (.onnx), and archives of a pipeline or a tf.js layers model';
const zipSignature = Buffer.from('PK\x03\x04');

const foreignFormats = [
  {
    magic: Buffer.from([0x80]),
    name: 'a Python pickle, which can carry code',
    hint: 'export to ONNX instead: skl2onnx for scikit-learn, torch.onnx.export for PyTorch',
  },
  { magic: Buffer.from('GGUF'), name: 'a GGUF language model', hint: supported },
];

/**
 * ONNX has no signature. Writers put the fields of ModelProto in order, so a file begins with ir_version
 * (field 1, a small number) and goes on with one of the fields that follow it.
 */
function looksLikeOnnx(bytes: Uint8Array): boolean {
  const [tag, version, next] = bytes;
  return (
    tag === 0x08 &&
    version !== undefined &&
    version < 0x80 &&
    (next === undefined || [0x12, 0x1a, 0x22, 0x28, 0x32, 0x3a, 0x42, 0x72].includes(next))
  );
}

function checkSize(bytes: Buffer, max: number, what: string): void {
  if (bytes.length <= max) return;
  throw new CommonwattError(
    'PAYLOAD_TOO_LARGE',
    `the ${what} file has ${bytes.length} bytes; at most ${max} are read`,
    {
      where: 'body',
      hint:
        what === 'Keras' ? 'export it to ONNX instead, which has a larger limit' : 'import a smaller model',
    },
  );
}
