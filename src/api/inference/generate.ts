/**
 * The generate extension: a plain JSON object whose fields are the inputs of the model, answered by one whose fields
 * are its outputs; for models that take and give text or a few numbers.
 * Source: Triton's extension_generate.md. A model here gives one answer to a request, so a stream has one event.
 */
import type { Forms } from '../../energy/forms/forms.ts';
import { energyComment, formFields } from '../../energy/forms/write.ts';
import type { ModelSignature, TensorSpec } from '../../models/models.ts';
import { elementsOf, type Tensor } from '../../runtimes/tensor.ts';
import type { Inference } from '../../serve/serve.ts';
import type { AnswerOf, Form } from './call.ts';
import { isObject, parseJson } from './json.ts';
import { readJsonData } from './json-data.ts';
import { checkJsonForms } from './outputs.ts';
import { parametersOf, readSchedule } from './parameters.ts';
import { answerHeaders, renderData } from './render.ts';
import { checkShape, describe, type InferRequest, invalid, orderInputs } from './tensors.ts';

export const generateForm: Form<InferRequest> = {
  read: parseGenerateRequest,
  write: (of, { id }, inference) => ({
    headers: [...answerHeaders(inference, of.forms), 'content-type', 'application/json; charset=utf-8'],
    body: renderGenerated(of, id, inference),
  }),
};

export const generateStreamForm: Form<InferRequest> = {
  read: parseGenerateRequest,
  write: (of, { id }, inference) => ({
    headers: [
      ...answerHeaders(inference, of.forms),
      'content-type',
      'text/event-stream; charset=utf-8',
      'cache-control',
      'no-cache',
    ],
    body: renderStream(of, id, inference),
  }),
};

export function parseGenerateRequest(body: Buffer, signature: ModelSignature): InferRequest {
  const specs = signature.inputs;
  const object = parseJson(body, true);
  if (!isObject(object))
    throw invalid('the request', `must be a JSON object with the inputs ${describe(specs)}`, 'body');
  const { given, others } = sorted(object, specs);
  const { id: named, ...rest } = others;
  const id = named ?? undefined;
  if (id !== undefined && typeof id !== 'string') throw invalid('"id"', 'must be a string', 'id');
  checkJsonForms(undefined, false, signature.outputs);
  return {
    id,
    inputs: orderInputs(given, specs, ({ value }, spec) => tensorOf(value, spec)),
    outputs: undefined,
    ...readSchedule(parametersOf(rest, 'parameters')),
  };
}

interface Field {
  name: string;
  value: unknown;
}

/** The fields that are inputs, at the top or among the parameters, and those that are not. */
function sorted(object: Record<string, unknown>, specs: readonly TensorSpec[]) {
  const names = new Set(specs.map(({ name }) => name));
  const { parameters, ...top } = object;
  const nested = isObject(parameters) && !names.has('parameters') ? parameters : {};
  const all = { ...(nested === parameters || parameters === undefined ? top : object) };
  const fields: Field[] = [...Object.entries(all), ...Object.entries(nested)].map(([name, value]) => ({
    name,
    value,
  }));
  return {
    given: fields.filter(({ name }) => names.has(name)),
    others: Object.fromEntries(
      fields.filter(({ name }) => !names.has(name)).map(({ name, value }) => [name, value]),
    ),
  };
}

/** A value, or an array of them: as many rows as it makes; nested as deep as the input, its shape is the array's own. */
function tensorOf(value: unknown, spec: TensorSpec): Tensor {
  const where = spec.name;
  const data: unknown[] = Array.isArray(value) ? value : [value];
  const shape = checkShape(shapeOf(data, spec), spec, where);
  return { name: spec.name, datatype: spec.datatype, shape, data: readJsonData(data, spec, shape, where) };
}

function shapeOf(data: readonly unknown[], { shape }: TensorSpec): number[] {
  if (shape.length > 1 && Array.isArray(data[0])) return nestedShape(data, shape.length);
  const free = shape.flatMap((dimension, index) => (dimension === -1 ? [index] : []));
  const filled = free.length > 1 ? free[1] : free[0];
  const known = elementsOf(shape.map((dimension) => (dimension === -1 ? 1 : dimension)));
  const size = data.length / known;
  return shape.map((dimension, index) => (dimension !== -1 ? dimension : index === filled ? size : 1));
}

function nestedShape(data: unknown, depth: number): number[] {
  const lengths: number[] = [];
  for (let level = data; Array.isArray(level) && lengths.length < depth; level = level[0])
    lengths.push(level.length);
  return lengths;
}

/** In streams Neuralwatt's form is a comment before the end. */
function renderStream(of: AnswerOf, id: string | undefined, inference: Inference): string {
  const event = renderGenerated({ ...of, forms: { ...of.forms, energy: false } }, id, inference);
  return `data: ${event}\n\n${of.forms.energy ? energyComment(inference) : ''}`;
}

function renderGenerated(
  { modelName, version, forms }: AnswerOf,
  id: string | undefined,
  inference: Inference,
): string {
  const fields = inference.outputs.map((output) => {
    const data = renderData(output);
    return `${JSON.stringify(output.name)}:${elementsOf(output.shape) === 1 ? data : `[${data}]`}`;
  });
  const idField = id === undefined ? [] : [`"id":${JSON.stringify(id)}`];
  const name = inference.variant?.otherModel ?? modelName;
  const head = [`"model_name":${JSON.stringify(name)}`, `"model_version":"${version}"`];
  const footprint = formFields(inference, besides(forms, inference.outputs));
  return `{${[...head, ...idField, ...fields].join(',')}${footprint}}`;
}

/** Outputs of a model keep their names: a form that is called like one of them is left out of the body. */
function besides(forms: Forms, outputs: readonly Tensor[]): Forms {
  const taken = new Set(outputs.map(({ name }) => name));
  if (!taken.has('usage') && !taken.has('energy') && !taken.has('impact')) return forms;
  return {
    ...forms,
    impact: forms.impact && !taken.has('usage'),
    impacts: forms.impacts && !taken.has('usage'),
    energy: forms.energy && !taken.has('energy'),
    greenpt: forms.greenpt && !taken.has('impact'),
  };
}
