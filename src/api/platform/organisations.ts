/** Who am I, and the organisations of the platform. */
import { z } from 'zod';
import { principalOf } from '../guard.ts';
import type { House, PlatformApp } from './house.ts';

const roleSchema = z.enum(['operator', 'admin', 'member']);
const organisationSchema = z.object({ id: z.string(), name: z.string(), createdAt: z.string() });

export function organisationRoutes(app: PlatformApp, { identity }: Pick<House, 'identity'>): void {
  app.get(
    '/whoami',
    {
      config: { access: 'key' },
      schema: {
        tags: ['identity'],
        summary: 'Who is this key?',
        response: {
          200: z.object({
            organisation: z.string(),
            member: z.string(),
            role: roleSchema,
            keyId: z.string(),
          }),
        },
      },
    },
    (request) => {
      const { organisation, member, role, keyId } = principalOf(request);
      return { organisation, member, role, keyId };
    },
  );
  app.get(
    '/organisations',
    {
      config: { access: 'key' },
      schema: {
        tags: ['identity'],
        summary: 'List organisations',
        description: 'The operator sees all, everyone else their own.',
        response: { 200: z.object({ organisations: z.array(organisationSchema) }) },
      },
    },
    async (request) => ({ organisations: await identity.listOrganisations(principalOf(request)) }),
  );
  app.post(
    '/organisations',
    {
      config: { access: 'operator', errors: ['FORBIDDEN', 'CONFLICT', 'INVALID_NAME'] },
      schema: {
        tags: ['identity'],
        summary: 'Create an organisation with its first admin',
        description: 'The API key of the admin is in the answer, this once.',
        body: z.strictObject({
          name: z.string(),
          admin: z.string().optional().describe('member name; default "admin"'),
        }),
        response: {
          201: organisationSchema.extend({
            admin: z.object({ member: z.string(), apiKey: z.string(), keyId: z.string() }),
          }),
        },
      },
    },
    async (request, reply) => {
      const { name, admin } = request.body;
      const created = await identity.createOrganisation(principalOf(request), name, admin);
      return reply.code(201).header('cache-control', 'no-store').send(created);
    },
  );
}
