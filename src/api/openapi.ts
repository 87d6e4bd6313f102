/** Turns the schemas of routes into OpenAPI, and adds to each operation the problems it can answer with. */
import type { SwaggerTransform } from '@fastify/swagger';
import type { FastifySchema } from 'fastify';
import { jsonSchemaTransform } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { CommonwattError, type ErrorCode } from '../errors.ts';
import { problemSchema } from './problem.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Codes the operation answers with, besides those every operation has. */
    errors?: readonly ErrorCode[];
  }
}

const everywhere: readonly ErrorCode[] = ['INVALID_REQUEST', 'INTERNAL'];
const guarded: readonly ErrorCode[] = ['UNAUTHENTICATED'];
const problem = z.toJSONSchema(problemSchema, { target: 'draft-2020-12' });

export const openApiTransform: SwaggerTransform<FastifySchema & { hide?: boolean }> = (document) => {
  const { schema, url } = jsonSchemaTransform(document);
  if (!schema || document.schema?.hide) return { schema, url };
  const { access, errors = [] } = document.route.config ?? {};
  const codes = [...errors, ...(access === 'public' ? [] : guarded), ...everywhere];
  const response = { ...(schema.response ?? {}), ...problems(codes) };
  return { schema: { ...schema, response }, url };
};

function problems(codes: readonly ErrorCode[]): Record<string, unknown> {
  const byStatus = new Map<number, Set<ErrorCode>>();
  for (const code of codes) {
    const { status } = new CommonwattError(code, code);
    byStatus.set(status, (byStatus.get(status) ?? new Set()).add(code));
  }
  return Object.fromEntries(
    [...byStatus].map(([status, known]) => [
      String(status),
      {
        description: [...known].join(', '),
        content: { 'application/problem+json': { schema: problem } },
      },
    ]),
  );
}
