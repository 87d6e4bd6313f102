/** Inspects an ONNX model: its inputs and outputs, its operators, and whether the runtime here can load it. */
import { fromBinary } from '@bufbuild/protobuf';
import { CommonwattError } from '../../errors.ts';
import { bytesPerElement } from '../../runtimes/tensor.ts';
import type { Datatype, ModelSignature, TensorSpec } from '../models.ts';
import { quote } from '../names.ts';
import type { LayerInfo } from './chain.ts';
import {
  type GraphProto,
  type ModelProto,
  ModelProtoSchema,
  type TensorProto,
  TensorProto_DataType,
  type ValueInfoProto,
} from './onnx_pb.ts';
import { damagedOnnx, type WeighLimits, weighOnnx } from './onnx-weigh.ts';

/** What onnxruntime 1.30 loads: tried with every version. */
const opsets = { min: 7, max: 26 };
const irVersions = { min: 3, max: 13 };
/** Domains whose operators the runtime brings along; others need libraries of their own. */
const domains = new Set(['', 'ai.onnx', 'ai.onnx.ml', 'com.microsoft', 'ai.onnx.preview.training']);

const datatypes = new Map<number, Datatype>([
  [TensorProto_DataType.FLOAT, 'FP32'],
  [TensorProto_DataType.DOUBLE, 'FP64'],
  [TensorProto_DataType.INT32, 'INT32'],
  [TensorProto_DataType.INT64, 'INT64'],
  [TensorProto_DataType.INT8, 'INT8'],
  [TensorProto_DataType.UINT8, 'UINT8'],
  [TensorProto_DataType.BOOL, 'BOOL'],
]);
const datatypeNames = new Map<number, string>(
  Object.entries(TensorProto_DataType).map(([name, value]) => [value, name]),
);

export interface InspectedOnnx {
  signature: ModelSignature;
  layers: LayerInfo[];
  parameters: number;
}

/** Throws CORRUPT_MODEL, UNSAFE_MODEL, UNSUPPORTED_FORMAT or UNSUPPORTED_LAYER. */
export function inspectOnnx(bytes: Uint8Array, limits: WeighLimits): InspectedOnnx {
  weighOnnx(bytes, limits);
  const model = decode(bytes);
  checkVersions(model);
  const graph = model.graph;
  if (!graph) throw damagedOnnx('it has no graph', 'graph');
  checkOperators(model, graph);
  const sizes = new Map(graph.initializer.map((tensor) => [tensor.name, checkInitialiser(tensor)]));
  const inputs = graph.input.filter((input) => !sizes.has(input.name)).map((info) => specOf(info, 'input'));
  const outputs = graph.output.map((info) => specOf(info, 'output'));
  checkNames(inputs, 'input');
  checkNames(outputs, 'output');
  const layers = graph.node.map((node, i): LayerInfo => {
    const parameters = node.input.reduce((sum, name) => sum + (sizes.get(name) ?? 0), 0);
    return { name: node.name || `${node.opType}_${i}`, type: node.opType, parameters };
  });
  const parameters = [...sizes.values()].reduce((sum, size) => sum + size, 0);
  return { signature: { inputs, outputs }, layers, parameters };
}

function decode(bytes: Uint8Array): ModelProto {
  try {
    return fromBinary(ModelProtoSchema, bytes, { readUnknownFields: false });
  } catch (cause) {
    throw damagedOnnx(cause instanceof Error ? cause.message : 'unreadable', 'file', cause);
  }
}

function checkVersions(model: ModelProto): void {
  const ir = Number(model.irVersion);
  if (ir < irVersions.min || ir > irVersions.max)
    throw unsupported(
      `the ONNX model has the IR version ${ir}; ${irVersions.min} to ${irVersions.max} can be loaded`,
      'ir_version',
      `export it with an older version of the onnx package, or set model.ir_version = ${irVersions.max}`,
    );
  const opset = model.opsetImport.find(({ domain }) => domain === '' || domain === 'ai.onnx');
  const version = opset ? Number(opset.version) : undefined;
  if (version !== undefined && (version < opsets.min || version > opsets.max))
    throw unsupported(
      `the ONNX model uses opset ${version}; ${opsets.min} to ${opsets.max} can be loaded`,
      'opset_import',
      'export it with opset 17, or use onnx.version_converter.convert_version(model, 17)',
    );
  if (model.opsetImport.length === 0)
    throw damagedOnnx('it does not say which operators it uses', 'opset_import');
}

function checkOperators(model: ModelProto, graph: GraphProto): void {
  const own = new Set(model.functions.map((fn) => fn.domain));
  for (const [i, node] of graph.node.entries()) {
    if (domains.has(node.domain) || own.has(node.domain)) continue;
    throw new CommonwattError(
      'UNSUPPORTED_LAYER',
      `node ${quote(node.name || String(i))} is the custom operator ${quote(`${node.domain}.${node.opType}`)}, whose code is not in the file`,
      { where: node.name || `graph.node[${i}]`, hint: 'export the model with standard ONNX operators only' },
    );
  }
}

/** The number of elements; the stored bytes must be exactly as many as the shape says. */
function checkInitialiser(tensor: TensorProto): number {
  const where = tensor.name.slice(0, 200);
  let elements = 1n;
  for (const dim of tensor.dims) {
    if (dim < 0n) throw damagedOnnx(`tensor ${quote(tensor.name)} has a negative dimension`, where);
    elements *= dim;
    if (elements > BigInt(Number.MAX_SAFE_INTEGER)) break;
  }
  const datatype = datatypes.get(tensor.dataType);
  const elementBytes = datatype ? bytesPerElement(datatype) : null;
  if (elementBytes === null || tensor.rawData.length === 0) {
    const stored =
      tensor.floatData.length + tensor.doubleData.length + tensor.int32Data.length + tensor.int64Data.length;
    // Other types (half precision, text, packed 4 bits) only ever store more bytes or half an element each.
    if (datatype && elements !== BigInt(stored)) throw mismatch(tensor, elements, stored, 'elements');
    if (
      elements >
      BigInt(2 * (stored + tensor.rawData.length + tensor.stringData.length + tensor.uint64Data.length) + 2)
    )
      throw mismatch(tensor, elements, stored, 'elements');
  } else if (elements * BigInt(elementBytes) !== BigInt(tensor.rawData.length))
    throw mismatch(tensor, elements * BigInt(elementBytes), tensor.rawData.length, 'bytes');
  return Number(elements);
}

function mismatch(tensor: TensorProto, declared: bigint, stored: number, unit: string): CommonwattError {
  return damagedOnnx(
    `tensor ${quote(tensor.name)} declares the shape [${tensor.dims.join(', ').slice(0, 100)}] (${declared} ${unit}), but ${stored} ${unit} are stored`,
    tensor.name.slice(0, 200),
  );
}

function specOf(info: ValueInfoProto, what: 'input' | 'output'): TensorSpec {
  const label = `${what} ${quote(info.name)}`;
  const type = info.type?.value;
  if (type?.case !== 'tensorType')
    throw unsupported(
      `${label} is not a tensor but a ${type?.case?.replace(/Type$/, '') ?? 'value without a type'}`,
      info.name,
      'export with plain tensors, for scikit-learn with options={"zipmap": False}',
    );
  const { elemType, shape } = type.value;
  const datatype = datatypes.get(elemType);
  if (!datatype)
    throw unsupported(
      `${label} has the datatype ${datatypeNames.get(elemType) ?? elemType}; supported are ${[...datatypes.values()].join(', ')}`,
      info.name,
      'add a Cast at this end of the graph, for example onnxconverter_common.float16 with keep_io_types=True',
    );
  if (!shape)
    throw unsupported(
      `${label} does not say how many dimensions it has`,
      info.name,
      'run onnx.shape_inference.infer_shapes(model) and save it again',
    );
  const dims = shape.dim.map(({ value }) => {
    if (value.case !== 'dimValue') return -1;
    if (value.value < 0n || value.value > 0x7fff_ffffn)
      throw damagedOnnx(`${label} has the impossible dimension ${value.value}`, info.name);
    return Number(value.value);
  });
  return { name: info.name, datatype, shape: dims };
}

function checkNames(specs: TensorSpec[], what: string): void {
  if (specs.length === 0) throw damagedOnnx(`it has no ${what}`, `graph.${what}`);
  const names = specs.map((spec) => spec.name);
  if (names.includes('')) throw damagedOnnx(`an ${what} has no name`, `graph.${what}`);
  if (new Set(names).size < names.length)
    throw damagedOnnx(`two ${what}s have the same name`, `graph.${what}`);
}

function unsupported(message: string, where: string, hint: string): CommonwattError {
  return new CommonwattError('UNSUPPORTED_FORMAT', message, { where, hint });
}
