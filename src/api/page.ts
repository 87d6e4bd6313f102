/** Serves the built page. The files are listed once, at the start: no path of a request ever reaches the disk. */
import { existsSync, readdirSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import fastifyStatic from '@fastify/static';
import type { FastifyInstance } from 'fastify';

/** Only what this server sends may load or run; nobody may frame it. */
export const contentSecurityPolicy =
  "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

export async function pageRoutes(app: FastifyInstance, { root }: { root: string }): Promise<void> {
  if (!existsSync(join(root, 'index.html'))) return;
  await app.register(fastifyStatic, { root, serve: false, cacheControl: false });
  for (const file of listFiles(root)) {
    const immutable = file.startsWith('assets/');
    for (const url of file === 'index.html' ? ['/', '/index.html'] : [`/${file}`]) {
      app.get(url, { config: { access: 'public' }, schema: { hide: true } }, (_request, reply) =>
        reply
          .header('content-security-policy', contentSecurityPolicy)
          .header('referrer-policy', 'no-referrer')
          // Names of assets carry a hash of their content.
          .header('cache-control', immutable ? 'public, max-age=31536000, immutable' : 'no-cache')
          .sendFile(file),
      );
    }
  }
}

function listFiles(root: string): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).split(sep).join('/'))
    .filter((file) => /^[\w./-]+$/.test(file) && !file.split('/').some((part) => part.startsWith('.')));
}
