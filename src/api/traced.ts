/** The spans of requests, from their arrival until their answer has left; looked at only where traces are wanted. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { answeredGrpc, answeredHttp } from '../telemetry/arrivals.ts';
import { type Span, traces } from '../telemetry/traces.ts';

const spans = new WeakMap<IncomingMessage | ServerHttp2Stream, Span>();

export function traceOf(request: IncomingMessage | ServerHttp2Stream): Span | undefined {
  return traces.active && spans.get(request);
}

/** `route`: with its parameters by name, so that a thousand models are not a thousand names. */
export function traceHttp(
  request: IncomingMessage,
  response: ServerResponse,
  requestId: string,
  route: string,
): void {
  const { method = '', headers, url = '' } = request;
  const path = url.split('?', 1)[0] ?? '';
  const span = traces.active?.arrived({ protocol: 'http', requestId, headers, method, route, path });
  if (!span) return;
  spans.set(request, span);
  response.once('close', () => answeredHttp(span, response.statusCode, response.writableFinished));
}

/** `method`: package, service and method. */
export function traceGrpc(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  requestId: string,
  method: string,
): void {
  const span = traces.active?.arrived({ protocol: 'grpc', requestId, headers, method });
  if (!span) return;
  spans.set(stream, span);
  stream.once('close', () => {
    const { sentTrailers, sentHeaders } = stream;
    answeredGrpc(span, sentTrailers?.['grpc-status'] ?? sentHeaders?.['grpc-status']);
  });
}
