/**
 * The gRPC door of the Open Inference Protocol (`inference.GRPCInferenceService`). It translates and validates, as
 * the REST door does; behind both stand the same gate and the same serve room.
 *
 * In: protobuf over HTTP/2 cleartext, the API key in the metadata `authorization`. Out: protobuf with the footprint
 * in `parameters` and in metadata; errors as gRPC statuses. Promise: no body is read without a valid key.
 */
import http2, {
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import {
  ConnectError,
  type ConnectRouter,
  createContextKey,
  createContextValues,
  type HandlerContext,
  type Interceptor,
} from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { CommonwattError } from '../../errors.ts';
import type { Principal } from '../../gate/gate.ts';
import type { TensorSpec } from '../../models/models.ts';
import { bearerKey } from '../guard.ts';
import { requestIds } from '../request-ids.ts';
import { answer, type InferenceHouse, modelRef, platform, viewServed } from './answer.ts';
import { type GrpcLog, hangUpAfterwards, refusalOf, refuse, requestIdHeader } from './grpc-errors.ts';
import { footprintParameters } from './grpc-footprint.ts';
import { readInferRequest, writeOutputs } from './grpc-tensors.ts';
import { chooseOutputs } from './outputs.ts';
import { GRPCInferenceService, type ModelInferRequest } from './proto/open_inference_grpc_pb.ts';

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

interface Call {
  requestId: string;
  /** Absent for what is public. */
  principal?: Principal;
}

/** They say nothing about models, so they need no key. */
const publicPaths: ReadonlySet<string> = new Set(
  [
    GRPCInferenceService.method.serverLive,
    GRPCInferenceService.method.serverReady,
    GRPCInferenceService.method.serverMetadata,
  ].map(({ name }) => `/${GRPCInferenceService.typeName}/${name}`),
);

/** gRPC's own default. Many tiny elements in one message take a hundred times its size once decoded. */
const messageBytesAtMost = 4 * 1024 * 1024;
const maxConcurrentCalls = 256;
/** Beyond this much under way on one connection, new calls on it are refused. */
const sessionMemoryMb = 64;
/** What is public asks nothing, so its requests are empty. */
const publicBodyBytes = 1024;
const idleSessionMs = 10 * 60_000;
const drainMs = 10_000;

const callKey = createContextKey<Call>({ requestId: '' });

/** Throws what listening throws, e.g. EADDRINUSE. */
export async function startGrpc({ host, port, house, log }: GrpcOptions): Promise<GrpcServer> {
  const newRequestId = requestIds();
  const calls = new WeakMap<object, Call>();
  const adapter = (readMaxBytes: number) =>
    connectNodeAdapter({
      routes: (router) => inferenceService(router, house),
      grpc: true,
      grpcWeb: false,
      connect: false,
      readMaxBytes,
      interceptors: [translateErrors(log)],
      contextValues: (request) =>
        createContextValues().set(callKey, calls.get(request) ?? { requestId: newRequestId() }),
    });
  const keyed = adapter(Math.min(house.maxBodyBytes, messageBytesAtMost));
  const open = adapter(publicBodyBytes);

  const answerCall = async (request: Http2ServerRequest, response: Http2ServerResponse) => {
    const requestId = newRequestId();
    hangUpAfterwards(request, response);
    try {
      if (!URL.canParse(`http://${request.authority}`))
        throw new CommonwattError('INVALID_REQUEST', 'the request names no valid :authority');
      if (publicPaths.has(request.url)) {
        calls.set(request, { requestId });
        open(request, response);
        return;
      }
      const principal = await house.gate.authenticate(bearerKey(request.headers.authorization));
      calls.set(request, { requestId, principal });
      keyed(request, response);
    } catch (error) {
      refuse(response, refusalOf(error, requestId, log));
    }
  };
  const server = http2.createServer(
    { settings: { maxConcurrentStreams: maxConcurrentCalls }, maxSessionMemory: sessionMemoryMb },
    (request, response) => void answerCall(request, response),
  );

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

function inferenceService(router: ConnectRouter, house: InferenceHouse): void {
  const { gate, deployments } = house;
  const view = (name: string, version: string, context: HandlerContext) =>
    viewServed(house, principalOf(context), modelRef(name, version || undefined));
  router.service(GRPCInferenceService, {
    serverLive: () => ({ live: true }),
    serverReady: () => ({ ready: deployments.allReady() }),
    serverMetadata: () => ({ name: 'commonwatt', version: house.version, extensions: [] }),
    async modelReady({ name, version }, context) {
      return { ready: deployments.isReady(await view(name, version, context)) };
    },
    async modelMetadata({ name, version }, context) {
      const served = await view(name, version, context);
      return {
        name,
        versions: [String(served.version)],
        platform,
        inputs: served.signature.inputs.map(tensorMetadata),
        outputs: served.signature.outputs.map(tensorMetadata),
      };
    },
    async modelInfer(request, context) {
      const ref = modelRef(request.modelName, request.modelVersion || undefined);
      const admission = await gate.admit(principalOf(context), 'infer', ref.organisation, ref.name);
      const { requestId } = context.values.get(callKey);
      return answer(house, ref, admission, {
        requestId,
        read: (signature) => readInferRequest(request, signature),
        watch: (call) => context.signal.addEventListener('abort', () => call.cancel(), { once: true }),
        write: (inference, { version }, { id = '', outputs }) => ({
          modelName: request.modelName,
          modelVersion: String(version),
          id,
          parameters: footprintParameters(inference.footprint, requestId, context.responseHeader),
          ...writeOutputs(chooseOutputs(inference.outputs, outputs), isRaw(request)),
        }),
      });
    },
  });
}

/** Every handler's errors become statuses here, and every answer tells our request id. */
function translateErrors(log: GrpcLog): Interceptor {
  return (next) => async (request) => {
    const { requestId } = request.contextValues.get(callKey);
    try {
      const response = await next(request);
      response.header.set(requestIdHeader, requestId);
      return response;
    } catch (error) {
      // When the caller's deadline passed, that is what it should read, and not what followed from it.
      const { reason }: { reason: unknown } = request.signal;
      throw refusalOf(reason instanceof ConnectError ? reason : error, requestId, log);
    }
  };
}

function principalOf(context: HandlerContext): Principal {
  const { principal } = context.values.get(callKey);
  if (!principal) throw new CommonwattError('UNAUTHENTICATED', 'this request carries no API key');
  return principal;
}

function isRaw({ rawInputContents }: ModelInferRequest): boolean {
  return rawInputContents.length > 0;
}

function tensorMetadata({ name, datatype, shape }: TensorSpec) {
  return { name, datatype, shape: shape.map(BigInt) };
}
