/** What is served: put a version into service, see its state, take it out. */
import { z } from 'zod';
import { CommonwattError } from '../../errors.ts';
import { actorOf } from '../../gate/audit.ts';
import { checkName, parseModelRef } from '../../models/names.ts';
import type { Deployment } from '../../serve/deployments.ts';
import { principalOf } from '../guard.ts';
import type { House, PlatformApp } from './house.ts';
import { checkAlias, moveAlias } from './models.ts';
import { deploymentStateSchema, idParams } from './schemas.ts';
import { refOf } from './views.ts';

type Parts = Pick<House, 'gate' | 'registry' | 'deployments' | 'evaluations'>;

const deploymentSchema = z.object({
  id: z.string(),
  model: z.string(),
  version: z.int(),
  state: deploymentStateSchema,
  createdAt: z.string(),
});

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
      const refs = new Map(models.map((model) => [model.id, refOf(model)]));
      return {
        deployments: deployments.list([...refs.keys()]).flatMap((deployment) => {
          const ref = refs.get(deployment.modelId);
          return ref === undefined ? [] : [deploymentView(deployment, ref)];
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
          'RUNNER_FAILED',
        ],
      },
      schema: {
        tags: ['deployments'],
        summary: 'Serve a version',
        description:
          'Answers when the version can answer; serving it again changes nothing. With an alias, the alias moves to it.',
        body: z.strictObject({
          model: z.string().describe('organisation/model:version, or @alias; else the newest version'),
          alias: z.string().optional().describe('e.g. production, which needs a passed gate'),
        }),
        response: { 201: deploymentSchema },
      },
    },
    async (request, reply) => {
      const principal = principalOf(request);
      const { organisation, name, version: number, alias: from } = parseModelRef(request.body.model);
      const { alias } = request.body;
      if (alias !== undefined) checkName(alias, 'alias');
      const { model } = await gate.authorize(principal, 'manage', organisation, name);
      const version = await registry.resolve(model.id, {
        ...(number === undefined ? {} : { version: number }),
        ...(number === undefined ? { alias: from ?? 'latest' } : {}),
      });
      // Before anything is loaded: a version that may not take the alias is not put into service for it.
      if (alias !== undefined) await checkAlias(house, model, version, alias);
      const deployment = await deployments.create(model, version, actorOf(principal));
      if (alias !== undefined) await moveAlias(house, principal, model, version, alias);
      return reply.code(201).send(deploymentView(deployment, refOf(model)));
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
      const { id } = request.params;
      const deployment = deployments.get(id);
      const own = await registry.listModels(principal.organisationId);
      const model = own.find((candidate) => candidate.id === deployment?.modelId);
      if (!deployment || !model) {
        throw new CommonwattError('NOT_FOUND', `deployment ${id} does not exist`, {
          where: 'path.id',
          hint: 'list the deployments to see their ids',
        });
      }
      await gate.authorize(principal, 'manage', model.organisation, model.name);
      await deployments.remove(id, actorOf(principal));
      return reply.code(204).send(null);
    },
  );
}

function deploymentView({ id, version, state, createdAt }: Deployment, model: string) {
  return { id, model, version, state, createdAt };
}
