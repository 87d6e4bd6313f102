/** Tensors as onnxruntime's JavaScript API has them, and back. */
import { isUtf8 } from 'node:buffer';
import { Tensor as OrtTensor } from 'onnxruntime-node';
import { type Datatype, packBytes, type Tensor, type TensorData, unpackBytes, viewOf } from './tensor.ts';

const ortTypes = {
  BOOL: 'bool',
  UINT8: 'uint8',
  INT8: 'int8',
  INT32: 'int32',
  INT64: 'int64',
  FP32: 'float32',
  FP64: 'float64',
  UINT16: 'uint16',
  UINT32: 'uint32',
  UINT64: 'uint64',
  INT16: 'int16',
  FP16: 'float16',
  BYTES: 'string',
  // Served as what it is widened to (onnx-bfloat16.ts).
  BF16: 'float32',
} as const satisfies Record<Datatype, string>;

const datatypeOf = new Map<string, Datatype>(
  Object.entries(ortTypes)
    .filter(([ours]) => ours !== 'BF16')
    .map(([ours, theirs]) => [theirs, ours as Datatype]),
);

export function toOrt({ name, datatype, shape, data }: Tensor): OrtTensor {
  if (datatype === 'BYTES') return new OrtTensor('string', textsOf(name, data as Uint8Array), shape);
  if (datatype === 'BF16') return new OrtTensor('float32', widen(data as Uint16Array), shape);
  if (datatype === 'FP16') return halfTensor(data as Uint16Array, shape);
  return new OrtTensor(ortTypes[datatype], data, shape);
}

/** As the datatype that the model gives, which its JavaScript form does not say for BF16. */
export function fromOrt(name: string, { type, dims, data }: OrtTensor, as = datatypeOf.get(type)): Tensor {
  if (!as) throw new Error(`output ${name} has the datatype ${type}, which is not served`);
  return { name, datatype: as, shape: [...dims], data: dataOf(as, data) };
}

function dataOf(datatype: Datatype, data: OrtTensor['data']): TensorData {
  if (datatype === 'BYTES') return packBytes((data as string[]).map((text) => Buffer.from(text)));
  if (datatype === 'BF16') return narrow(data as Float32Array);
  const { buffer, byteOffset, length } = data as Float32Array;
  return viewOf(datatype, buffer, byteOffset, length);
}

/**
 * Where the engine knows Float16Array (Node 24), onnxruntime's constructor makes one of these bits, which its native
 * half then takes for empty: the tensor is made of plain bits and named what it is afterwards.
 */
function halfTensor(bits: Uint16Array, shape: readonly number[]): OrtTensor {
  const tensor: OrtTensor = new OrtTensor('uint16', bits, shape);
  return Object.assign(tensor, { type: 'float16' as const });
}

/** onnxruntime's strings are C strings of UTF-8 on their way in: what it would cut or garble is refused. */
function textsOf(name: string, packed: Uint8Array): string[] {
  return unpackBytes(packed).map((element, index) => {
    if (!isUtf8(element)) throw new Error(`element ${index} of input ${name} is not UTF-8 text`);
    if (element.includes(0)) throw new Error(`element ${index} of input ${name} has a NUL character`);
    return Buffer.from(element.buffer, element.byteOffset, element.byteLength).toString('utf8');
  });
}

function widen(bits: Uint16Array): Float32Array {
  const wide = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) wide[i] = (bits[i] ?? 0) << 16;
  return new Float32Array(wide.buffer);
}

/** The values are bfloat16 already: nothing is rounded. */
function narrow(values: Float32Array): Uint16Array {
  const wide = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const bits = new Uint16Array(wide.length);
  for (let i = 0; i < wide.length; i++) bits[i] = (wide[i] ?? 0) >>> 16;
  return bits;
}
