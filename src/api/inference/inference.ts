/**
 * The door of the Open Inference Protocol (KServe V2, REST): `/v2/…`. It translates and validates; whether the
 * caller may is the gate's word, how it is computed the serve room's.
 *
 * In: V2 JSON. Out: V2 JSON with the footprint in `usage.impact` and in headers; errors as `{"error": "…"}`.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { WorkContext } from '../../energy/energy.ts';
import { CommonwattError, describeError } from '../../errors.ts';
import type { Admission, Gate, ModelAction, Principal } from '../../gate/gate.ts';
import type { ModelRef, TensorSpec } from '../../models/models.ts';
import { parseModelRef } from '../../models/names.ts';
import type { Deployments } from '../../serve/deployments.ts';
import type { Inference, ServedVersion } from '../../serve/serve.ts';
import { parseInferRequest } from './parse.ts';
import { renderInferAnswer } from './render.ts';

export interface InferenceHouse {
  gate: Gate;
  deployments: Deployments;
  version: string;
  maxBodyBytes: number;
}

interface ModelParams {
  model: string;
  version?: string;
}

type ModelRequest = FastifyRequest<{ Params: ModelParams }>;

export async function inferenceRoutes(app: FastifyInstance, house: InferenceHouse): Promise<void> {
  const { gate, deployments } = house;
  // Whatever the content type says, the body is read as JSON and checked in full: clients differ in what they send.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    '*',
    { parseAs: 'buffer', bodyLimit: house.maxBodyBytes },
    (_request, body, done) => done(null, body),
  );
  app.setErrorHandler((error, request, reply) => answerError(error, request, reply));

  // Health says nothing about models, so it needs no key.
  app.get('/v2', { config: { access: 'public' } }, () => ({
    name: 'commonwatt',
    version: house.version,
    extensions: [],
  }));
  app.get('/v2/health/live', { config: { access: 'public' } }, () => ({ live: true }));
  app.get('/v2/health/ready', { config: { access: 'public' } }, (_request, reply) => {
    const ready = deployments.allReady();
    return reply.code(ready ? 200 : 503).send({ ready });
  });

  // Before the body is read: a stranger's bytes are not worth a buffer.
  const principals = new WeakMap<FastifyRequest, Principal>();
  const authenticate = (request: FastifyRequest, _reply: FastifyReply, done: (error?: Error) => void) => {
    try {
      const principal = gate.authenticate(bearerKey(request));
      if (principal instanceof Promise) {
        principal.then((known) => principals.set(request, known)).then(() => done(), done);
        return;
      }
      principals.set(request, principal);
      done();
    } catch (error) {
      done(error as Error);
    }
  };
  const keyed = { config: { access: 'key' }, onRequest: authenticate } as const;

  const view = async (request: ModelRequest, action: ModelAction) => {
    const ref = modelRef(request.params);
    const access = await gate.authorize(principalOf(principals, request), action, ref.organisation, ref.name);
    return { ref, served: deployments.served(access.model.id, ref) };
  };
  for (const path of ['/v2/models/:model', '/v2/models/:model/versions/:version']) {
    app.get<{ Params: ModelParams }>(path, keyed, async (request) => {
      const { served } = await view(request, 'view');
      return {
        name: request.params.model,
        versions: [String(served.version)],
        platform: 'onnx_onnxruntime',
        inputs: served.signature.inputs.map(tensorMetadata),
        outputs: served.signature.outputs.map(tensorMetadata),
      };
    });
    app.get<{ Params: ModelParams }>(`${path}/ready`, keyed, async (request, reply) => {
      const { served } = await view(request, 'view');
      const ready = deployments.isReady(served);
      return reply.code(ready ? 200 : 503).send({ name: request.params.model, ready });
    });
    app.post<{ Params: ModelParams; Body: Buffer | undefined }>(`${path}/infer`, keyed, (request, reply) => {
      const ref = modelRef(request.params);
      const principal = principalOf(principals, request);
      const admission = gate.admit(principal, 'infer', ref.organisation, ref.name);
      return admission instanceof Promise
        ? admission.then((admitted) => infer(request, reply, ref, admitted))
        : infer(request, reply, ref, admission);
    });
  }

  async function infer(
    request: FastifyRequest<{ Params: ModelParams; Body: Buffer | undefined }>,
    reply: FastifyReply,
    ref: ModelRef,
    admission: Admission,
  ) {
    let inference: Inference;
    let served: ServedVersion;
    let parsed: ReturnType<typeof parseInferRequest>;
    try {
      served = deployments.served(admission.model.id, ref);
      if (request.headers['inference-header-content-length'] !== undefined) {
        throw new CommonwattError(
          'INVALID_REQUEST',
          'the binary tensor data extension is not spoken here yet',
          {
            hint: 'send the tensors as JSON (binary_data=False in tritonclient)',
          },
        );
      }
      parsed = parseInferRequest(request.body ?? Buffer.alloc(0), served.signature);
      const { socket } = request.raw;
      inference = await deployments.inferWhile(
        served,
        parsed.inputs,
        contextOf(request, admission),
        () => !socket.destroyed,
      );
    } catch (error) {
      admission.release();
      throw error;
    }
    admission.settle();
    const { energyJ, carbonGCo2e } = inference.footprint;
    reply.header('content-type', 'application/json; charset=utf-8');
    if (Number.isFinite(energyJ)) {
      reply.header('x-commonwatt-energy-wh', String(energyJ / 3600));
      reply.header('x-commonwatt-carbon-gco2e', String(carbonGCo2e));
    }
    return renderInferAnswer(
      { modelName: request.params.model, version: served.version, id: parsed.id, wanted: parsed.outputs },
      inference,
    );
  }
}

function contextOf(request: FastifyRequest, { principal, grant }: Admission): WorkContext {
  return {
    kind: 'inference',
    requestId: request.id,
    consumer: principal,
    keyId: principal.keyId,
    grantId: grant?.id ?? null,
    jobId: null,
  };
}

function principalOf(principals: WeakMap<FastifyRequest, Principal>, request: FastifyRequest): Principal {
  const principal = principals.get(request);
  if (!principal) throw new CommonwattError('UNAUTHENTICATED', 'this request carries no API key');
  return principal;
}

function bearerKey(request: FastifyRequest): string | undefined {
  const header = request.headers.authorization;
  return header?.slice(0, 7).toLowerCase() === 'bearer ' ? header.slice(7).trim() : undefined;
}

function modelRef({ model, version }: ModelParams): ModelRef {
  const ref = parseModelRef(model);
  if (version === undefined) return ref;
  if (!/^[1-9]\d{0,8}$/.test(version)) {
    throw new CommonwattError(
      'VERSION_NOT_FOUND',
      `version ${JSON.stringify(version.slice(0, 40))} does not exist`,
      { hint: 'versions are numbers from 1' },
    );
  }
  return { organisation: ref.organisation, name: ref.name, version: Number(version) };
}

function tensorMetadata({ name, datatype, shape }: TensorSpec) {
  return { name, datatype, shape };
}

function answerError(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  if (error instanceof CommonwattError) {
    if (error.retryAfterS !== undefined) reply.header('retry-after', String(Math.ceil(error.retryAfterS)));
    if (error.status === 401) reply.header('www-authenticate', 'Bearer');
    if (error.status >= 500) request.log.error({ err: error }, 'inference failed');
    return reply.code(error.status).send({ error: describeError(error) });
  }
  const { statusCode, message } = error as { statusCode?: number; message?: string };
  if (statusCode !== undefined && statusCode < 500) return reply.code(statusCode).send({ error: message });
  request.log.error({ err: error }, 'inference failed');
  return reply.code(500).send({ error: `internal error; its log line has the request id ${request.id}` });
}
