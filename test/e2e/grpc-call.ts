/** ModelInfer and ModelStreamInfer as any client writes them on HTTP/2; what became of each is told, not thrown. */
import type { ClientHttp2Session, ClientHttp2Stream } from 'node:http2';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  ModelInferRequestSchema,
  ModelInferResponseSchema,
  ModelStreamInferResponseSchema,
} from '../../src/api/inference/proto/open_inference_grpc_pb.ts';

export interface GrpcOutcome {
  /** As gRPC numbers it; undefined: none came. */
  status: string | undefined;
  requestId: string;
  /** The caller's own. */
  echoed: string | undefined;
  model: string | undefined;
  /** The server did not take it, so it may be sent again elsewhere (REFUSED_STREAM). */
  refused: boolean;
  error: string | undefined;
}

const refusedStream = 7;

function begin(session: ClientHttp2Session, method: string, headers: Record<string, string>) {
  return session.request({
    ':method': 'POST',
    ':path': `/inference.GRPCInferenceService/${method}`,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headers,
  });
}

function frame(id = ''): Buffer {
  const fp32Contents = Array.from({ length: 100 }, () => Math.random());
  const inputs = [{ name: 'input', datatype: 'FP32', shape: [1n, 100n], contents: { fp32Contents } }];
  const message = create(ModelInferRequestSchema, { modelName: 'acme/digits', id, inputs });
  const bytes = toBinary(ModelInferRequestSchema, message);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

function outcomeOf(stream: ClientHttp2Stream, chunks: Buffer[]): Promise<GrpcOutcome> {
  const outcome: GrpcOutcome = {
    status: undefined,
    requestId: '',
    echoed: undefined,
    model: undefined,
    refused: false,
    error: undefined,
  };
  const read = (headers: Record<string, unknown>) => {
    if (headers['grpc-status'] !== undefined) outcome.status = String(headers['grpc-status']);
    if (headers['x-commonwatt-request-id'] !== undefined)
      outcome.requestId = String(headers['x-commonwatt-request-id']);
    if (headers['x-request-id'] !== undefined) outcome.echoed = String(headers['x-request-id']);
  };
  stream.on('response', read);
  stream.on('trailers', read);
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  stream.on('error', (error) => {
    outcome.error = error.message;
  });
  return new Promise((resolve) => {
    stream.on('close', () => {
      outcome.refused = stream.rstCode === refusedStream;
      resolve(outcome);
    });
  });
}

/** One unary call with random numbers, which nothing but a computation can answer. */
export async function inferOnce(
  session: ClientHttp2Session,
  headers: Record<string, string>,
): Promise<GrpcOutcome> {
  const stream = begin(session, 'ModelInfer', headers);
  const chunks: Buffer[] = [];
  const ended = outcomeOf(stream, chunks);
  stream.end(frame());
  const outcome = await ended;
  const body = Buffer.concat(chunks);
  if (body.length > 5) outcome.model = fromBinary(ModelInferResponseSchema, body.subarray(5)).modelName;
  return outcome;
}

export interface OpenStream {
  /** Sends one more request. */
  send(id: string): void;
  /** Ids of the answers so far. */
  answered(): string[];
  ended: Promise<GrpcOutcome>;
}

export function inferStream(session: ClientHttp2Session, headers: Record<string, string>): OpenStream {
  const stream = begin(session, 'ModelStreamInfer', headers);
  const chunks: Buffer[] = [];
  return {
    send: (id) => void (stream.writable && stream.write(frame(id))),
    answered: () => idsOf(Buffer.concat(chunks)),
    ended: outcomeOf(stream, chunks),
  };
}

function idsOf(bytes: Buffer): string[] {
  const ids: string[] = [];
  for (let at = 0; at + 5 <= bytes.length; ) {
    const end = at + 5 + bytes.readUInt32BE(at + 1);
    if (end > bytes.length) break;
    const { inferResponse, errorMessage } = fromBinary(
      ModelStreamInferResponseSchema,
      bytes.subarray(at + 5, end),
    );
    ids.push(errorMessage === '' ? (inferResponse?.id ?? '') : `refused: ${errorMessage}`);
    at = end;
  }
  return ids;
}
