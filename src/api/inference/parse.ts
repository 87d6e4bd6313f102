/**
 * Reads an inference request of the Open Inference Protocol (REST, JSON tensors) into tensors that fit the
 * model's signature, or says what was wrong, where, and what would be right.
 * Source: kserve/open-inference-protocol, specification/protocol/inference_rest.md.
 */
import { CommonwattError } from '../../errors.ts';
import type { ModelSignature, TensorSpec } from '../../models/models.ts';
import { elementsOf, emptyData, type Tensor } from '../../runtimes/tensor.ts';
import {
  checkCount,
  checkDatatype,
  checkShape,
  describe,
  fill,
  type InferRequest,
  invalid,
  orderInputs,
  wantedOutputs,
} from './tensors.ts';

export function parseInferRequest(body: Buffer, signature: ModelSignature): InferRequest {
  const request = parseJson(body);
  if (!isObject(request)) throw invalid('the request', 'must be a JSON object with "inputs"', 'body');
  const { id, inputs, outputs } = request;
  if (id !== undefined && typeof id !== 'string') throw invalid('"id"', 'must be a string', 'id');
  if (!Array.isArray(inputs))
    throw invalid(
      '"inputs"',
      `is missing or not an array; the model wants ${describe(signature.inputs)}`,
      'inputs',
    );
  if (outputs !== undefined && !Array.isArray(outputs))
    throw invalid('"outputs"', 'must be an array of objects with a name', 'outputs');
  return {
    id,
    inputs: orderInputs(inputs.map(inputObject), signature.inputs, parseTensor),
    outputs: outputs && wantedOutputs(outputs.map(nameOf), signature.outputs),
  };
}

function parseJson(body: Buffer): unknown {
  if (body.length === 0)
    throw new CommonwattError('MALFORMED_JSON', 'the request has no body', {
      hint: 'send a JSON object with "inputs"',
    });
  try {
    return JSON.parse(body.toString('utf8'));
  } catch (cause) {
    throw new CommonwattError(
      'MALFORMED_JSON',
      `the body is not valid JSON: ${(cause as Error).message.slice(0, 120)}`,
      {
        hint: 'NaN and Infinity have no JSON form',
        cause,
      },
    );
  }
}

function inputObject(input: unknown, index: number): Record<string, unknown> {
  if (isObject(input)) return input;
  const where = `inputs[${index}]`;
  throw invalid(where, 'must be an object with name, shape, datatype and data', where);
}

function nameOf(output: unknown): unknown {
  return isObject(output) ? output.name : undefined;
}

function parseTensor(input: Record<string, unknown>, spec: TensorSpec, where: string): Tensor {
  const { data } = input;
  checkDatatype(input.datatype, spec, where);
  const shape = checkShape(input.shape, spec, where);
  if (!Array.isArray(data))
    throw invalid(
      `${where}.data`,
      'is missing or not an array (the binary tensor extension is not spoken here yet)',
      `${where}.data`,
    );
  const nested = Array.isArray(data[0]);
  if (!nested) checkCount(data.length, shape, `${where}.data`);
  const flat = nested ? flatten(data, shape, `${where}.data`) : data;
  const values = emptyData(spec.datatype, elementsOf(shape));
  fill(values, flat, spec.datatype, `${where}.data`);
  return { name: spec.name, datatype: spec.datatype, shape, data: values };
}

/** Row-major flattening of nested data, refusing any depth or length but the declared one. */
function flatten(data: unknown[], shape: readonly number[], where: string): unknown[] {
  const flat: unknown[] = [];
  const walk = (level: unknown, depth: number, at: string) => {
    if (depth === shape.length) {
      flat.push(level);
      return;
    }
    if (!Array.isArray(level)) throw invalid(at, 'is not an array as deep as the shape', at);
    if (level.length !== shape[depth])
      throw invalid(at, `has ${level.length} elements; the shape says ${shape[depth]}`, at);
    for (let index = 0; index < level.length; index++) walk(level[index], depth + 1, `${at}[${index}]`);
  };
  walk(data, 0, where);
  return flat;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
