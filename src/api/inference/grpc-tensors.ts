/**
 * Requests and tensors of the gRPC form of the Open Inference Protocol, both ways: typed `contents`, or raw bytes. Raw
 * bytes are little-endian, as is every processor that the runtime exists for, so they are copied and not converted.
 */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { ModelSignature, TensorSpec } from '../../models/models.ts';
import {
  bytesPerElement,
  type Datatype,
  elementsOf,
  emptyData,
  packBytes,
  type Tensor,
  type TensorData,
  unpackBytes,
  viewOf,
} from '../../runtimes/tensor.ts';
import { wantedOutputs } from './outputs.ts';
import { countParameter, type Parameters, readSchedule, refuseSharedMemory } from './parameters.ts';
import {
  type InferTensorContents,
  InferTensorContentsSchema,
  type ModelInferRequest,
  type ModelInferRequest_InferInputTensor,
  type ModelInferResponse,
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
  // They have no typed form.
  FP16: undefined,
  BF16: undefined,
  BYTES: 'bytesContents',
} as const satisfies Record<Datatype, Field | undefined>;

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

/** Throws INVALID_TENSOR or INVALID_REQUEST with what was wrong, where, and what would be right. */
export function readInferRequest(request: ModelInferRequest, signature: ModelSignature): InferRequest {
  const { inputs, rawInputContents: raw, id } = request;
  const isRaw = raw.length > 0;
  if (isRaw && raw.length !== inputs.length)
    throw invalid(
      'raw_input_contents',
      `has ${raw.length} entries for ${inputs.length} inputs; it needs one for each, in their order`,
      'raw_input_contents',
    );
  const { priority, timeoutMs, variants } = readSchedule(plain(request.parameters));
  return {
    id: id === '' ? undefined : id,
    inputs: orderInputs(inputs, signature.inputs, (input, spec, where, index) => {
      checkDatatype(input.datatype, spec, where);
      refuseSharedMemory(plain(input.parameters), where);
      const shape = checkShape(input.shape.map(Number), spec, where);
      const data = isRaw
        ? readRaw(raw[index], input, spec, shape, index)
        : readTyped(input, spec, shape, where);
      return { name: spec.name, datatype: spec.datatype, shape, data };
    }),
    outputs: wantedOutputs(request.outputs.map(readOutput), signature.outputs),
    priority,
    timeoutMs,
    variants,
  };
}

function readOutput(
  { name, parameters }: ModelInferRequest['outputs'][number],
  index: number,
): { name: string; classes: number | undefined } {
  const where = `outputs[${index}]`;
  const given = plain(parameters);
  refuseSharedMemory(given, where);
  return { name, classes: countParameter(given, 'classification', `${where}.parameters`) };
}

function plain(parameters: ModelInferRequest['parameters']): Parameters {
  let scalars: Record<string, unknown> | undefined;
  for (const name of Object.keys(parameters)) {
    scalars ??= Object.create(null) as Record<string, unknown>;
    scalars[name] = parameters[name]?.parameterChoice.value;
  }
  return scalars ?? none;
}

const none: Parameters = {};

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
  const elements = elementsOf(shape);
  const each = bytesPerElement(datatype);
  if (!bytes || (each !== null && bytes.length !== elements * each))
    throw invalid(
      where,
      `has ${bytes?.length ?? 0} bytes; ${datatype} of shape [${shape.join(', ')}] needs ${elements * (each ?? 1)}`,
      where,
    );
  // A copy of its own: what was received begins anywhere, and elements must be aligned.
  const data = viewOf(datatype, new Uint8Array(bytes).buffer, 0, each === null ? bytes.length : elements);
  checkValues(data, datatype, where, shape);
  return data;
}

function readTyped(
  { contents }: ModelInferRequest_InferInputTensor,
  { datatype }: TensorSpec,
  shape: readonly number[],
  where: string,
): TensorData {
  const field = fieldOf[datatype];
  if (!field)
    throw invalid(
      `${where}.contents`,
      `cannot carry ${datatype}, which has no typed form; send it in raw_input_contents`,
      `${where}.contents`,
    );
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
  if (datatype === 'BYTES') return packBytes(contents?.bytesContents ?? []);
  const data = emptyData(datatype, elements.length);
  // 64-bit integers arrive whole, so they may be larger than what JSON can carry.
  if (data instanceof BigInt64Array) data.set(contents?.int64Contents ?? []);
  else if (data instanceof BigUint64Array) data.set(contents?.uint64Contents ?? []);
  else fill(data, elements, datatype, at);
  return data;
}

type Written = Pick<ModelInferResponse, 'outputs' | 'rawOutputContents'>;

/** The outputs in the form of the request: raw bytes apart, or typed contents within, when all of them have that form. */
export function writeOutputs(outputs: readonly Tensor[], requestIsRaw: boolean): Written {
  const isRaw = requestIsRaw || outputs.some(({ datatype }) => fieldOf[datatype] === undefined);
  return {
    outputs: outputs.map((tensor) => ({
      $typeName: 'inference.ModelInferResponse.InferOutputTensor',
      name: tensor.name,
      datatype: tensor.datatype,
      shape: tensor.shape.map(BigInt),
      parameters: {},
      ...(isRaw ? {} : { contents: typed(tensor) }),
    })),
    rawOutputContents: isRaw
      ? outputs.map(({ data }) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
      : [],
  };
}

function typed({ datatype, data }: Tensor): InferTensorContents {
  return create(InferTensorContentsSchema, typedFields(datatype, data));
}

function typedFields(
  datatype: Datatype,
  data: TensorData,
): MessageInitShape<typeof InferTensorContentsSchema> {
  if (data instanceof BigInt64Array) return { int64Contents: Array.from(data) };
  if (data instanceof BigUint64Array) return { uint64Contents: Array.from(data) };
  if (datatype === 'BYTES') return { bytesContents: unpackBytes(data as Uint8Array) };
  if (datatype === 'BOOL') return { boolContents: Array.from(data, Boolean) };
  return { [fieldOf[datatype] ?? '']: Array.from(data) };
}
