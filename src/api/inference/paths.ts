/** Where models are found under `/v2`: `org--name`, `org%2Fname`, and `org/name` as most clients write a name. */
import type { ModelRef } from '../../models/models.ts';
import { modelRef } from './answer.ts';

/** What a path names; two of the four forms give the name in two parts. */
export interface ModelParams {
  model?: string;
  organisation?: string;
  name?: string;
  version?: string;
}

/** Every form of a path below a model. A model whose name is a verb (`acme/ready`) is reached by the first form. */
export function modelPaths(verb: string): string[] {
  return [
    `/v2/models/:model${verb}`,
    `/v2/models/:model/versions/:version${verb}`,
    `/v2/models/:organisation/:name${verb}`,
    `/v2/models/:organisation/:name/versions/:version${verb}`,
  ];
}

/** The name as it was sent: answers repeat it. */
export function nameOf({ model, organisation = '', name = '' }: ModelParams): string {
  return model ?? `${organisation}/${name}`;
}

export function refOf(params: ModelParams): ModelRef {
  return modelRef(nameOf(params), params.version);
}
