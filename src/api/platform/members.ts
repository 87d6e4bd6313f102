/** The members of the caller's organisation. */
import { z } from 'zod';
import { principalOf } from '../guard.ts';
import type { House, PlatformApp } from './house.ts';

const memberSchema = z.object({
  id: z.string(),
  name: z.string(),
  role: z.enum(['operator', 'admin', 'member']),
  createdAt: z.string(),
});

export function memberRoutes(app: PlatformApp, { identity }: Pick<House, 'identity'>): void {
  app.get(
    '/members',
    {
      config: { access: 'key' },
      schema: {
        tags: ['identity'],
        summary: 'List the members of your organisation',
        response: { 200: z.object({ members: z.array(memberSchema) }) },
      },
    },
    async (request) => ({ members: await identity.listMembers(principalOf(request)) }),
  );
  app.post(
    '/members',
    {
      config: { access: 'admin', errors: ['FORBIDDEN', 'CONFLICT', 'INVALID_NAME'] },
      schema: {
        tags: ['identity'],
        summary: 'Add a member to your organisation',
        body: z.strictObject({ name: z.string(), role: z.enum(['admin', 'member']) }),
        response: { 201: memberSchema },
      },
    },
    async (request, reply) => {
      const { name, role } = request.body;
      return reply.code(201).send(await identity.createMember(principalOf(request), name, role));
    },
  );
}
