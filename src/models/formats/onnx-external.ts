/**
 * ONNX models whose weights lie in files beside them ("external data"): folded into one file, which is what is kept
 * and served. Only files of the same bundle are read, by plain relative names.
 */
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { CommonwattError } from '../../errors.ts';
import type { ZipFiles } from '../../zip.ts';
import { quote } from '../names.ts';
import { ModelProtoSchema, type TensorProto, TensorProto_DataLocation } from './onnx_pb.ts';
import { allTensors, elementsOf, mismatch, rawBytes } from './onnx-tensors.ts';
import { damagedOnnx, type WeighLimits, weighOnnx } from './onnx-weigh.ts';

/** Protocol buffers end at 2 GiB. */
export const maxOnnxBytes = 2 ** 31 - 1;

/** `folder` is where the model lies in the bundle, '' or ending with a slash. Throws CORRUPT_MODEL, UNSAFE_MODEL, PAYLOAD_TOO_LARGE. */
export function foldExternalData(
  bytes: Uint8Array,
  files: ZipFiles,
  folder: string,
  limits: WeighLimits,
): Uint8Array {
  const { external } = weighOnnx(bytes, limits, { external: true });
  if (!external) return bytes;
  const model = fromBinary(ModelProtoSchema, bytes, { readUnknownFields: false });
  const read = new Map<string, Uint8Array>();
  let total = bytes.length;
  for (const tensor of allTensors(model)) {
    if (tensor.dataLocation !== TensorProto_DataLocation.EXTERNAL) {
      if (tensor.externalData.length > 0)
        throw damagedOnnx(`tensor ${quote(tensor.name)} names a file but has its data here`, where(tensor));
      continue;
    }
    tensor.rawData = dataOf(tensor, files, folder, read);
    tensor.externalData = [];
    tensor.dataLocation = TensorProto_DataLocation.DEFAULT;
    total += tensor.rawData.length;
    if (total > maxOnnxBytes)
      throw new CommonwattError(
        'PAYLOAD_TOO_LARGE',
        `the ONNX model and its external data have more than ${maxOnnxBytes} bytes, which is where ONNX files end`,
        { where: where(tensor), hint: 'quantise its weights to 8 bits or half precision' },
      );
  }
  return toBinary(ModelProtoSchema, model);
}

function dataOf(
  tensor: TensorProto,
  files: ZipFiles,
  folder: string,
  read: Map<string, Uint8Array>,
): Uint8Array {
  const fields = new Map(tensor.externalData.map(({ key, value }) => [key, value]));
  const name = checkLocation(fields.get('location') ?? '', tensor);
  let file = read.get(name);
  if (!file) {
    const found = files.get(folder + name);
    if (!found)
      throw damagedOnnx(
        `tensor ${quote(tensor.name)} keeps its data in ${quote(name)}, which is not beside the model`,
        where(tensor),
      );
    file = found.read();
    read.set(name, file);
  }
  const offset = wholeNumber(fields.get('offset') ?? '0', 'offset', tensor);
  const length = wholeNumber(fields.get('length') ?? String(file.length - offset), 'length', tensor);
  if (offset + length > file.length)
    throw damagedOnnx(
      `tensor ${quote(tensor.name)} wants the bytes ${offset} to ${offset + length} of ${quote(name)}, which has ${file.length}`,
      where(tensor),
    );
  const declared = rawBytes(tensor, elementsOf(tensor));
  if (declared !== BigInt(length)) throw mismatch(tensor, declared ?? 0n, length, 'bytes');
  return file.subarray(offset, offset + length);
}

function checkLocation(location: string, tensor: TensorProto): string {
  const name = location.replace(/^(\.\/)+/, '');
  const parts = name.split('/');
  const leaves =
    name.includes('\\') ||
    name.includes('\0') ||
    /^[a-z]:/i.test(name) ||
    parts.some((part) => part === '' || part === '.' || part === '..');
  if (!leaves) return name;
  throw new CommonwattError(
    'UNSAFE_MODEL',
    `tensor ${quote(tensor.name)} wants its data from ${quote(location)}, outside the model's own folder`,
    {
      where: where(tensor),
      hint: 'put the data beside the model: onnx.save_model(model, "model.onnx", save_as_external_data=True, location="model.onnx.data")',
    },
  );
}

function wholeNumber(text: string, what: string, tensor: TensorProto): number {
  const value = Number(text);
  if (/^\d{1,16}$/.test(text) && Number.isSafeInteger(value)) return value;
  throw damagedOnnx(
    `tensor ${quote(tensor.name)} has the ${what} ${quote(text)} in its data file`,
    where(tensor),
  );
}

function where(tensor: TensorProto): string {
  return tensor.name.slice(0, 200);
}
