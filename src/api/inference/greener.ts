/** Another version in the place of the one that was asked for, when the grid is dirty and the caller may use it. */
import { CommonwattError } from '../../errors.ts';
import type { Admission } from '../../gate/gate.ts';
import type { AnsweredBy, ServedVersion } from '../../serve/serve.ts';
import type { InferenceHouse } from './answer.ts';

export interface Chosen {
  served: ServedVersion;
  admission: Admission;
  variant: AnsweredBy | undefined;
}

/**
 * A variant of another model is admitted by that model's own grant and limits, and the place under those of the model
 * that was asked for is given back. Whoever may not use it, or no more now, is answered as he asked.
 */
export async function greenerOf(
  { gate, deployments }: Pick<InferenceHouse, 'gate' | 'deployments'>,
  asked: ServedVersion,
  admission: Admission,
): Promise<Chosen> {
  const found = deployments.variantOf(asked);
  if (!found) return { served: asked, admission, variant: undefined };
  const { served, name, organisation, model } = found;
  if (served.modelId === asked.modelId) return { served, admission, variant: { name, otherModel: null } };
  try {
    const admitted = await gate.admit(admission.principal, 'infer', organisation, model);
    admission.release();
    return { served, admission: admitted, variant: { name, otherModel: `${organisation}/${model}` } };
  } catch (error) {
    if (!(error instanceof CommonwattError)) throw error;
    return { served: asked, admission, variant: undefined };
  }
}
