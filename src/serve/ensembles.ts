/** Ensembles from their import to their deployment: models found and allowed, signatures checked. */
import { CommonwattError } from '../errors.ts';
import type { Gate, Principal } from '../gate/gate.ts';
import type { ModelSignature, VersionRecord } from '../models/models.ts';
import type { InspectedArtifact, Registry } from '../models/registry.ts';
import { checkVersions, Ensemble } from './ensemble.ts';
import { readPlan, type Step, signatureOf } from './ensemble-plan.ts';
import { deployed, notAdmitted } from './ensemble-run.ts';
import type { Composition } from './place.ts';
import type { Engine, Serving } from './serve.ts';

export interface EnsemblesParts {
  gate: Pick<Gate, 'authorize' | 'admit'>;
  registry: Pick<Registry, 'resolve'>;
  serving: Pick<Serving, 'served' | 'infer'>;
}

export class Ensembles {
  readonly #parts: EnsemblesParts;

  constructor(parts: EnsemblesParts) {
    this.#parts = parts;
  }

  /** Throws INVALID_CONFIG, INVALID_NAME, and MODEL_NOT_FOUND or VERSION_NOT_FOUND with the step. */
  async inspect(
    bytes: Buffer,
    owner: Pick<Principal, 'organisationId' | 'organisation'>,
  ): Promise<InspectedArtifact> {
    const plan = readPlan(bytes);
    const signatures = new Map<string, ModelSignature>();
    for (const step of plan.steps) {
      const version = await this.#find(step, actingFor(owner));
      signatures.set(step.name, version.signature);
    }
    return { format: 'ensemble', signature: signatureOf(plan, signatures), onnx: bytes };
  }

  /** Throws NOT_READY for steps that are not deployed or do not fit any more, FORBIDDEN for models no longer shared. */
  readonly compose = async ({ model, version, bytes }: Composition): Promise<Engine> => {
    const { gate, serving } = this.#parts;
    const plan = readPlan(await bytes());
    const owner = actingFor(model);
    const served = [];
    for (const step of plan.steps) {
      const { organisation, name } = step.ref;
      const access = await Promise.resolve(gate.authorize(owner, 'infer', organisation, name)).catch(
        (error: unknown) => Promise.reject(notAdmitted(step, error)),
      );
      served.push(deployed(step, () => serving.served(access.model.id, step.ref)));
    }
    const { signature } = version;
    checkVersions({ plan, signature }, served);
    return new Ensemble({
      plan,
      signature,
      serving,
      admit: ({ organisation, name }) => gate.admit(owner, 'infer', organisation, name),
    });
  };

  async #find(step: Step, owner: Principal): Promise<VersionRecord> {
    const { organisation, name, version, alias } = step.ref;
    try {
      const { model } = await this.#parts.gate.authorize(owner, 'infer', organisation, name);
      return await this.#parts.registry.resolve(model.id, {
        ...(version === undefined ? {} : { version }),
        ...(alias === undefined ? {} : { alias }),
      });
    } catch (error) {
      if (!(error instanceof CommonwattError)) throw error;
      throw new CommonwattError(error.code, `step ${step.name}: ${error.message}`, {
        where: `steps.${step.name}.model`,
        cause: error,
        ...(error.hint === undefined ? {} : { hint: error.hint }),
      });
    }
  }
}

/** An ensemble's owner as an organisation: whoever imported it may have left. */
function actingFor({
  organisationId,
  organisation,
}: {
  organisationId: string;
  organisation: string;
}): Principal {
  return { organisationId, organisation, memberId: '', member: 'ensemble', role: 'member', keyId: '' };
}
