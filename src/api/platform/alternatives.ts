/** Smaller models of the same task that the caller may use, by what their requests used. */
import { z } from 'zod';
import { type Candidate, perRequestJ, smallerOnes, versionKey } from '../../energy/comparison.ts';
import type { Principal } from '../../gate/gate.ts';
import type { ServedVersion } from '../../serve/serve.ts';
import { sameTensors } from '../../serve/variants.ts';
import { principalOf } from '../guard.ts';
import type { House, PlatformApp } from './house.ts';
import { modelParams } from './schemas.ts';
import { parseModelName, refOf } from './views.ts';

type Parts = Pick<House, 'gate' | 'grants' | 'registry' | 'deployments' | 'energy'>;

const figure = z.number().nullable();

export function alternativeRoutes(app: PlatformApp, house: Parts): void {
  app.get(
    '/models/:model/alternatives',
    {
      config: { access: 'key', errors: ['MODEL_NOT_FOUND', 'VERSION_NOT_FOUND', 'INVALID_NAME'] },
      schema: {
        tags: ['impact'],
        summary: 'List smaller models of the same task that you may use',
        description:
          'Served versions with the same inputs and outputs whose requests used less energy in the last 30 days, least first. Whether they answer as well is for you to see: evaluate them on your data.',
        params: modelParams,
        querystring: z.strictObject({
          version: z.coerce
            .number()
            .int()
            .min(1)
            .max(999_999_999)
            .optional()
            .describe('default: what answers'),
        }),
        response: {
          200: z.object({
            model: z.string(),
            version: z.int(),
            energyWhPerRequest: figure,
            requests: z.int().nullable(),
            alternatives: z.array(
              z.object({
                model: z.string(),
                version: z.int(),
                energyWhPerRequest: z.number(),
                ratio: z.number().describe('its energy per request ÷ that of the model that was asked for'),
                requests: z
                  .int()
                  .nullable()
                  .describe('null: another organisation’s model; only its owner is told'),
                settled: z.boolean().nullable(),
              }),
            ),
            unknown: z.record(z.string(), z.string()).describe('why a figure is null'),
          }),
        },
      },
    },
    async (request) => {
      const principal = principalOf(request);
      const { organisation, name } = parseModelName(request.params.model);
      const { model } = await house.gate.authorize(principal, 'view', organisation, name);
      const { version } = request.query;
      const served = house.deployments.served(model.id, version === undefined ? {} : { version });
      const asked = { model: refOf(model), modelId: model.id, version: served.version };
      const uses = await house.energy.comparison.uses();
      const each = perRequestJ(uses.get(versionKey(asked)));
      const settling = house.energy.settling();
      const own = new Set((await house.registry.listModels(principal.organisationId)).map(({ id }) => id));
      const others = await candidates(house, principal, served);
      const smaller = smallerOnes(asked, others, uses, (modelId) => settling[modelId]?.settled ?? null);
      return {
        model: asked.model,
        version: asked.version,
        energyWhPerRequest: each === null ? null : each / 3600,
        requests: own.has(asked.modelId) ? (uses.get(versionKey(asked))?.requests ?? 0) : null,
        alternatives: smaller.map(({ modelId, requests, ...other }) => ({
          ...other,
          requests: own.has(modelId) ? requests : null,
        })),
        unknown: {
          ...(each === null
            ? { energyWhPerRequest: 'no request of this version was computed in the last 30 days' }
            : {}),
          ...(own.has(asked.modelId) ? {} : { requests: 'only its owner is told how often a model is used' }),
        },
      };
    },
  );
}

/** Served versions of models that the caller may ask, with the tensors of `asked`. */
async function candidates(
  { grants, registry, deployments }: Parts,
  { organisationId }: Principal,
  asked: ServedVersion,
): Promise<Candidate[]> {
  const granted = new Set(
    (await grants.listFor(organisationId))
      .filter(({ permissions }) => permissions.includes('infer'))
      .map(({ modelId }) => modelId),
  );
  const shared = await registry.listGrantedModels(organisationId);
  const models = [
    ...(await registry.listModels(organisationId)),
    ...shared.filter(({ id }) => granted.has(id)),
  ];
  return models.flatMap((model) =>
    deployments
      .servedVersions(model.id)
      .filter(({ signature }) => sameTensors(asked.signature, signature))
      .map(({ version }) => ({ model: refOf(model), modelId: model.id, version })),
  );
}
