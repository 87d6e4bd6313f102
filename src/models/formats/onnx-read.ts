/** Inspects an ONNX model: its inputs and outputs, its operators, and whether the runtime here can load it. */
import { fromBinary } from '@bufbuild/protobuf';
import { CommonwattError } from '../../errors.ts';
import type { ModelSignature, TensorSpec } from '../models.ts';
import { quote } from '../names.ts';
import type { LayerInfo } from './graph.ts';
import { type ModelProto, ModelProtoSchema, TensorProto_DataType, type ValueInfoProto } from './onnx_pb.ts';
import { isDeterministic } from './onnx-deterministic.ts';
import { allNodes, allTensors, checkTensor, datatypes, elementsOf } from './onnx-tensors.ts';
import { damagedOnnx, type WeighLimits, weighOnnx } from './onnx-weigh.ts';

/** What onnxruntime 1.30 loads (onnx-versions.test.ts tries every one). */
export const opsets = { min: 7, max: 26 };
export const irVersions = { min: 3, max: 13 };
/** Domains whose operators the runtime brings along, and their newest version; others need libraries of their own. */
export const domains = new Map([
  ['', opsets.max],
  ['ai.onnx', opsets.max],
  ['ai.onnx.ml', 5],
  ['com.microsoft', 1],
  ['ai.onnx.preview.training', 1],
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
  checkOperators(model);
  for (const tensor of allTensors(model)) checkTensor(tensor);
  const sizes = new Map(graph.initializer.map((tensor) => [tensor.name, Number(elementsOf(tensor))]));
  const inputs = graph.input.filter((input) => !sizes.has(input.name)).map((info) => specOf(info, 'input'));
  const outputs = graph.output.map((info) => specOf(info, 'output'));
  checkNames(inputs, 'input');
  checkNames(outputs, 'output');
  const layers = graph.node.map((node, i): LayerInfo => {
    const parameters = node.input.reduce((sum, name) => sum + (sizes.get(name) ?? 0), 0);
    return { name: node.name || `${node.opType}_${i}`, type: node.opType, parameters };
  });
  const parameters = [...sizes.values()].reduce((sum, size) => sum + size, 0);
  const signature = { inputs, outputs, ...(isDeterministic(model) ? {} : { deterministic: false as const }) };
  return { signature, layers, parameters };
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
  if (model.opsetImport.length === 0)
    throw damagedOnnx('it does not say which operators it uses', 'opset_import');
  for (const { domain, version } of model.opsetImport) {
    const max = domains.get(domain);
    const min = max === opsets.max ? opsets.min : 1;
    if (max === undefined || (version >= min && version <= max)) continue;
    throw unsupported(
      `the ONNX model uses opset ${version}${domain ? ` of ${quote(domain)}` : ''}; ${min} to ${max} can be loaded`,
      'opset_import',
      max === opsets.max
        ? 'export it with opset 17, or use onnx.version_converter.convert_version(model, 17)'
        : `name the version when exporting: target_opset={"": 17, "${domain}": ${max}} in skl2onnx and onnxmltools`,
    );
  }
}

function checkOperators(model: ModelProto): void {
  const own = new Set(model.functions.map((fn) => fn.domain));
  let index = 0;
  for (const node of allNodes(model)) {
    const name = node.name || `node_${index}`;
    index++;
    if (domains.has(node.domain) || own.has(node.domain)) continue;
    throw new CommonwattError(
      'UNSUPPORTED_LAYER',
      `node ${quote(name)} is the custom operator ${quote(`${node.domain}.${node.opType}`)}, whose code is not in the file`,
      { where: name.slice(0, 200), hint: 'export the model with standard ONNX operators only' },
    );
  }
}

function specOf(info: ValueInfoProto, what: 'input' | 'output'): TensorSpec {
  const label = `${what} ${quote(info.name)}`;
  const type = info.type?.value;
  if (type?.case !== 'tensorType')
    throw unsupported(
      `${label} is not a tensor but a ${type?.case?.replace(/Type$/, '') ?? 'value without a type'}`,
      info.name,
      'export with plain tensors: skl2onnx.to_onnx(model, X, options={"zipmap": False}) for scikit-learn, zipmap=False for LightGBM',
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
