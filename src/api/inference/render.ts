/** Writes an inference answer of the Open Inference Protocol as JSON text, with the footprint in `usage.impact`. */
import { impactText } from '../../energy/footprint.ts';
import type { Inference, Tensor } from '../../serve/serve.ts';

export interface AnswerHead {
  modelName: string;
  version: number;
  id: string | undefined;
  /** Names of the outputs that are wanted; undefined: all. */
  wanted: string[] | undefined;
}

export function renderInferAnswer(
  { modelName, version, id, wanted }: AnswerHead,
  { outputs, footprint }: Inference,
): string {
  const given = wanted ? outputs.filter(({ name }) => wanted.includes(name)) : outputs;
  const idPart = id === undefined ? '' : `"id":${JSON.stringify(id)},`;
  return `{"model_name":${JSON.stringify(modelName)},"model_version":"${version}",${idPart}"outputs":[${given.map(renderTensor).join(',')}],"usage":{"impact":${impactText(footprint).json}}}`;
}

function renderTensor({ name, datatype, shape, data }: Tensor): string {
  return `{"name":${JSON.stringify(name)},"datatype":"${datatype}","shape":[${shape.join(',')}],"data":[${renderData(datatype, data)}]}`;
}

function renderData(datatype: Tensor['datatype'], data: Tensor['data']): string {
  if (data instanceof Float32Array || data instanceof Float64Array) {
    const values: string[] = [];
    // NaN and infinities have no JSON form; null says so instead of breaking the document.
    for (const value of data) values.push(Number.isFinite(value) ? String(value) : 'null');
    return values.join(',');
  }
  const text = data.join(',');
  return datatype === 'BOOL' ? text.replaceAll('1', 'true').replaceAll('0', 'false') : text;
}
