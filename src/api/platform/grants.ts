/** Sharing: what other organisations may do with a model. */
import { z } from 'zod';
import { principalOf } from '../guard.ts';
import type { House, PlatformApp } from './house.ts';
import { grantSchema, limitSchema, modelParams, permissionSchema, timeSchema } from './schemas.ts';
import { grantView, parseModelName } from './views.ts';

export function grantRoutes(app: PlatformApp, { gate, grants }: Pick<House, 'gate' | 'grants'>): void {
  app.get(
    '/models/:model/grants',
    {
      config: { access: 'key', errors: ['MODEL_NOT_FOUND', 'FORBIDDEN'] },
      schema: {
        tags: ['sharing'],
        summary: 'List with whom a model is shared',
        params: modelParams,
        response: { 200: z.object({ grants: z.array(grantSchema) }) },
      },
    },
    async (request) => {
      const { organisation, name } = parseModelName(request.params.model);
      const { model } = await gate.authorize(principalOf(request), 'manage', organisation, name);
      const records = await grants.list(model.id);
      return { grants: await Promise.all(records.map((grant) => grantView(gate, grant))) };
    },
  );
  app.post(
    '/models/:model/grants',
    {
      config: { access: 'key', errors: ['MODEL_NOT_FOUND', 'NOT_FOUND', 'FORBIDDEN', 'CONFLICT'] },
      schema: {
        tags: ['sharing'],
        summary: 'Share a model with an organisation',
        params: modelParams,
        body: z.strictObject({
          organisation: z.string().describe('who may use it'),
          permissions: z.array(permissionSchema).min(1).max(3).default(['infer', 'explain']),
          limit: limitSchema.nullable().optional(),
          expiresAt: timeSchema.nullable().optional(),
        }),
        response: { 201: grantSchema },
      },
    },
    async (request, reply) => {
      const principal = principalOf(request);
      const { organisation, name } = parseModelName(request.params.model);
      const { model } = await gate.authorize(principal, 'manage', organisation, name);
      const { permissions, limit = null, expiresAt = null } = request.body;
      const grant = await grants.create(
        model,
        { organisation: request.body.organisation, permissions, limit, expiresAt },
        principal,
      );
      return reply.code(201).send(await grantView(gate, grant));
    },
  );
  app.delete(
    '/models/:model/grants/:id',
    {
      config: { access: 'key', errors: ['MODEL_NOT_FOUND', 'NOT_FOUND', 'FORBIDDEN'] },
      schema: {
        tags: ['sharing'],
        summary: 'Stop sharing',
        description: 'The next request of the other organisation finds no such model.',
        params: modelParams.extend({ id: z.string().min(1).max(100) }),
        response: { 204: z.null() },
      },
    },
    async (request, reply) => {
      const principal = principalOf(request);
      const { organisation, name } = parseModelName(request.params.model);
      const { model } = await gate.authorize(principal, 'manage', organisation, name);
      await grants.revoke(model, request.params.id, principal);
      return reply.code(204).send(null);
    },
  );
}
