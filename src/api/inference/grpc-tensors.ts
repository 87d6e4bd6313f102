/**
 * Tensors of the gRPC form of the Open Inference Protocol, both ways: typed `contents`, or raw bytes. Raw bytes are
 * little-endian, as is every processor that the runtime exists for, so they are copied and not converted.
 */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { ModelSignature, TensorSpec } from '../../models/models.ts';
import {
  bytesPerElement,
  type Datatype,
  elementsOf,
  emptyData,
  type Tensor,
  type TensorData,
  viewOf,
} from '../../runtimes/tensor.ts';
import { wantedOutputs } from './outputs.ts';
import {
  type InferTensorContents,
  InferTensorContentsSchema,
  type ModelInferRequest,
  type ModelInferRequest_InferInputTensor,
  type ModelInferResponse_InferOutputTensorSchema,
} from './proto/open_inference_grpc_pb.ts';
import {
  checkCount,
  checkDatatype,
  checkShape,
  checkValues,
  fill,
  type InferRequest,
  invalid,
  orderInputs,
} from './tensors.ts';

type Field = Exclude<keyof InferTensorContents, '$typeName' | '$unknown'>;

/** Where the protocol puts the elements of each datatype. */
const fieldOf = {
  BOOL: 'boolContents',
  UINT8: 'uintContents',
  INT8: 'intContents',
  INT32: 'intContents',
  INT64: 'int64Contents',
  FP32: 'fp32Contents',
  FP64: 'fp64Contents',
  UINT16: 'uintContents',
  UINT32: 'uintContents',
  UINT64: 'uint64Contents',
  INT16: 'intContents',
  FP16: 'uintContents',
  BF16: 'uintContents',
  BYTES: 'bytesContents',
} as const satisfies Record<Datatype, Field>;

const protoName = {
  boolContents: 'bool_contents',
  intContents: 'int_contents',
  int64Contents: 'int64_contents',
  uintContents: 'uint_contents',
  uint64Contents: 'uint64_contents',
  fp32Contents: 'fp32_contents',
  fp64Contents: 'fp64_contents',
  bytesContents: 'bytes_contents',
} as const satisfies Record<Field, string>;

const fields = Object.keys(protoName) as Field[];

/** Throws INVALID_TENSOR with what was wrong, where, and what would be right. */
export function readInferRequest(request: ModelInferRequest, signature: ModelSignature): InferRequest {
  const { inputs, rawInputContents: raw, outputs, id } = request;
  const isRaw = raw.length > 0;
  if (isRaw && raw.length !== inputs.length)
    throw invalid(
      'raw_input_contents',
      `has ${raw.length} entries for ${inputs.length} inputs; it needs one for each, in their order`,
      'raw_input_contents',
    );
  return {
    id: id === '' ? undefined : id,
    inputs: orderInputs(inputs, signature.inputs, (input, spec, where, index) => {
      checkDatatype(input.datatype, spec, where);
      const shape = checkShape(input.shape.map(Number), spec, where);
      const data = isRaw
        ? readRaw(raw[index], input, spec, shape, index)
        : readTyped(input, spec, shape, where);
      return { name: spec.name, datatype: spec.datatype, shape, data };
    }),
    outputs: wantedOutputs(
      outputs.map(({ name }) => ({ name })),
      signature.outputs,
    ),
    priority: undefined,
    timeoutMs: undefined,
  };
}

function readRaw(
  bytes: Uint8Array | undefined,
  { contents }: ModelInferRequest_InferInputTensor,
  { datatype }: TensorSpec,
  shape: readonly number[],
  index: number,
): TensorData {
  if (contents && fields.some((field) => contents[field].length > 0))
    throw invalid(
      `inputs[${index}].contents`,
      'is given although raw_input_contents is; use one of the two for the whole request',
      `inputs[${index}].contents`,
    );
  const where = `raw_input_contents[${index}]`;
  const length = elementsOf(shape);
  const size = length * (bytesPerElement(datatype) ?? 1);
  if (bytes?.length !== size)
    throw invalid(
      where,
      `has ${bytes?.length ?? 0} bytes; ${datatype} of shape [${shape.join(', ')}] needs ${size}`,
      where,
    );
  // A copy of its own: what was received begins anywhere, and elements must be aligned.
  const data = viewOf(datatype, new Uint8Array(bytes).buffer, 0, length);
  checkValues(data, datatype, where);
  return data;
}

function readTyped(
  { contents }: ModelInferRequest_InferInputTensor,
  { datatype }: TensorSpec,
  shape: readonly number[],
  where: string,
): TensorData {
  const field = fieldOf[datatype];
  const at = `${where}.contents.${protoName[field]}`;
  const stray = contents && fields.find((other) => other !== field && contents[other].length > 0);
  if (stray)
    throw invalid(
      `${where}.contents.${protoName[stray]}`,
      `is given; the elements of ${datatype} go into ${protoName[field]}`,
      at,
    );
  const elements = contents?.[field] ?? [];
  checkCount(elements.length, shape, at);
  const data = emptyData(datatype, elements.length);
  // 64-bit integers arrive whole, so they may be larger than what JSON can carry.
  if (data instanceof BigInt64Array) data.set(contents?.int64Contents ?? []);
  else fill(data, elements, datatype, at);
  return data;
}

type OutputInit = MessageInitShape<typeof ModelInferResponse_InferOutputTensorSchema>;

/** The outputs in the form of the request: raw bytes apart, or typed contents within. */
export function writeOutputs(
  outputs: readonly Tensor[],
  asRaw: boolean,
): { outputs: OutputInit[]; rawOutputContents: Uint8Array[] } {
  return {
    outputs: outputs.map(({ name, datatype, shape, data }) => ({
      name,
      datatype,
      shape: shape.map(BigInt),
      ...(asRaw ? {} : { contents: typed(datatype, data) }),
    })),
    rawOutputContents: asRaw
      ? outputs.map(({ data }) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
      : [],
  };
}

function typed(datatype: Datatype, data: TensorData): InferTensorContents {
  if (data instanceof BigInt64Array)
    return create(InferTensorContentsSchema, { int64Contents: Array.from(data) });
  const numbers = Array.from(data, Number);
  return create(
    InferTensorContentsSchema,
    datatype === 'BOOL' ? { boolContents: numbers.map(Boolean) } : { [fieldOf[datatype]]: numbers },
  );
}
