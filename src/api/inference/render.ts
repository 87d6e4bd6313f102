/**
 * Writes an inference answer of the Open Inference Protocol: JSON with the footprint in the forms that are wanted, raw
 * bytes of the outputs that are wanted so behind it, and the headers that say where the answer came from.
 */
import { isUtf8 } from 'node:buffer';
import type { Forms } from '../../energy/forms/forms.ts';
import { formFields, pushFormHeaders } from '../../energy/forms/write.ts';
import { CommonwattError } from '../../errors.ts';
import { warningHeader } from '../../gate/limits.ts';
import { type Tensor, unpackBytes } from '../../runtimes/tensor.ts';
import type { Inference } from '../../serve/serve.ts';
import { chooseOutputs, type WantedOutput } from './outputs.ts';
import { variantHeader } from './parameters.ts';

export interface AnswerHead {
  modelName: string;
  version: number;
  /** Those of the footprint. */
  forms: Forms;
  id: string | undefined;
  /** undefined: all. */
  wanted: readonly WantedOutput[] | undefined;
  binaryOutputs: boolean;
}

export interface RenderedAnswer {
  /** name, value, name, value, …; all but the length. */
  headers: string[];
  body: string | Buffer;
}

export function renderAnswer(head: AnswerHead, inference: Inference): RenderedAnswer {
  const { wanted, binaryOutputs } = head;
  const raw: Uint8Array[] = [];
  const outputs: string[] = [];
  for (const output of chooseOutputs(inference.outputs, wanted)) {
    const own = wanted?.find(({ name }) => name === output.name)?.binary;
    if (!(own ?? binaryOutputs)) {
      outputs.push(renderTensor(output));
      continue;
    }
    const bytes = rawBytes(output);
    raw.push(bytes);
    outputs.push(`{${named(output)},"parameters":{"binary_data_size":${bytes.length}}}`);
  }
  const json = renderHead(head, outputs.join(','), inference);
  const headers = answerHeaders(inference, head.forms);
  if (!wantsRaw(head)) {
    headers.push('content-type', 'application/json; charset=utf-8');
    return { headers, body: json };
  }
  const text = Buffer.from(json);
  headers.push('content-type', 'application/octet-stream');
  headers.push('inference-header-content-length', String(text.length));
  return { headers, body: Buffer.concat([text, ...raw]) };
}

/** What every door over HTTP says of an answer in headers. */
export function answerHeaders(inference: Inference, forms: Forms): string[] {
  const headers = ['x-commonwatt-source', inference.source];
  if (inference.variant) headers.push(variantHeader, inference.variant.name);
  if (inference.budgetWarning) headers.push(warningHeader, inference.budgetWarning);
  pushFormHeaders(headers, inference, forms);
  return headers;
}

/** Any output as raw bytes makes the answer one with a binary part, even when that part is empty. */
function wantsRaw({ wanted, binaryOutputs }: AnswerHead): boolean {
  return wanted ? wanted.some(({ binary }) => binary ?? binaryOutputs) : binaryOutputs;
}

function renderHead(
  { modelName, version, id, forms }: AnswerHead,
  outputs: string,
  inference: Inference,
): string {
  const idPart = id === undefined ? '' : `"id":${JSON.stringify(id)},`;
  const name = inference.variant?.otherModel ?? modelName;
  return `{"model_name":${JSON.stringify(name)},"model_version":"${version}",${idPart}${variantPart(inference)}"outputs":[${outputs}]${formFields(inference, forms)}}`;
}

/** As a parameter of the answer, for clients that see no headers. */
function variantPart({ variant }: Inference): string {
  return variant ? `"parameters":{"commonwatt_variant":${JSON.stringify(variant.name)}},` : '';
}

function rawBytes({ data }: Tensor): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

function renderTensor(tensor: Tensor): string {
  return `{${named(tensor)},"data":[${renderData(tensor)}]}`;
}

function named({ name, datatype, shape }: Tensor): string {
  return `"name":${JSON.stringify(name)},"datatype":"${datatype}","shape":[${shape.join(',')}]`;
}

/** The elements as JSON, separated by commas. */
export function renderData({ name, datatype, data }: Tensor): string {
  if (data instanceof Float32Array || data instanceof Float64Array) {
    const values: string[] = [];
    // NaN and infinities have no JSON form; null says so instead of breaking the document.
    for (const value of data) values.push(Number.isFinite(value) ? String(value) : 'null');
    return values.join(',');
  }
  if (datatype === 'BYTES') return renderTexts(name, data as Uint8Array);
  const text = data.join(',');
  return datatype === 'BOOL' ? text.replaceAll('1', 'true').replaceAll('0', 'false') : text;
}

function renderTexts(name: string, packed: Uint8Array): string {
  const elements = unpackBytes(packed);
  if (!elements.every((bytes) => isUtf8(bytes)))
    throw new CommonwattError(
      'INVALID_REQUEST',
      `output ${JSON.stringify(name)} holds bytes that are no text`,
      {
        where: 'outputs',
        hint: 'ask for it as binary data (binary_data or binary_data_output)',
      },
    );
  return elements
    .map((bytes) => JSON.stringify(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString()))
    .join(',');
}
