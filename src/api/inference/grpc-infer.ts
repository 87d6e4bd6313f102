/**
 * One ModelInfer, from its message to its answer: what a unary call and a stream of many have in common.
 */
import { type DescMessage, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf';
import type { Forms } from '../../energy/forms/forms.ts';
import { CommonwattError } from '../../errors.ts';
import type { Admission, Principal } from '../../gate/gate.ts';
import type { ModelRef } from '../../models/models.ts';
import type { InferCall, Inference } from '../../serve/serve.ts';
import type { Span } from '../../telemetry/traces.ts';
import { answer, type InferenceHouse, modelRef, signReceipt } from './answer.ts';
import { footprintParameters } from './grpc-footprint.ts';
import { readInferRequest, writeOutputs } from './grpc-tensors.ts';
import { weigh } from './grpc-weigh.ts';
import { chooseOutputs } from './outputs.ts';
import {
  type ModelInferRequest,
  ModelInferRequestSchema,
  type ModelInferResponse,
} from './proto/open_inference_grpc_pb.ts';

/** What the call around a message says of it. */
export interface Circumstances {
  requestId: string;
  principal: Principal;
  deadlineAtMs: number | undefined;
  reuse: boolean;
  /** Forms of the footprint that the answer carries. */
  forms: Forms;
  /** It is to carry a receipt. */
  receipt: boolean;
  /** False: exactly what is asked for is to answer. */
  variants: boolean;
  /** Of a call that is traced. */
  trace: Span | undefined;
  /** As `Door.watch`. */
  watch(call: InferCall): void;
}

export interface InferAnswer {
  response: ModelInferResponse;
  inference: Inference;
  /** Where one was asked for. */
  receipt?: string;
}

/** Below this a message is decoded without being weighed: whatever is in it takes a few MB. */
const lightBytes = 64 * 1024;
/** The most that one message may take once decoded. Raw bytes take no more than they are. */
const decodedBytesAtMost = 256 * 1024 * 1024;
const decoding = { readUnknownFields: false };

/** Throws what is the caller's fault. */
export function decodeInferRequest(message: Uint8Array, bytesAtMost: number): ModelInferRequest {
  try {
    if (message.length > lightBytes) checkWeight(message, Math.max(decodedBytesAtMost, 2 * bytesAtMost));
    return fromBinary(ModelInferRequestSchema, message, decoding);
  } catch (error) {
    if (error instanceof CommonwattError) throw error;
    throw new CommonwattError('INVALID_REQUEST', `the message is no ModelInferRequest: ${String(error)}`, {
      hint: 'inference.ModelInferRequest of the Open Inference Protocol is spoken here',
    });
  }
}

function checkWeight(message: Uint8Array, atMost: number): void {
  if (weigh(ModelInferRequestSchema, message, atMost) <= atMost) return;
  throw new CommonwattError('PAYLOAD_TOO_LARGE', 'the message has too many small elements', {
    hint: 'send large tensors as raw_input_contents',
  });
}

/** Admits, computes, and puts the answer into the protocol's words. */
export function infer(
  house: InferenceHouse,
  request: ModelInferRequest,
  circumstances: Circumstances,
): Promise<InferAnswer> {
  const ref = modelRef(request.modelName, request.modelVersion || undefined);
  const admission = house.gate.admit(circumstances.principal, 'infer', ref.organisation, ref.name);
  const go = (admitted: Admission) => inferAdmitted(house, request, circumstances, ref, admitted);
  return admission instanceof Promise ? admission.then(go) : go(admission);
}

async function inferAdmitted(
  house: InferenceHouse,
  request: ModelInferRequest,
  circumstances: Circumstances,
  ref: ModelRef,
  admitted: Admission,
): Promise<InferAnswer> {
  const { requestId, forms } = circumstances;
  let signed: Promise<string> | undefined;
  const answered = await answer(house, ref, admitted, {
    ...circumstances,
    read: (signature) => readInferRequest(request, signature),
    write: (inference, served, { id = '', outputs }, admission): InferAnswer => {
      const response: ModelInferResponse = {
        $typeName: 'inference.ModelInferResponse',
        modelName: inference.variant?.otherModel ?? request.modelName,
        modelVersion: String(served.version),
        id,
        parameters: footprintParameters(inference, requestId, forms),
        ...writeOutputs(chooseOutputs(inference.outputs, outputs), request.rawInputContents.length > 0),
      };
      if (circumstances.receipt) signed = signReceipt(house, requestId, admission, served, inference);
      return { inference, response };
    },
  });
  if (signed) answered.receipt = await signed;
  return answered;
}

/** A message in its frame, ready to be sent. */
export function framed<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>): Buffer {
  const bytes = toBinary(schema, message);
  const frame = Buffer.allocUnsafe(bytes.length + 5);
  frame[0] = 0;
  frame.writeUInt32BE(bytes.length, 1);
  frame.set(bytes, 5);
  return frame;
}
