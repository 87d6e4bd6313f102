/**
 * The door of the Open Inference Protocol (KServe V2, REST): `/v2/…`. It translates and validates; whether the
 * caller may is the gate's word, how it is computed the serve room's.
 *
 * In: V2 JSON. Out: V2 JSON with the footprint in `usage.impact` and in headers; errors as `{"error": "…"}`.
 */
import type { OutgoingHttpHeaders } from 'node:http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Admission } from '../../gate/gate.ts';
import type { ModelRef, TensorSpec } from '../../models/models.ts';
import { principalOf } from '../guard.ts';
import { answer, type InferenceHouse, modelRef, platform, viewServed } from './answer.ts';
import { headerLengthHeader, readHeaderLength } from './binary.ts';
import { parseInferRequest } from './parse.ts';
import { type RenderedAnswer, renderAnswer } from './render.ts';

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

  const keyed = { config: { access: 'key' } } as const;

  const view = (request: ModelRequest) => viewServed(house, principalOf(request), refOf(request.params));
  for (const path of ['/v2/models/:model', '/v2/models/:model/versions/:version']) {
    app.get<{ Params: ModelParams }>(path, keyed, async (request) => {
      const served = await view(request);
      return {
        name: request.params.model,
        versions: [String(served.version)],
        platform,
        inputs: served.signature.inputs.map(tensorMetadata),
        outputs: served.signature.outputs.map(tensorMetadata),
      };
    });
    app.get<{ Params: ModelParams }>(`${path}/ready`, keyed, async (request, reply) => {
      const served = await view(request);
      const ready = deployments.isReady(served);
      return reply.code(ready ? 200 : 503).send({ name: request.params.model, ready });
    });
    app.post<{ Params: ModelParams; Body: Buffer | undefined }>(`${path}/infer`, keyed, (request, reply) => {
      const ref = refOf(request.params);
      const principal = principalOf(request);
      const admission = gate.admit(principal, 'infer', ref.organisation, ref.name);
      const answered =
        admission instanceof Promise
          ? admission.then((admitted) => infer(request, reply, ref, admitted))
          : infer(request, reply, ref, admission);
      // Without a promise for the framework: this is the hot path.
      answered.catch((error: unknown) => reply.send(error));
    });
  }

  function infer(
    request: FastifyRequest<{ Params: ModelParams; Body: Buffer | undefined }>,
    reply: FastifyReply,
    ref: ModelRef,
    admission: Admission,
  ): Promise<void> {
    return answer(house, ref, admission, {
      requestId: request.id,
      read: (signature) => {
        const headerLength = readHeaderLength(request.headers[headerLengthHeader]);
        return parseInferRequest(request.body ?? Buffer.alloc(0), signature, headerLength);
      },
      watch: (call) => reply.raw.once('close', () => call.cancel()),
      write: (inference, { version }, { id, outputs, binaryOutputs }) => {
        const head = { modelName: request.params.model, version, id, wanted: outputs, binaryOutputs };
        send(reply, renderAnswer(head, inference));
      },
    });
  }
}

/** Straight to the socket, in one write: the framework's own way costs more than the rest of the answer. */
function send(reply: FastifyReply, { headers: own, body }: RenderedAnswer): void {
  reply.hijack();
  const headers: OutgoingHttpHeaders = {};
  for (const [name, value] of Object.entries(reply.getHeaders()))
    if (value !== undefined) headers[name] = value;
  for (let at = 0; at < own.length; at += 2) headers[own[at] ?? ''] = own[at + 1];
  headers['content-length'] = Buffer.byteLength(body);
  reply.raw.writeHead(200, headers).end(body);
}

function refOf({ model, version }: ModelParams): ModelRef {
  return modelRef(model, version);
}

function tensorMetadata({ name, datatype, shape }: TensorSpec) {
  return { name, datatype, shape };
}
