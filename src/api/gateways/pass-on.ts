/** Passes a request on to the server whole, and its answer back: everything that a door does not answer itself. */
import {
  Agent,
  type ClientRequest,
  request as httpRequest,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http';
import { CommonwattError } from '../../errors.ts';
import type { Span } from '../../telemetry/traces.ts';
import { peerHeader } from '../peer.ts';
import { type ErrorLog, errorAnswer } from '../problem.ts';
import { requestIds } from '../request-ids.ts';
import { traceOf } from '../traced.ts';

/** `body`: when it has been read already. */
export type PassOn = (request: IncomingMessage, response: ServerResponse, body?: Buffer) => void;

/** Between two neighbours only (RFC 9110, 7.6.1); the peer is nobody's to say but ours. */
const ownOfConnection = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'upgrade',
  'expect',
  peerHeader,
]);

/** `maxBodyBytes`: what the server lets an inference have. */
export function passOnTo(socketPath: string, log: ErrorLog, maxBodyBytes: number): PassOn {
  const newRequestId = requestIds();
  const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY, maxFreeSockets: 32 });
  return (request, response, body) => {
    const { method, url = '/' } = request;
    const headers = [...withoutOwn(request.rawHeaders), peerHeader, request.socket.remoteAddress ?? ''];
    const trace = traceOf(request);
    if (trace) goOn(headers, trace);
    if (hasNoBody(request)) headers.push('content-length', '0');
    const upstream = httpRequest({ socketPath, agent, method, path: url, headers: headers as never });
    upstream.on('response', (answer) => {
      const own = withoutOwn(answer.rawHeaders);
      if (answer.headers.connection === 'close') own.push('connection', 'close');
      response.writeHead(answer.statusCode ?? 502, own);
      answer.pipe(response);
      answer.on('error', () => response.destroy());
    });
    upstream.on('error', (cause) =>
      refuse(reasonOf(cause, request, maxBodyBytes), request, response, newRequestId(), log),
    );
    response.once('close', () => {
      if (!response.writableFinished) upstream.destroy();
    });
    send(upstream, request, body);
  };
}

/** The server's stretch of the way is a part of the door's. */
function goOn(headers: string[], { traceparent }: Span): void {
  for (let at = 0; at < headers.length; at += 2)
    if (headers[at]?.toLowerCase() === 'traceparent') headers.splice(at, 2);
  headers.push('traceparent', traceparent);
}

function send(upstream: ClientRequest, request: IncomingMessage, body: Buffer | undefined): void {
  if (body) upstream.end(body);
  else request.pipe(upstream);
}

function hasNoBody({ method, headers }: IncomingMessage): boolean {
  if (method === 'GET' || method === 'HEAD') return false;
  return headers['content-length'] === undefined && headers['transfer-encoding'] === undefined;
}

function withoutOwn(raw: readonly string[]): string[] {
  const kept: string[] = [];
  for (let at = 0; at < raw.length; at += 2) {
    const [name, value] = [raw[at], raw[at + 1]];
    if (name !== undefined && value !== undefined && !ownOfConnection.has(name.toLowerCase()))
      kept.push(name, value);
  }
  return kept;
}

/** The server refuses a body that is too large before it has all of it: its answer may be lost in what is still sent. */
function reasonOf(cause: Error, { url = '', headers }: IncomingMessage, maxBodyBytes: number) {
  if (url.startsWith('/v2/') && Number(headers['content-length']) > maxBodyBytes)
    return new CommonwattError('PAYLOAD_TOO_LARGE', `the body is larger than ${maxBodyBytes} bytes`, {
      hint: 'send less at once',
      cause,
    });
  return new CommonwattError('NOT_READY', 'the server is starting or ending', {
    hint: 'send it again in a moment',
    retryAfterS: 1,
    cause,
  });
}

/** After the answer has begun nothing more can be said than by cutting it short. */
function refuse(
  error: CommonwattError,
  request: IncomingMessage,
  response: ServerResponse,
  requestId: string,
  log: ErrorLog,
): void {
  if (response.headersSent || response.destroyed) {
    if (!response.writableFinished) response.destroy();
    return;
  }
  const { status, headers, body } = errorAnswer(error, request.url ?? '', requestId, log);
  const own = { ...headers, 'x-commonwatt-request-id': requestId };
  response
    .writeHead(status, { ...own, connection: 'close', 'content-length': Buffer.byteLength(body) })
    .end(body);
}
