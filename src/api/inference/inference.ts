/**
 * The door of the Open Inference Protocol (KServe V2, REST): `/v2/…`. It translates and validates; whether the
 * caller may is the gate's word, how it is computed the serve room's.
 *
 * In: V2 JSON, with binary tensors behind it or not. Out: the same with the footprint in `usage.impact` and in headers;
 * errors as `{"error": "…"}`.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { TensorSpec } from '../../models/models.ts';
import { principalOf } from '../guard.ts';
import { extensions, type InferenceHouse, platformOf, viewServed } from './answer.ts';
import { headerLengthHeader, readHeaderLength } from './binary.ts';
import { Budget, bodiesBytesAtMost, budgeted } from './budget.ts';
import { callHandler, type Form } from './call.ts';
import { extensionRoutes } from './extensions.ts';
import { generateForm, generateStreamForm } from './generate.ts';
import { parseInferRequest, type RestRequest } from './parse.ts';
import { type ModelParams, modelPaths, nameOf, refOf } from './paths.ts';
import { renderAnswer } from './render.ts';
import { sharedMemoryRoutes } from './shared-memory.ts';
import type { InferRequest } from './tensors.ts';

type ModelRequest = FastifyRequest<{ Params: ModelParams }>;

export async function inferenceRoutes(app: FastifyInstance, house: InferenceHouse): Promise<void> {
  // Whatever the content type says, the body is read as bytes and checked in full: clients differ in what they send.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    '*',
    { parseAs: 'buffer', bodyLimit: house.maxBodyBytes },
    (_request, body, done) => done(null, body),
  );
  const budget = new Budget(bodiesBytesAtMost(house.maxBodyBytes));
  app.addHook('preParsing', (_request, reply, payload, done) => {
    done(null, budgeted(payload, reply.raw, budget));
  });
  serverRoutes(app, house);
  modelRoutes(app, house);
  extensionRoutes(app, house);
  sharedMemoryRoutes(app);
}

/** Health and what is spoken say nothing about models, so they need no key. */
function serverRoutes(app: FastifyInstance, { version, deployments }: InferenceHouse): void {
  const open = { config: { access: 'public' } } as const;
  const metadata = () => ({ name: 'commonwatt', version, extensions: [...extensions, 'generate'] });
  app.get('/v2', open, metadata);
  app.get('/v2/', open, metadata);
  app.get('/v2/health/live', open, () => ({ live: true }));
  app.get('/v2/health/ready', open, (_request, reply) => {
    const ready = deployments.allReady();
    return reply.code(ready ? 200 : 503).send({ ready });
  });
}

function modelRoutes(app: FastifyInstance, house: InferenceHouse): void {
  const keyed = { config: { access: 'key' } } as const;
  const view = (request: ModelRequest) => viewServed(house, principalOf(request), refOf(request.params));
  for (const path of modelPaths(''))
    app.get<{ Params: ModelParams }>(path, keyed, async (request) => {
      const served = await view(request);
      const { modelId, signature } = served;
      return {
        name: nameOf(request.params),
        versions: house.deployments
          .servedVersions(modelId)
          .map(({ version }) => String(version))
          .reverse(),
        platform: platformOf(served),
        inputs: signature.inputs.map(tensorMetadata),
        outputs: signature.outputs.map(tensorMetadata),
      };
    });
  for (const path of modelPaths('/ready'))
    app.get<{ Params: ModelParams }>(path, keyed, async (request, reply) => {
      const ready = house.deployments.isReady(await view(request));
      return reply.code(ready ? 200 : 503).send({ name: nameOf(request.params), ready });
    });
  const call = <Request extends InferRequest>(verb: string, form: Form<Request>) => {
    const handler = callHandler(house, form);
    for (const path of modelPaths(verb))
      app.post<{ Params: ModelParams; Body: Buffer | undefined }>(path, keyed, handler);
  };
  call('/infer', inferForm);
  call('/generate', generateForm);
  call('/generate_stream', generateStreamForm);
}

const inferForm: Form<RestRequest> = {
  read: (body, signature, headers) =>
    parseInferRequest(body, signature, readHeaderLength(headers[headerLengthHeader])),
  write: (of, { id, outputs, binaryOutputs }, inference) =>
    renderAnswer({ ...of, id, wanted: outputs, binaryOutputs }, inference),
};

function tensorMetadata({ name, datatype, shape }: TensorSpec) {
  return { name, datatype, shape };
}
