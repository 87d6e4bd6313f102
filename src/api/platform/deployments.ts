/** What is served: put a version into service, see its state, change how it is served, take it out. */
import { z } from 'zod';
import { CommonwattError } from '../../errors.ts';
import { actorOf } from '../../gate/audit.ts';
import type { Principal } from '../../gate/gate.ts';
import type { ModelRecord } from '../../models/models.ts';
import { checkName, parseModelRef } from '../../models/names.ts';
import type { Deployment } from '../../serve/deployments.ts';
import { deploymentSettings, type GivenSettings, givenSettings } from '../../serve/settings.ts';
import { principalOf } from '../guard.ts';
import type { House, PlatformApp } from './house.ts';
import { checkAlias } from './models.ts';
import { deploymentStateSchema, idParams } from './schemas.ts';
import { refOf } from './views.ts';

type Parts = Pick<House, 'gate' | 'registry' | 'deployments' | 'aliases' | 'evaluations'>;

const deploymentSchema = z.object({
  id: z.string(),
  model: z.string(),
  version: z.int(),
  state: deploymentStateSchema,
  reason: z.string().nullable().describe('why it failed or is quarantined; null for other organisations'),
  memoryBytes: z.int().describe('held by runners, estimated'),
  settings: deploymentSettings.nullable().describe('null for other organisations'),
  createdAt: z.string(),
});

const settingsField = givenSettings.describe('how it is served; what is not given is the default');

export function deploymentRoutes(app: PlatformApp, house: Parts): void {
  const { gate, registry, deployments } = house;
  app.get(
    '/deployments',
    {
      config: { access: 'key' },
      schema: {
        tags: ['deployments'],
        summary: 'List what is served of the models you can see',
        response: { 200: z.object({ deployments: z.array(deploymentSchema) }) },
      },
    },
    async (request) => {
      const { organisationId } = principalOf(request);
      const models = [
        ...(await registry.listModels(organisationId)),
        ...(await registry.listGrantedModels(organisationId)),
      ];
      const known = new Map(models.map((model) => [model.id, model]));
      return {
        deployments: deployments.list([...known.keys()]).flatMap((deployment) => {
          const model = known.get(deployment.modelId);
          return model ? [deploymentView(deployment, model, organisationId)] : [];
        }),
      };
    },
  );
  app.post(
    '/deployments',
    {
      config: {
        access: 'key',
        errors: [
          'MODEL_NOT_FOUND',
          'VERSION_NOT_FOUND',
          'FORBIDDEN',
          'GATE_NOT_PASSED',
          'INVALID_NAME',
          'INVALID_REQUEST',
          'CORRUPT_MODEL',
          'PAYLOAD_TOO_LARGE',
          'RUNNER_FAILED',
          'QUARANTINED',
        ],
      },
      schema: {
        tags: ['deployments'],
        summary: 'Serve a version',
        description:
          'Answers when the version has been loaded and warmed up. Serving it again brings it back into memory, and changes nothing but the settings that are given. With an alias, the alias moves to it.',
        body: z.strictObject({
          model: z.string().describe('organisation/model:version, or @alias; else the newest version'),
          alias: z.string().optional().describe('e.g. production, which needs a passed gate'),
          settings: settingsField.optional(),
        }),
        response: { 201: deploymentSchema },
      },
    },
    async (request, reply) => {
      const principal = principalOf(request);
      const { organisation, name, version: number, alias: from } = parseModelRef(request.body.model);
      const { alias, settings } = request.body;
      if (alias !== undefined) checkName(alias, 'alias');
      const { model } = await gate.authorize(principal, 'manage', organisation, name);
      const version = await registry.resolve(model.id, {
        ...(number === undefined ? {} : { version: number }),
        ...(number === undefined ? { alias: from ?? 'latest' } : {}),
      });
      // Before anything is loaded: a version that may not take the alias is not put into service for it.
      if (alias !== undefined) await checkAlias(house, model, version, alias);
      await checkVariants(house, principal, settings);
      const deployment = await deployments.create(model, version, actorOf(principal), settings);
      if (alias !== undefined)
        await house.aliases.move({ by: principal, model, version, alias, deploy: true, retire: false });
      return reply.code(201).send(deploymentView(deployment, model, principal.organisationId));
    },
  );
  app.get(
    '/deployments/:id',
    {
      config: { access: 'key', errors: ['NOT_FOUND'] },
      schema: {
        tags: ['deployments'],
        summary: 'Show a deployment',
        params: idParams,
        response: { 200: deploymentSchema },
      },
    },
    async (request) => {
      const { organisationId } = principalOf(request);
      const { deployment, model } = await own(house, principalOf(request), request.params.id);
      return deploymentView(deployment, model, organisationId);
    },
  );
  app.patch(
    '/deployments/:id',
    {
      config: {
        access: 'key',
        errors: ['NOT_FOUND', 'FORBIDDEN', 'INVALID_REQUEST', 'PAYLOAD_TOO_LARGE', 'RUNNER_FAILED'],
      },
      schema: {
        tags: ['deployments'],
        summary: 'Change how a version is served',
        description:
          'Only the settings that are given change, all of them or none. No request fails meanwhile: those that wait are answered under the old ones.',
        params: idParams,
        body: z.strictObject({ settings: settingsField }),
        response: { 200: deploymentSchema },
      },
    },
    async (request) => {
      const principal = principalOf(request);
      const { deployment, model } = await own(house, principal, request.params.id);
      await gate.authorize(principal, 'manage', model.organisation, model.name);
      await checkVariants(house, principal, request.body.settings);
      const changed = await deployments.change(deployment.id, request.body.settings, actorOf(principal));
      return deploymentView(changed, model, principal.organisationId);
    },
  );
  app.delete(
    '/deployments/:id',
    {
      config: { access: 'key', errors: ['NOT_FOUND', 'FORBIDDEN'] },
      schema: {
        tags: ['deployments'],
        summary: 'Stop serving',
        params: idParams,
        response: { 204: z.null() },
      },
    },
    async (request, reply) => {
      const principal = principalOf(request);
      const { deployment, model } = await own(house, principal, request.params.id);
      await gate.authorize(principal, 'manage', model.organisation, model.name);
      await deployments.remove(deployment.id, actorOf(principal));
      return reply.code(204).send(null);
    },
  );
}

/** One of the caller's organisation. Throws NOT_FOUND. */
async function own(
  { registry, deployments }: Parts,
  { organisationId }: Principal,
  id: string,
): Promise<{ deployment: Deployment; model: ModelRecord }> {
  const deployment = deployments.get(id);
  const models = deployment ? await registry.listModels(organisationId) : [];
  const model = models.find((candidate) => candidate.id === deployment?.modelId);
  if (deployment && model) return { deployment, model };
  throw new CommonwattError('NOT_FOUND', `deployment ${id} does not exist`, {
    where: 'path.id',
    hint: 'list the deployments to see their ids',
  });
}

/** Throws MODEL_NOT_FOUND for a variant that whoever deploys may not use himself. */
async function checkVariants(
  { gate }: Pick<House, 'gate'>,
  principal: Principal,
  settings: GivenSettings | undefined,
): Promise<void> {
  for (const { use } of settings?.greener ?? []) {
    const { organisation, name } = parseModelRef(use);
    await gate.authorize(principal, 'infer', organisation, name);
  }
}

/** How it is served, and what its runtime said, is the owner's business. */
function deploymentView(deployment: Deployment, model: ModelRecord, organisationId: string) {
  const { id, version, state, reason, memoryBytes, settings, createdAt } = deployment;
  const owned = model.organisationId === organisationId;
  return {
    id,
    model: refOf(model),
    version,
    state,
    reason: owned ? reason : null,
    memoryBytes: Math.round(memoryBytes),
    settings: owned ? settings : null,
    createdAt,
  };
}
