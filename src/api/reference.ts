/** The machine-readable description of the API, and a page for people made from it, without any outside asset. */
import type { FastifyInstance } from 'fastify';
import { contentSecurityPolicy } from './page.ts';
import { renderReference } from './reference-page.ts';

export async function referenceRoutes(app: FastifyInstance): Promise<void> {
  app.get('/api/openapi.json', { config: { access: 'public' }, schema: { hide: true } }, (_request, reply) =>
    reply.type('application/json; charset=utf-8').send(JSON.stringify(app.swagger())),
  );
  app.get('/docs', { config: { access: 'public' }, schema: { hide: true } }, (_request, reply) =>
    reply
      .header('content-security-policy', `${contentSecurityPolicy}; style-src 'unsafe-inline'`)
      .type('text/html; charset=utf-8')
      .send(renderReference(app.swagger())),
  );
}
