/** The ledger in the forms of the Green Software Foundation: SCI scores, and manifests of the Impact Framework. */
import { z } from 'zod';
import { functionalUnits } from '../../energy/exports/sci.ts';
import type { Scope } from '../../energy/report-queries.ts';
import { CommonwattError } from '../../errors.ts';
import { principalOf } from '../guard.ts';
import { sciSchema } from './card-shapes.ts';
import type { House, PlatformApp } from './house.ts';
import { timeSchema } from './schemas.ts';

const dayMs = 24 * 3600 * 1000;
const windowQuery = { from: timeSchema.optional(), to: timeSchema.optional() };

export function exportRoutes(app: PlatformApp, { exports }: Pick<House, 'exports'>): void {
  app.get(
    '/impact/sci',
    {
      config: { access: 'key' },
      schema: {
        tags: ['impact'],
        summary: 'The SCI score per request, row or training, with E, I, M and R',
        description:
          'ISO/IEC 21031:2024, of your organisation; for the operator of the whole platform. Without times, the last 24 hours.',
        querystring: z.strictObject({
          ...windowQuery,
          functional_unit: z.enum(functionalUnits).default('request').describe('job: trainings alone'),
        }),
        response: { 200: sciSchema },
      },
    },
    (request) => {
      const { functional_unit: unit, ...times } = request.query;
      return exports.sci(windowOf(times), whoseOf(request).scope, unit);
    },
  );
  app.get(
    '/impact/manifest',
    {
      config: { access: 'key' },
      schema: {
        tags: ['impact'],
        summary: 'The ledger as a manifest of the Impact Framework',
        description:
          'YAML that `if-run` computes again. Of your organisation; for the operator of the whole platform. Without times, the last 24 hours.',
        querystring: z.strictObject({ ...windowQuery, step: z.enum(['hour', 'day']).default('hour') }),
        response: {
          200: { description: 'the manifest', content: { 'application/yaml': { schema: z.string() } } },
        },
      },
    },
    async (request, reply) => {
      const { step, ...times } = request.query;
      const { scope, name } = whoseOf(request);
      const manifest = await exports.manifest(windowOf(times), step, scope, name);
      return reply.type('application/yaml').send(manifest);
    },
  );
}

function whoseOf(request: Parameters<typeof principalOf>[0]): { scope: Scope; name: string } {
  const { role, organisationId, organisation } = principalOf(request);
  return role === 'operator'
    ? { scope: 'all', name: 'the-platform' }
    : { scope: { organisationId }, name: organisation };
}

function windowOf({ from, to }: { from?: string | undefined; to?: string | undefined }) {
  const toMs = to === undefined ? Date.now() + 1 : Date.parse(to);
  const fromMs = from === undefined ? toMs - dayMs : Date.parse(from);
  if (fromMs < toMs) return { fromMs, toMs };
  throw new CommonwattError('INVALID_REQUEST', '"from" is not before "to"', {
    where: 'query.from',
    hint: 'swap the two, or leave "to" out for now',
  });
}
