/** What was used, what it caused, and what sharing changed. */
import { z } from 'zod';
import { groupNames } from '../../energy/report-groups.ts';
import { CommonwattError } from '../../errors.ts';
import { principalOf } from '../guard.ts';
import type { House, PlatformApp } from './house.ts';
import { impactReportSchema } from './impact-shapes.ts';
import { timeSchema } from './schemas.ts';

const dayMs = 24 * 3600 * 1000;

const groupBySchema = z
  .string()
  .default('model')
  .transform((text, context) =>
    text.split(',').map((name) => {
      const known = groupNames.find((group) => group === name);
      if (!known) context.addIssue(`"${name}" is none of ${groupNames.join(', ')}`);
      return known ?? 'model';
    }),
  )
  .describe(`one or several of ${groupNames.join(', ')}, with commas between them`);

export function impactRoutes(app: PlatformApp, { energy }: Pick<House, 'energy'>): void {
  app.get(
    '/impact',
    {
      config: { access: 'key' },
      schema: {
        tags: ['impact'],
        summary: 'Report energy, carbon, water, utilisation and what sharing saves',
        description:
          'Of what your organisation consumed or owns; the operator sees the whole platform. Without times, the last 24 hours.',
        querystring: z.strictObject({
          from: timeSchema.optional(),
          to: timeSchema.optional(),
          group_by: groupBySchema,
        }),
        response: { 200: impactReportSchema },
      },
    },
    async (request) => {
      const { role, organisationId } = principalOf(request);
      const { from: start, to: end, group_by: groupBy } = request.query;
      const to = end === undefined ? new Date() : new Date(end);
      const from = start === undefined ? new Date(to.getTime() - dayMs) : new Date(start);
      if (from >= to) {
        throw new CommonwattError('INVALID_REQUEST', '"from" is not before "to"', {
          where: 'query.from',
          hint: 'swap the two, or leave "to" out for now',
        });
      }
      return energy.report({
        from,
        to,
        groupBy,
        scope: role === 'operator' ? 'all' : { organisationId },
      });
    },
  );
}
