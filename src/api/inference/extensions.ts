/** The routes of the extensions: repository, statistics, model configuration; and the list of what is spoken. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { principalOf } from '../guard.ts';
import { type InferenceHouse, modelRef, viewServed } from './answer.ts';
import { isObject, parseJson } from './json.ts';
import { modelConfig } from './model-config.ts';
import { flagParameter, parametersOf } from './parameters.ts';
import { type ModelParams, modelPaths, nameOf, refOf } from './paths.ts';
import { loadModel, repositoryIndex, unloadModel } from './repository.ts';
import { statisticsJson, statisticsOf } from './statistics.ts';
import { invalid } from './tensors.ts';

const keyed = { config: { access: 'key' } } as const;

type BodyRequest = FastifyRequest<{ Params: ModelParams; Body: Buffer | undefined }>;

export function extensionRoutes(app: FastifyInstance, house: InferenceHouse): void {
  app.get('/v2/models/stats', keyed, async (request) =>
    statisticsJson(await statisticsOf(house, principalOf(request))),
  );
  for (const path of modelPaths('/stats'))
    app.get<{ Params: ModelParams }>(path, keyed, async (request) => {
      const asked = { name: nameOf(request.params), ref: refOf(request.params) };
      return statisticsJson(await statisticsOf(house, principalOf(request), asked));
    });
  for (const path of modelPaths('/config'))
    app.get<{ Params: ModelParams }>(path, keyed, async (request) => {
      const served = await viewServed(house, principalOf(request), refOf(request.params));
      return modelConfig(nameOf(request.params), served, house.maxBatchSize);
    });
  repositoryRoutes(app, house);
}

function repositoryRoutes(app: FastifyInstance, house: InferenceHouse): void {
  app.post<{ Params: ModelParams; Body: Buffer | undefined }>(
    '/v2/repository/index',
    keyed,
    async (request) => {
      const readyOnly = flagParameter(objectOf(request), 'ready', 'body') ?? false;
      const entries = await repositoryIndex(house, principalOf(request), readyOnly);
      return entries.map((entry) => ({ ...entry, version: String(entry.version) }));
    },
  );
  for (const path of ['/v2/repository/models/:model', '/v2/repository/models/:organisation/:name']) {
    app.post<{ Params: ModelParams; Body: Buffer | undefined }>(
      `${path}/load`,
      keyed,
      async (request, reply) => {
        const parameters = parametersOf(objectOf(request).parameters, 'parameters');
        await loadModel(house, principalOf(request), modelRef(nameOf(request.params), undefined), parameters);
        return reply.send();
      },
    );
    app.post<{ Params: ModelParams; Body: Buffer | undefined }>(
      `${path}/unload`,
      keyed,
      async (request, reply) => {
        const parameters = parametersOf(objectOf(request).parameters, 'parameters');
        // No model here is loaded for another's sake, so there are never dependents.
        flagParameter(parameters, 'unload_dependents', 'parameters');
        await unloadModel(house, principalOf(request), modelRef(nameOf(request.params), undefined));
        return reply.send();
      },
    );
  }
}

/** The body as an object; clients send nothing when they ask for nothing. */
function objectOf({ body }: BodyRequest): Record<string, unknown> {
  if (body === undefined || body.length === 0) return {};
  const object = parseJson(body, false);
  if (!isObject(object)) throw invalid('the request', 'must be a JSON object', 'body');
  return object;
}
