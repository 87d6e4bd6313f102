/** One call of an ensemble: every place is taken before anything is computed, then steps run as their inputs come. */
import { isDeepStrictEqual } from 'node:util';
import type { Footprint, WorkContext } from '../energy/energy.ts';
import { sumFootprints } from '../energy/footprint.ts';
import { CommonwattError } from '../errors.ts';
import type { Admission } from '../gate/gate.ts';
import type { TensorSpec } from '../models/models.ts';
import { failed } from '../telemetry/traces.ts';
import type { EnsembleParts } from './ensemble.ts';
import type { Source, Step } from './ensemble-plan.ts';
import { InferCall, type Inference, type ServedVersion, type Tensor } from './serve.ts';

interface Place {
  step: Step;
  admission: Admission;
  served: ServedVersion;
  context: WorkContext;
}

/** An ensemble may be a step of another, once: calls grow by the product of their steps. */
const mostDepth = 1;
/** Calls made by ensembles → how deep they are. */
const depths = new WeakMap<InferCall, number>();

export class EnsembleRun {
  readonly #parts: EnsembleParts;
  readonly #call: InferCall;
  readonly #depth: number;
  readonly #computing = new Set<InferCall>();
  /** Step → its outputs. */
  readonly #made = new Map<string, Tensor[]>();
  readonly #inferences: Inference[] = [];
  #failure: unknown;

  constructor(parts: EnsembleParts, call: InferCall) {
    this.#parts = parts;
    this.#call = call;
    this.#depth = depths.get(call) ?? 0;
  }

  /** `check` is shown the versions that will compute, before they do. */
  async answer(check: (served: readonly ServedVersion[]) => void): Promise<Inference> {
    if (this.#depth > mostDepth) throw tooDeep();
    const places = await this.#takePlaces();
    const left = new Set(places);
    try {
      check(places.map(({ served }) => served));
      this.#call.onCancel = () => this.#cancel();
      if (this.#call.cancelled) throw cancelled();
      await this.#compute(places, left);
      if (this.#failure !== undefined) throw this.#failure;
      return this.#inference();
    } finally {
      for (const { admission } of left) admission.release();
    }
  }

  async #takePlaces(): Promise<Place[]> {
    const { plan, serving } = this.#parts;
    const places: Place[] = [];
    const taken: Admission[] = [];
    // The caller's grant is booked once: with the first step that has none of its own.
    let callersGrant = this.#call.context.grantId;
    try {
      for (const [index, step] of plan.steps.entries()) {
        const admission = await this.#admit(step);
        taken.push(admission);
        const served = deployed(step, () => serving.served(admission.model.id, step.ref));
        const grantId = admission.grant ? admission.grant.id : callersGrant;
        if (!admission.grant) callersGrant = null;
        const requestId = `${this.#call.context.requestId}.${index + 1}`;
        const context = { ...this.#call.context, requestId, grantId, place: placesOf(this.#call, admission) };
        places.push({ step, admission, served, context });
      }
      return places;
    } catch (error) {
      for (const admission of taken) admission.release();
      throw error;
    }
  }

  async #admit(step: Step): Promise<Admission> {
    try {
      return await this.#parts.admit(step.ref);
    } catch (error) {
      throw notAdmitted(step, error);
    }
  }

  async #compute(places: readonly Place[], left: Set<Place>): Promise<void> {
    const done = new Map<string, Promise<void>>();
    // In the plan's order each step comes after those it waits for.
    for (const place of places) {
      const earlier = [...place.step.inputs.values()].map(({ step }) => step && done.get(step));
      const computed = Promise.all(earlier)
        .then(() => this.#computeStep(place))
        .then((inferred) => {
          if (!inferred) return;
          left.delete(place);
          place.admission.settle();
        })
        .catch((error: unknown) => this.#fail(error));
      done.set(place.step.name, computed);
    }
    await Promise.all(done.values());
  }

  /** False: another step failed or the caller left, and this one is not wanted any more. */
  async #computeStep(place: Place): Promise<boolean> {
    const { step, served, context, admission } = place;
    if (this.#failure !== undefined) return false;
    if (this.#call.cancelled) throw cancelled();
    const inputs = served.signature.inputs.map((spec) => this.#input(step, spec));
    checkRows(step, inputs, served.signature.inputs);
    const { options } = this.#call;
    const trace = options.trace?.child('step', { attributes: { 'commonwatt.step': step.name } });
    const call = new InferCall(inputs, context, trace ? { ...options, trace } : options);
    depths.set(call, this.#depth + 1);
    this.#computing.add(call);
    try {
      const inference = await this.#infer(place, call);
      this.#made.set(step.name, inference.outputs);
      this.#inferences.push(inference);
      trace?.end();
      return true;
    } catch (error) {
      if (trace) failed(trace, error);
      if (call.cancelled && call.begun) admission.settle();
      throw inStep(step, error);
    } finally {
      if (call.begun) this.#call.begun = true;
      this.#computing.delete(call);
    }
  }

  /** A version that was retired since the places were taken has one that follows it. */
  async #infer({ step, served, admission }: Place, call: InferCall): Promise<Inference> {
    const { serving } = this.#parts;
    try {
      return await serving.infer(served, call);
    } catch (error) {
      if (!(error instanceof CommonwattError) || error.code !== 'VERSION_NOT_FOUND') throw error;
      const next = deployed(step, () => serving.served(admission.model.id, step.ref));
      if (next.deploymentId === served.deploymentId || !isDeepStrictEqual(next.signature, served.signature))
        throw error;
      return serving.infer(next, call);
    }
  }

  #input(step: Step, spec: TensorSpec): Tensor {
    const source = step.inputs.get(spec.name);
    const tensor = source && this.#tensor(source);
    if (!tensor) throw misfit(step, `nothing is there for its input ${spec.name}`);
    const fits =
      tensor.datatype === spec.datatype &&
      tensor.shape.length === spec.shape.length &&
      spec.shape.every((size, at) => size === -1 || size === tensor.shape[at]);
    if (!fits)
      throw misfit(
        step,
        `its input ${spec.name} is ${spec.datatype} [${spec.shape.join(', ')}], and ${tensor.datatype} [${tensor.shape.join(', ')}] came`,
      );
    return { ...tensor, name: spec.name };
  }

  #tensor({ step, tensor }: Source): Tensor | undefined {
    const among = step === null ? this.#call.inputs : this.#made.get(step);
    return among?.find(({ name }) => name === tensor);
  }

  /** The first failure is the call's; whatever still computes is of no use any more. */
  #fail(error: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#cancel();
  }

  #cancel(): void {
    for (const call of [...this.#computing]) call.cancel();
  }

  #inference(): Inference {
    const all = this.#inferences;
    const outputs = [...this.#parts.plan.outputs].map(([name, source]) => {
      const tensor = this.#tensor(source);
      if (!tensor) throw new CommonwattError('INTERNAL', `the ensemble's output ${name} was not made`);
      return { ...tensor, name };
    });
    const sum = (pick: (inference: Inference) => number) => all.reduce((total, one) => total + pick(one), 0);
    const footprints: Footprint[] = all.map(({ footprint }) => footprint);
    return {
      outputs,
      footprint: sumFootprints(footprints),
      source: all.every(({ source }) => source === 'cached') ? 'cached' : 'computed',
      queueMs: sum(({ queueMs }) => queueMs),
      batchMs: sum(({ batchMs }) => batchMs),
      computeMs: sum(({ computeMs }) => computeMs),
      batchRows: Math.max(...all.map(({ batchRows }) => batchRows)),
      batchRequests: Math.max(...all.map(({ batchRequests }) => batchRequests)),
      share: null,
    };
  }
}

/** The caller's own place is given for the first step that is booked; the others count as they come. */
function placesOf({ context }: InferCall, { place }: Admission): WorkContext['place'] {
  const callers = context.place;
  if (!callers) return place;
  return {
    booked(use) {
      callers.booked(use);
      place?.booked(use);
    },
  };
}

/** Rows of all inputs of a step belong together. */
function checkRows(step: Step, inputs: readonly Tensor[], specs: readonly TensorSpec[]): void {
  const rows = new Set(
    inputs.filter((_, index) => specs[index]?.shape[0] === -1).map(({ shape }) => shape[0]),
  );
  if (rows.size > 1) throw misfit(step, `its inputs have different numbers of rows: ${[...rows].join(', ')}`);
}

export function deployed(step: Step, find: () => ServedVersion): ServedVersion {
  try {
    return find();
  } catch (error) {
    if (!(error instanceof CommonwattError) || error.code !== 'VERSION_NOT_FOUND') throw inStep(step, error);
    throw new CommonwattError('NOT_READY', `step ${step.name}: ${error.message}`, {
      where: `steps.${step.name}`,
      hint: 'the models of all steps must be deployed by their owners before the ensemble can answer',
      cause: error,
    });
  }
}

/** Callers may use the ensemble without knowing its models: they are told the step, not the model. */
export function notAdmitted(step: Step, error: unknown): unknown {
  const gone =
    error instanceof CommonwattError && (error.code === 'MODEL_NOT_FOUND' || error.code === 'FORBIDDEN');
  if (!gone) return inStep(step, error);
  return new CommonwattError(
    'FORBIDDEN',
    `step ${step.name}: the owner of this ensemble may not use its model`,
    {
      where: `steps.${step.name}`,
      hint: "the model's owner shares it with the ensemble's owner again (commonwatt share), or the ensemble is changed",
      cause: error,
    },
  );
}

function inStep(step: Step, error: unknown): unknown {
  if (!(error instanceof CommonwattError) || error.code === 'CANCELLED') return error;
  return new CommonwattError(error.code, `step ${step.name}: ${error.message}`, {
    where: `steps.${step.name}`,
    cause: error,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    ...(error.retryAfterS === undefined ? {} : { retryAfterS: error.retryAfterS }),
  });
}

function misfit(step: Step, message: string): CommonwattError {
  return new CommonwattError('INVALID_TENSOR', `step ${step.name}: ${message}`, {
    where: `steps.${step.name}`,
    hint: "its models' variable dimensions must come out alike",
  });
}

function cancelled(): CommonwattError {
  return new CommonwattError('CANCELLED', 'the caller left before the request was computed');
}

function tooDeep(): CommonwattError {
  return new CommonwattError('INVALID_CONFIG', 'its steps are ensembles whose steps are ensembles', {
    where: 'steps',
    hint: 'name the models of the inner ensembles as steps of its own',
  });
}
