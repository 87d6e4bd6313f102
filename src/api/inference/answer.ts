/**
 * A model call as every door of the Open Inference Protocol makes it: which version is meant, may the caller see
 * it, and from an admission to the answer. The doors differ in how they read and write.
 */
import type { WorkContext } from '../../energy/energy.ts';
import type { Forms } from '../../energy/forms/forms.ts';
import type { AnswerReceipts } from '../../energy/receipts/receipts.ts';
import { CommonwattError } from '../../errors.ts';
import type { Admission, Gate, Principal } from '../../gate/gate.ts';
import type { ModelRecord, ModelRef, ModelSignature, VersionRecord } from '../../models/models.ts';
import { parseModelRef } from '../../models/names.ts';
import type { Registry } from '../../models/registry.ts';
import {
  type AnsweredBy,
  InferCall,
  type Inference,
  type ServedVersion,
  type Serving,
} from '../../serve/serve.ts';
import { failed, type Span } from '../../telemetry/traces.ts';
import { greenerOf } from './greener.ts';
import type { InferRequest } from './tensors.ts';
import { traceAnswer, traceCall } from './trace.ts';

export interface InferenceHouse {
  gate: Gate;
  deployments: Serving & Deploying;
  registry: Pick<Registry, 'listModels' | 'listGrantedModels' | 'listVersions' | 'resolve'>;
  version: string;
  maxBodyBytes: number;
  /** Of deployments that name none. */
  maxBatchSize: number;
  /** Forms of a footprint that answers carry where their callers name none. */
  forms: Forms;
  receipts: AnswerReceipts;
}

/** Puts versions into service and takes them out, for the repository extension. */
interface Deploying {
  create(model: ModelRecord, version: VersionRecord, by: string): Promise<unknown>;
  remove(deploymentId: string, by: string): Promise<void>;
}

/** The extensions that are spoken by both protocols, in Triton's words. */
export const extensions: readonly string[] = [
  'binary_tensor_data',
  'classification',
  'model_configuration',
  'model_repository',
  'parameters',
  'schedule_policy',
  'statistics',
];

/** What computes a version, in the protocol's words. */
export function platformOf({ format }: ServedVersion): string {
  if (format === 'ensemble') return 'ensemble';
  return format === 'pipeline' ? 'commonwatt_pipeline' : 'onnx_onnxruntime';
}

/** The model a request names, with the version it names beside (undefined: none). */
export function modelRef(model: string, version: string | undefined): ModelRef {
  const ref = parseModelRef(model);
  if (version === undefined) return ref;
  if (!/^[1-9]\d{0,8}$/.test(version)) {
    throw new CommonwattError(
      'VERSION_NOT_FOUND',
      `version ${JSON.stringify(version.slice(0, 40))} does not exist`,
      { hint: 'versions are numbers from 1' },
    );
  }
  return { organisation: ref.organisation, name: ref.name, version: Number(version) };
}

/** The served version that a request names, when the caller may see it. */
export async function viewServed(
  { gate, deployments }: InferenceHouse,
  principal: Principal,
  ref: ModelRef,
): Promise<ServedVersion> {
  const access = await gate.authorize(principal, 'view', ref.organisation, ref.name);
  return deployments.served(access.model.id, ref);
}

/** How a door reads its request and writes its answer. */
export interface Door<Request extends InferRequest, Written> {
  requestId: string;
  /** False: the caller wants this computed, and no trace of it kept (`Cache-Control: no-store`). */
  reuse?: boolean;
  /** False: exactly what is asked for is to answer. */
  variants?: boolean;
  /** When the caller stops waiting (`performance.now()`), as the protocol around the request says. */
  deadlineAtMs?: number | undefined;
  /** Of a request that is traced. */
  trace?: Span | undefined;
  read(signature: ModelSignature): Request;
  /** Called with the call before it is made: the door cancels it when its caller leaves. */
  watch(call: InferCall): void;
  /** What answered, and under which admission: a variant's, where one did. */
  write(inference: Inference, served: ServedVersion, request: Request, admission: Admission): Written;
}

/** Reads, computes, writes. The admission is settled by what was computed, wanted or not, and released when nothing was. */
export async function answer<Request extends InferRequest, Written>(
  house: Pick<InferenceHouse, 'gate' | 'deployments'>,
  ref: ModelRef,
  asked: Admission,
  door: Door<Request, Written>,
): Promise<Written> {
  const { gate, deployments } = house;
  let served: ServedVersion;
  let request: Request;
  let inference: Inference;
  let call: InferCall | undefined;
  let admission = asked;
  let variant: AnsweredBy | undefined;
  const trace = door.trace && traceCall(door.trace, door.requestId, admission);
  try {
    served = deployments.served(admission.model.id, ref);
    request = door.read(served.signature);
    if (served.settings.greener.length > 0 && door.variants !== false && request.variants !== false)
      ({ served, admission, variant } = await greenerOf(house, served, admission));
    admission.place?.expect(request.inputs[0]?.shape[0] ?? 1);
    call = new InferCall(request.inputs, contextOf(door.requestId, admission), {
      priority: request.priority,
      deadlineAtMs: earlier(door.deadlineAtMs, request.timeoutMs),
      reuse: door.reuse,
      policyVersion: gate.policyVersion,
      trace,
    });
    door.watch(call);
    inference = await deployments.infer(served, call);
  } catch (error) {
    // Who leaves while it is computed has used it: else leaving early would be a way round every limit.
    if (call?.cancelled && call.begun) admission.settle();
    else admission.release();
    if (trace) failed(trace, error);
    throw error;
  }
  admission.settle();
  if (trace) traceAnswer(trace, served, inference);
  const warning = admission.place?.warning;
  if (warning !== undefined) inference = { ...inference, budgetWarning: warning };
  return door.write(variant ? { ...inference, variant } : inference, served, request, admission);
}

function earlier(deadlineAtMs: number | undefined, timeoutMs: number | undefined): number | undefined {
  if (timeoutMs === undefined) return deadlineAtMs;
  const until = performance.now() + timeoutMs;
  return deadlineAtMs === undefined ? until : Math.min(deadlineAtMs, until);
}

function contextOf(requestId: string, { principal, grant, place }: Admission): WorkContext {
  return {
    kind: 'inference',
    requestId,
    consumer: principal,
    keyId: principal.keyId,
    memberId: principal.memberId,
    grantId: grant?.id ?? null,
    jobId: null,
    ...(place ? { place } : {}),
  };
}

/** A receipt for an answer that was just given. */
export function signReceipt(
  { receipts }: Pick<InferenceHouse, 'receipts'>,
  requestId: string,
  { model, principal }: Admission,
  { version, versionId }: ServedVersion,
  { footprint }: Inference,
): Promise<string> {
  return receipts.sign({
    requestId,
    consumerId: principal.organisationId,
    model: `${model.organisation}/${model.name}`,
    version,
    versionId,
    footprint,
    answeredAt: new Date(),
  });
}
