/** Models of the caller's organisation and models shared with it, and where their aliases point. */
import { z } from 'zod';
import { CommonwattError } from '../../errors.ts';
import type { ModelRecord, VersionRecord } from '../../models/models.ts';
import { checkName } from '../../models/names.ts';
import { principalOf } from '../guard.ts';
import type { House, PlatformApp } from './house.ts';
import { aliasSchema, modelParams, modelSchema } from './schemas.ts';
import { modelView, parseModelName, refOf } from './views.ts';

type Parts = Pick<
  House,
  'gate' | 'grants' | 'registry' | 'deployments' | 'aliases' | 'datasets' | 'evaluations'
>;

export function modelRoutes(app: PlatformApp, house: Parts): void {
  const { gate, grants, registry } = house;
  app.get(
    '/models',
    {
      config: { access: 'key' },
      schema: {
        tags: ['models'],
        summary: 'List your models and those shared with you',
        response: { 200: z.object({ models: z.array(modelSchema) }) },
      },
    },
    async (request) => {
      const { organisationId } = principalOf(request);
      const received = new Map((await grants.listFor(organisationId)).map((grant) => [grant.modelId, grant]));
      const own = await registry.listModels(organisationId);
      const shared = await registry.listGrantedModels(organisationId);
      const views = [
        ...own.map((model) => modelView(house, { model, grant: null })),
        // A model without its active grant is not shown, whatever the registry lists.
        ...shared.flatMap((model) => {
          const grant = received.get(model.id);
          return grant ? [modelView(house, { model, grant })] : [];
        }),
      ];
      return { models: await Promise.all(views) };
    },
  );
  app.get(
    '/models/:model',
    {
      config: { access: 'key', errors: ['MODEL_NOT_FOUND', 'INVALID_NAME'] },
      schema: {
        tags: ['models'],
        summary: 'Show a model',
        params: modelParams,
        response: { 200: modelSchema },
      },
    },
    async (request) => {
      const { organisation, name } = parseModelName(request.params.model);
      return modelView(house, await gate.authorize(principalOf(request), 'view', organisation, name));
    },
  );
  app.put(
    '/models/:model/aliases/:alias',
    {
      config: {
        access: 'key',
        errors: [
          'MODEL_NOT_FOUND',
          'VERSION_NOT_FOUND',
          'FORBIDDEN',
          'GATE_NOT_PASSED',
          'INVALID_NAME',
          'CONFLICT',
          'RUNNER_FAILED',
        ],
      },
      schema: {
        tags: ['models'],
        summary: 'Point an alias at a version',
        description:
          'No request fails meanwhile. production moves only to a version whose latest evaluation passed its gate. An alias that answers requests moves only to a version that is deployed.',
        params: modelParams.extend({ alias: z.string() }),
        body: z.strictObject({
          version: z.int().min(1),
          deploy: z
            .boolean()
            .default(false)
            .describe('load and warm up the version first when it is not served'),
          retire: z
            .boolean()
            .default(false)
            .describe('then stop serving the version of before, unless another alias names it'),
        }),
        response: {
          200: aliasSchema.extend({ retired: z.int().nullable().describe('the version no longer served') }),
        },
      },
    },
    async (request) => {
      const { organisation, name } = parseModelName(request.params.model);
      const principal = principalOf(request);
      const { model } = await gate.authorize(principal, 'manage', organisation, name);
      const alias = checkName(request.params.alias, 'alias');
      const version = await registry.getVersion(model.id, request.body.version);
      await checkAlias(house, model, version, alias);
      const { deploy, retire } = request.body;
      return house.aliases.move({ by: principal, model, version, alias, deploy, retire });
    },
  );
}

/** Throws GATE_NOT_PASSED when the version may not be what `production` answers with. */
export async function checkAlias(
  { evaluations }: Pick<House, 'evaluations'>,
  model: ModelRecord,
  version: VersionRecord,
  alias: string,
): Promise<void> {
  if (alias !== 'production' || (await evaluations.passedGate(version.id))) return;
  const ref = `${refOf(model)}:${version.number}`;
  throw new CommonwattError('GATE_NOT_PASSED', `${ref} has no evaluation that passed its gate`, {
    where: 'alias',
    hint: `evaluate it first: commonwatt evaluate ${ref} --dataset NAME`,
  });
}
