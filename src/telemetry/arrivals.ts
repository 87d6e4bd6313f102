/** How a request is named and described by OpenTelemetry's semantic conventions (HTTP 1.x; RPC, release candidate). */
import type { Arrival, Span } from './traces.ts';

/** A client's own id is told, never used as ours. */
const theirIdAtMost = 200;

export function arrivalOf(arrival: Arrival): { name: string; attributes: Record<string, string | string[]> } {
  const { requestId, headers } = arrival;
  const own = { 'commonwatt.request_id': requestId };
  const theirs = headers['x-request-id'];
  const their = typeof theirs === 'string' ? [theirs.slice(0, theirIdAtMost)] : undefined;
  if (arrival.protocol === 'grpc') {
    const { method } = arrival;
    const attributes = { ...own, 'rpc.system.name': 'grpc', 'rpc.method': method };
    return {
      name: method,
      attributes: their ? { ...attributes, 'rpc.request.metadata.x-request-id': their } : attributes,
    };
  }
  const { method, route, path } = arrival;
  const attributes = {
    ...own,
    'http.request.method': method,
    'http.route': route,
    'url.path': path,
    'url.scheme': 'http',
  };
  return {
    name: `${method} ${route}`,
    attributes: their ? { ...attributes, 'http.request.header.x-request-id': their } : attributes,
  };
}

/** How an HTTP answer ended; a caller's fault is no fault of the server's. */
export function answeredHttp(span: Span, status: number, wasSent: boolean): void {
  span.set({ 'http.response.status_code': status });
  endAs(span, wasSent ? (status >= 500 ? String(status) : undefined) : 'client_disconnected');
}

const grpcNames = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
];
/** Those that the conventions call errors of a server. */
const grpcFaults = new Set([
  'UNKNOWN',
  'DEADLINE_EXCEEDED',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
]);

/** `status`: as the trailers say it; undefined when there were none: the caller has left. */
export function answeredGrpc(span: Span, status: unknown): void {
  const name = status === undefined ? 'CANCELLED' : (grpcNames[Number(status)] ?? 'UNKNOWN');
  span.set({ 'rpc.response.status_code': name });
  endAs(span, grpcFaults.has(name) ? name : undefined);
}

function endAs(span: Span, fault: string | undefined): void {
  if (fault === undefined) span.end();
  else span.fail(fault);
}
