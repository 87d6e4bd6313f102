/**
 * The gRPC door of the Open Inference Protocol (`inference.GRPCInferenceService`, as KServe's and Triton's clients speak
 * it) and gRPC's health checks. It translates and validates, as the REST door does; behind both stand the same gate and
 * the same serve room.
 *
 * In: protobuf over HTTP/2 cleartext, the API key in the metadata `authorization`. Out: protobuf with the footprint
 * in `parameters` and in metadata; errors as gRPC statuses. Promise: no body is read without a valid key.
 *
 * Inference goes the quick way (`grpc-unary.ts`, `grpc-stream.ts`), everything else through Connect (`grpc-service.ts`).
 */
import http2, { type IncomingHttpHeaders, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { createContextValues } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { CommonwattError } from '../../errors.ts';
import { traces } from '../../telemetry/traces.ts';
import { bearerKey } from '../guard.ts';
import { echoedRequestId, requestIds } from '../request-ids.ts';
import { traceGrpc } from '../traced.ts';
import type { InferenceHouse } from './answer.ts';
import { Budget, bodiesBytesAtMost } from './budget.ts';
import { type GrpcLog, hangUpAfterwards, refusalOf, refuse } from './grpc-errors.ts';
import { healthService } from './grpc-health.ts';
import { type Call, callKey, inferenceService, translateErrors } from './grpc-service.ts';
import { InferStream } from './grpc-stream.ts';
import { answerUnary, type InferDoor } from './grpc-unary.ts';
import { Health } from './proto/health_pb.ts';
import { GRPCInferenceService } from './proto/open_inference_grpc_pb.ts';

export interface GrpcOptions {
  host: string;
  /** 0: any free one; the address tells which. */
  port: number;
  house: InferenceHouse;
  log: GrpcLog;
}

export interface GrpcServer {
  /** `host:port` */
  address: string;
  /** Takes no new calls, answers those under way, and ends. */
  stop(): Promise<void>;
}

const pathOf = (service: { typeName: string }, name: string) => `/${service.typeName}/${name}`;
const inferPath = pathOf(GRPCInferenceService, GRPCInferenceService.method.modelInfer.name);
const streamPath = pathOf(GRPCInferenceService, GRPCInferenceService.method.modelStreamInfer.name);
/** They say nothing about models, so they need no key. */
const publicPaths: ReadonlySet<string> = new Set([
  ...['ServerLive', 'ServerReady', 'ServerMetadata'].map((name) => pathOf(GRPCInferenceService, name)),
  ...Health.methods.map(({ name }) => pathOf(Health, name)),
]);
const keyedPaths: ReadonlySet<string> = new Set(
  GRPCInferenceService.methods.map(({ name }) => pathOf(GRPCInferenceService, name)),
);

/** As traces name a call; callers must not make up names. */
function spoken(path = ''): string {
  return publicPaths.has(path) || keyedPaths.has(path) ? path.slice(1) : '_OTHER';
}

const maxConcurrentCalls = 256;
/** Beyond this much under way on one connection, new calls on it are refused. */
const sessionMemoryMb = 64;
/** What is public asks next to nothing. */
const publicBodyBytes = 1024;
/** What is asked about models is names and settings. */
const smallBodyBytes = 64 * 1024;
const idleSessionMs = 10 * 60_000;
const drainMs = 10_000;

/** Throws what listening throws, e.g. EADDRINUSE. */
export async function startGrpc({ host, port, house, log }: GrpcOptions): Promise<GrpcServer> {
  const stopping = new AbortController();
  const server = http2.createServer({
    settings: { maxConcurrentStreams: maxConcurrentCalls },
    maxSessionMemory: sessionMemoryMb,
  });
  server.on('stream', doorman(house, log, stopping.signal));
  const sessions = new Set<ServerHttp2Session>();
  server.on('session', (session) => {
    sessions.add(session);
    session.on('close', () => sessions.delete(session));
    session.setTimeout(idleSessionMs, () => session.close());
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, () => {
      server.off('error', reject);
      resolve();
    });
  });
  const { port: real } = server.address() as AddressInfo;
  return {
    address: `${host.includes(':') ? `[${host}]` : host}:${real}`,
    stop: () =>
      new Promise((resolve) => {
        stopping.abort();
        const timer = setTimeout(() => {
          for (const session of sessions) session.destroy();
        }, drainMs);
        server.close(() => {
          clearTimeout(timer);
          resolve();
        });
        for (const session of sessions) session.close();
      }),
  };
}

type OnStream = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number) => void;

/** Looks at each call's headers, and sends it where it belongs, or away. */
function doorman(house: InferenceHouse, log: GrpcLog, stopping: AbortSignal): OnStream {
  const newRequestId = requestIds();
  const door: InferDoor = {
    house,
    log,
    budget: new Budget(bodiesBytesAtMost(house.maxBodyBytes)),
    // A header that differs with each answer costs gRPC some percent: it is for who asks.
    forms: { ...house.forms, timing: false },
  };
  const calls = new WeakMap<object, Call>();
  const other = connectDoors(house, log, stopping, calls);
  const enter = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, call: Required<Call>) => {
    const { requestId, principal } = call;
    if (headers[':path'] === inferPath) answerUnary(door, stream, headers, requestId, principal);
    else if (headers[':path'] === streamPath) {
      const authenticate = () => house.gate.authenticate(bearerKey(headers.authorization));
      new InferStream({ door, stream, headers, requestId, newRequestId, authenticate, stopping });
    } else other.keyed(stream, headers, call);
  };
  return (stream, headers) => {
    const requestId = newRequestId();
    if (traces.active) traceGrpc(stream, headers, requestId, spoken(headers[':path']));
    const theirs = echoedRequestId(headers['x-request-id']);
    if (theirs !== undefined) echo(stream, theirs);
    // Callers break off as they please; what was theirs ends by `close`.
    stream.on('error', () => {});
    const fail = (error: unknown) => {
      hangUpAfterwards(stream);
      refuse(stream, refusalOf(error, requestId, log));
    };
    try {
      const path = headers[':path'] ?? '';
      if (publicPaths.has(path)) {
        checkCall(headers);
        other.open(stream, headers, { requestId });
        return;
      }
      if (!keyedPaths.has(path)) throw notSpoken(path);
      const principal = house.gate.authenticate(bearerKey(headers.authorization));
      if (principal instanceof Promise)
        principal
          .then((admitted) => {
            checkCall(headers);
            enter(stream, headers, { requestId, principal: admitted });
          })
          .catch(fail);
      else {
        checkCall(headers);
        enter(stream, headers, { requestId, principal });
      }
    } catch (error) {
      fail(error);
    }
  };
}

/** Whoever answers, the caller's own id is in the answer. */
function echo(stream: ServerHttp2Stream, theirs: string): void {
  const respond = stream.respond.bind(stream);
  stream.respond = (headers, options) => respond({ ...headers, 'x-request-id': theirs }, options);
}

function checkCall(headers: IncomingHttpHeaders): void {
  const { ':method': method, ':authority': authority = '', 'content-type': type } = headers;
  if (method !== 'POST' || (type !== 'application/grpc' && type !== 'application/grpc+proto'))
    throw new CommonwattError('UNSUPPORTED_MEDIA_TYPE', 'gRPC is spoken here: POST with application/grpc', {
      hint: 'REST has a port of its own',
    });
  if (authority !== '' && !isAuthority(authority))
    throw new CommonwattError('INVALID_REQUEST', 'the request names no valid :authority');
}

let lastAuthority = '';
/** Nearly all callers of a server name it alike. */
function isAuthority(authority: string): boolean {
  if (authority === lastAuthority) return true;
  if (!URL.canParse(`http://${authority}`)) return false;
  lastAuthority = authority;
  return true;
}

function notSpoken(path: string): CommonwattError {
  const method = path.startsWith(`/${GRPCInferenceService.typeName}/`) ? path.split('/').at(-1) : path;
  return new CommonwattError('NOT_SUPPORTED', `${(method ?? '').slice(0, 200)} is not spoken here`, {
    hint: 'inference.GRPCInferenceService and grpc.health.v1.Health are',
  });
}

const noCall: Call = { requestId: '' };

type Enter = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, call: Call) => void;

/** Connect takes requests and responses as node makes them of streams for whoever listens for requests. */
function connectDoors(
  house: InferenceHouse,
  log: GrpcLog,
  stopping: AbortSignal,
  calls: WeakMap<object, Call>,
): { open: Enter; keyed: Enter } {
  const doorOf = (readMaxBytes: number): Enter => {
    const adapter = connectNodeAdapter({
      routes: (router) => {
        inferenceService(router, house);
        healthService(router, house, stopping);
      },
      grpc: true,
      grpcWeb: false,
      connect: false,
      readMaxBytes,
      interceptors: [translateErrors(log)],
      contextValues: (request) =>
        createContextValues().set(callKey, ('stream' in request && calls.get(request.stream)) || noCall),
    });
    const requests = http2.createServer(adapter);
    return (stream, headers, call) => {
      calls.set(stream, call);
      hangUpAfterwards(stream);
      requests.emit('stream', stream, headers, 0);
    };
  };
  return { open: doorOf(publicBodyBytes), keyed: doorOf(smallBodyBytes) };
}
