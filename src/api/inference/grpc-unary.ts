/**
 * The quick way of a unary ModelInfer: below Connect, straight on the stream of HTTP/2, one frame in and one frame out.
 */
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { impactText } from '../../energy/footprint.ts';
import type { Principal } from '../../gate/gate.ts';
import { traceOf } from '../traced.ts';
import type { InferenceHouse } from './answer.ts';
import type { Budget } from './budget.ts';
import { type GrpcLog, requestIdHeader } from './grpc-errors.ts';
import { Exchange } from './grpc-exchange.ts';
import { decodeInferRequest, framed, type InferAnswer, infer } from './grpc-infer.ts';
import { receive, unwrap } from './grpc-receive.ts';
import { ModelInferResponseSchema } from './proto/open_inference_grpc_pb.ts';

export interface InferDoor {
  house: InferenceHouse;
  log: GrpcLog;
  budget: Budget;
}

export function answerUnary(
  { house, log, budget }: InferDoor,
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  requestId: string,
  principal: Principal,
): void {
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
      watch: (call) => exchange.watch(call),
    }).then((answered) => succeed(exchange, answered), fail);
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

function succeed(exchange: Exchange, { response, inference }: InferAnswer): void {
  if (exchange.over) return;
  const { energyWh, carbonGCo2e } = impactText(inference.footprint);
  exchange.succeed(
    {
      ':status': 200,
      'content-type': 'application/grpc+proto',
      [requestIdHeader]: exchange.requestId,
      'x-commonwatt-source': inference.source,
      ...(energyWh === null ? {} : { 'x-commonwatt-energy-wh': energyWh }),
      ...(carbonGCo2e === null ? {} : { 'x-commonwatt-carbon-gco2e': carbonGCo2e }),
    },
    framed(ModelInferResponseSchema, response),
  );
}
