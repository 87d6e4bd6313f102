/** Refusals as gRPC statuses. */
import type { ServerHttp2Stream } from 'node:http2';
import { Code, ConnectError } from '@connectrpc/connect';
import { CommonwattError, describeError, isFault } from '../../errors.ts';

/** What becomes of an error that nobody expected. */
export interface GrpcLog {
  error(what: object, message: string): void;
}

export const requestIdHeader = 'x-commonwatt-request-id';

/** HTTP status of the catalogue of errors → gRPC code. */
const codes: Readonly<Record<number, Code>> = {
  400: Code.InvalidArgument,
  401: Code.Unauthenticated,
  403: Code.PermissionDenied,
  404: Code.NotFound,
  409: Code.FailedPrecondition,
  413: Code.ResourceExhausted,
  415: Code.InvalidArgument,
  422: Code.InvalidArgument,
  429: Code.ResourceExhausted,
  499: Code.Canceled,
  500: Code.Internal,
  501: Code.Unimplemented,
  503: Code.Unavailable,
  504: Code.DeadlineExceeded,
};

/** The status for an error, with the request's id in its metadata; what is ours to repair is logged. */
export function refusalOf(error: unknown, requestId: string, log: GrpcLog): ConnectError {
  if (error instanceof ConnectError) return error;
  const metadata = new Headers({ [requestIdHeader]: requestId });
  if (error instanceof CommonwattError) {
    if (isFault(error)) log.error({ err: error, requestId }, 'inference failed');
    if (error.retryAfterS !== undefined) {
      metadata.set('retry-after', String(Math.ceil(error.retryAfterS)));
      // What clients of gRPC that retry by themselves wait for.
      metadata.set('grpc-retry-pushback-ms', String(Math.ceil(error.retryAfterS * 1000)));
    }
    return new ConnectError(describeError(error), codes[error.status] ?? Code.Unknown, metadata);
  }
  log.error({ err: error, requestId }, 'inference failed');
  return new ConnectError(
    `internal error; its log line has the request id ${requestId}`,
    Code.Internal,
    metadata,
  );
}

/** A caller reads no more of a message than this. */
const messageLengthAtMost = 2_000;

/** Answers a call without reading its body: a status in the headers, which must then end the stream. */
export function refuse(stream: ServerHttp2Stream, { code, rawMessage, metadata }: ConnectError): void {
  if (stream.destroyed || stream.headersSent) return;
  stream.respond(
    {
      ':status': 200,
      'content-type': 'application/grpc+proto',
      'grpc-status': String(code),
      'grpc-message': percentEncoded(rawMessage),
      ...Object.fromEntries(metadata),
    },
    { endStream: true },
  );
}

/** Half a character, as cutting and callers leave them, cannot be encoded. */
export function percentEncoded(text: string): string {
  return encodeURIComponent(Buffer.from(text.slice(0, messageLengthAtMost)).toString());
}

export function deadlinePassed(): CommonwattError {
  return new CommonwattError(
    'DEADLINE_EXCEEDED',
    'the deadline of the call passed before its answer was there',
  );
}

/** Long enough for a caller to read the answer before it is hung up on. */
const lingerMs = 1_000;

/** Whoever goes on sending after the answer is heard for a moment without keeping a byte, then hung up on. */
export function hangUpAfterwards(stream: ServerHttp2Stream): void {
  stream.once('finish', () => {
    if (stream.readableEnded || stream.destroyed) return;
    const timer = setTimeout(() => stream.destroy(), lingerMs);
    stream.once('close', () => clearTimeout(timer));
    stream.resume();
  });
}
