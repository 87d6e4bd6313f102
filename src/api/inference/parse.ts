/**
 * Reads an inference request of the Open Inference Protocol (REST; tensors as JSON, as binary data, or some of each)
 * into tensors that fit the model's signature, or says what was wrong, where, and what would be right.
 * Source: kserve/open-inference-protocol, specification/protocol/inference_rest.md.
 */
import type { ModelSignature, TensorSpec } from '../../models/models.ts';
import type { Tensor } from '../../runtimes/tensor.ts';
import { BinaryPart, readRawBody } from './binary.ts';
import { isObject, parseJson } from './json.ts';
import { readJsonData } from './json-data.ts';
import { checkJsonForms, type GivenOutput, type WantedOutput, wantedOutputs } from './outputs.ts';
import {
  countParameter,
  flagParameter,
  parametersOf,
  readSchedule,
  refuseSharedMemory,
} from './parameters.ts';
import {
  checkDatatype,
  checkShape,
  describe,
  type InferRequest,
  invalid,
  orderInputs,
  show,
} from './tensors.ts';

/** A request over REST, whose answer may carry raw bytes. */
export interface RestRequest extends InferRequest {
  /** Outputs leave as raw bytes unless they say otherwise themselves. */
  binaryOutputs: boolean;
}

/** `headerLength`: bytes of JSON at the beginning of the body; undefined: all of it. Throws only what is the caller's fault. */
export function parseInferRequest(
  body: Buffer,
  signature: ModelSignature,
  headerLength?: number,
): RestRequest {
  if (headerLength === 0) {
    const inputs = readRawBody(body, signature.inputs);
    checkRanks(inputs, signature.inputs);
    return { ...unnamed, inputs };
  }
  const binary = headerLength === undefined ? undefined : new BinaryPart(body, headerLength);
  const json = headerLength === undefined ? body : body.subarray(0, headerLength);
  const request = parseJson(json, signature.inputs.some(isLong));
  if (!isObject(request)) throw invalid('the request', 'must be a JSON object with "inputs"', 'body');
  // Clients that write out every field send null for what they do not give.
  const id = request.id ?? undefined;
  if (id !== undefined && typeof id !== 'string') throw invalid('"id"', 'must be a string', 'id');
  const parameters = parametersOf(request.parameters, 'parameters');
  const binaryOutputs = flagParameter(parameters, 'binary_data_output', 'parameters') ?? false;
  const { priority, timeoutMs, variants } = readSchedule(parameters);
  const inputs = readInputs(request.inputs, signature.inputs, binary);
  binary?.end();
  const outputs = readOutputs(request.outputs, signature.outputs);
  checkJsonForms(outputs, binaryOutputs, signature.outputs);
  return { id, inputs, outputs, binaryOutputs, priority, timeoutMs, variants };
}

const unnamed = {
  id: undefined,
  outputs: undefined,
  binaryOutputs: true,
  priority: undefined,
  timeoutMs: undefined,
} as const;

function checkRanks(inputs: readonly Tensor[], specs: readonly TensorSpec[]): void {
  inputs.forEach(({ shape }, index) => {
    const spec = specs[index];
    if (spec) checkShape(shape, spec, 'the body');
  });
}

function isLong({ datatype }: TensorSpec): boolean {
  return datatype === 'INT64' || datatype === 'UINT64';
}

function readInputs(given: unknown, specs: readonly TensorSpec[], binary: BinaryPart | undefined): Tensor[] {
  if (!Array.isArray(given))
    throw invalid('"inputs"', `is missing or not an array; the model wants ${describe(specs)}`, 'inputs');
  return orderInputs(given.map(inputObject), specs, (input, spec, where) => {
    checkDatatype(input.datatype, spec, where);
    const shape = checkShape(input.shape, spec, where);
    const data = readData(input, spec, shape, where, binary);
    return { name: spec.name, datatype: spec.datatype, shape, data };
  });
}

function readData(
  input: Record<string, unknown>,
  spec: TensorSpec,
  shape: readonly number[],
  where: string,
  binary: BinaryPart | undefined,
) {
  if (input.parameters == null) return readJsonData(input.data, spec, shape, `${where}.data`);
  const parameters = parametersOf(input.parameters, `${where}.parameters`);
  refuseSharedMemory(parameters, where);
  const size = countParameter(parameters, 'binary_data_size', `${where}.parameters`);
  if (size === undefined) return readJsonData(input.data, spec, shape, `${where}.data`);
  if (input.data != null)
    throw invalid(
      `${where}.data`,
      'is given although binary_data_size is; use one of the two',
      `${where}.data`,
    );
  if (!binary)
    throw invalid(
      `${where}.parameters.binary_data_size`,
      'is given, but no header Inference-Header-Content-Length says where the binary data begins',
      where,
    );
  return binary.take(size, spec, shape, where);
}

function inputObject(input: unknown, index: number): Record<string, unknown> {
  if (isObject(input)) return input;
  const where = `inputs[${index}]`;
  throw invalid(where, 'must be an object with name, shape, datatype and data', where);
}

function readOutputs(given: unknown, specs: readonly TensorSpec[]): WantedOutput[] | undefined {
  if (given == null) return undefined;
  if (!Array.isArray(given)) throw invalid('"outputs"', 'must be an array of objects with a name', 'outputs');
  return wantedOutputs(given.map(outputObject), specs);
}

function outputObject(output: unknown, index: number): GivenOutput {
  const where = `outputs[${index}]`;
  if (!isObject(output)) throw invalid(where, `is ${show(output)}, not an object with a name`, where);
  if (output.parameters == null) return { name: output.name };
  const parameters = parametersOf(output.parameters, `${where}.parameters`);
  refuseSharedMemory(parameters, where);
  return {
    name: output.name,
    classes: countParameter(parameters, 'classification', `${where}.parameters`),
    binary: flagParameter(parameters, 'binary_data', `${where}.parameters`),
  };
}
