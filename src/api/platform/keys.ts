/** API keys: shown once when made, afterwards known by their first characters. */
import { z } from 'zod';
import { principalOf } from '../guard.ts';
import type { House, PlatformApp } from './house.ts';
import { idParams, timeSchema } from './schemas.ts';

const keySchema = z.object({
  id: z.string(),
  name: z.string(),
  prefix: z.string(),
  member: z.string(),
  createdAt: z.string(),
  expiresAt: z.string().nullable(),
  revokedAt: z.string().nullable(),
});

export function keyRoutes(app: PlatformApp, { identity }: Pick<House, 'identity'>): void {
  app.get(
    '/keys',
    {
      config: { access: 'key' },
      schema: {
        tags: ['identity'],
        summary: 'List API keys',
        description: 'An admin sees all of the organisation, a member the own ones.',
        response: { 200: z.object({ keys: z.array(keySchema) }) },
      },
    },
    async (request) => ({ keys: await identity.listKeys(principalOf(request)) }),
  );
  app.post(
    '/keys',
    {
      config: { access: 'key', errors: ['FORBIDDEN', 'NOT_FOUND'] },
      schema: {
        tags: ['identity'],
        summary: 'Make an API key',
        description: 'For yourself; an admin for any member. The key is in the answer, this once.',
        body: z.strictObject({
          name: z.string(),
          member: z.string().optional(),
          expiresAt: timeSchema.nullable().optional(),
        }),
        response: { 201: keySchema.extend({ apiKey: z.string() }) },
      },
    },
    async (request, reply) => {
      const key = await identity.createKey(principalOf(request), request.body);
      return reply.code(201).header('cache-control', 'no-store').send(key);
    },
  );
  app.delete(
    '/keys/:id',
    {
      config: { access: 'key', errors: ['NOT_FOUND'] },
      schema: {
        tags: ['identity'],
        summary: 'Revoke an API key',
        description: 'It stops working at once. An admin may revoke any key of the organisation.',
        params: idParams,
        response: { 204: z.null() },
      },
    },
    async (request, reply) => {
      await identity.revokeKey(principalOf(request), request.params.id);
      return reply.code(204).send(null);
    },
  );
}
