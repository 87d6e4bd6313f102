/**
 * The quick way of a unary ModelInfer: below Connect, straight on the stream of HTTP/2, one frame in and one frame out.
 */
import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { type Forms, formsHeader, readForms } from '../../energy/forms/forms.ts';
import { pushFormHeaders } from '../../energy/forms/write.ts';
import { receiptHeader, wantsReceipt } from '../../energy/receipts/claims.ts';
import type { Principal } from '../../gate/gate.ts';
import { warningHeader } from '../../gate/limits.ts';
import { traceOf } from '../traced.ts';
import type { InferenceHouse } from './answer.ts';
import type { Budget } from './budget.ts';
import { type GrpcLog, requestIdHeader } from './grpc-errors.ts';
import { Exchange } from './grpc-exchange.ts';
import { decodeInferRequest, framed, type InferAnswer, infer } from './grpc-infer.ts';
import { receive, unwrap } from './grpc-receive.ts';
import { allowsVariants, variantHeader } from './parameters.ts';
import { ModelInferResponseSchema } from './proto/open_inference_grpc_pb.ts';

export interface InferDoor {
  house: InferenceHouse;
  log: GrpcLog;
  budget: Budget;
  /** Of answers whose callers name none. */
  forms: Forms;
}

export function answerUnary(
  door: InferDoor,
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  requestId: string,
  principal: Principal,
): void {
  const { house, log, budget } = door;
  const { forms, receipt, variants } = wishesOf(door, headers);
  const exchange = new Exchange(stream, headers, requestId, log);
  const fail = (error: unknown) => exchange.fail(error);
  const compute = (message: Uint8Array) => {
    if (exchange.over) return;
    const request = decodeInferRequest(message, house.maxBodyBytes);
    infer(house, request, {
      requestId,
      principal,
      trace: traceOf(stream),
      deadlineAtMs: exchange.deadlineAtMs,
      reuse: mayReuse(headers),
      forms,
      receipt,
      variants,
      watch: (call) => exchange.watch(call),
    }).then((answered) => succeed(exchange, answered, forms), fail);
  };
  receive(stream, {
    bytesAtMost: house.maxBodyBytes,
    budget,
    fail,
    done: (frame) => {
      try {
        const message = unwrap(frame, headers['grpc-encoding'], house.maxBodyBytes);
        if (message instanceof Promise) message.then(compute).catch(fail);
        else compute(message);
      } catch (error) {
        fail(error);
      }
    },
  });
}

/** As HTTP has it, in the metadata of a call. */
export function mayReuse({ 'cache-control': control }: IncomingHttpHeaders): boolean {
  return control === undefined || !/\bno-store\b/i.test(control);
}

/** What the metadata of a call asks of its answers. Throws INVALID_REQUEST. */
export function wishesOf({ forms, house: { receipts } }: InferDoor, headers: IncomingHttpHeaders) {
  return {
    forms: readForms(headers[formsHeader], forms),
    receipt: wantsReceipt(headers[receiptHeader], receipts.always),
    variants: allowsVariants(headers[variantHeader], variantHeader),
  };
}

function succeed(exchange: Exchange, { response, inference, receipt }: InferAnswer, forms: Forms): void {
  if (exchange.over) return;
  const headers: OutgoingHttpHeaders = {
    ':status': 200,
    'content-type': 'application/grpc+proto',
    [requestIdHeader]: exchange.requestId,
    'x-commonwatt-source': inference.source,
  };
  if (inference.variant) headers[variantHeader] = inference.variant.name;
  if (inference.budgetWarning) headers[warningHeader] = inference.budgetWarning;
  const footprint: string[] = [];
  pushFormHeaders(footprint, inference, forms);
  for (let at = 0; at < footprint.length; at += 2) headers[footprint[at] ?? ''] = footprint[at + 1];
  const trailers = receipt === undefined ? undefined : { [receiptHeader]: receipt };
  exchange.succeed(headers, framed(ModelInferResponseSchema, response), trailers);
}
