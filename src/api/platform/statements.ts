/** What an organisation's month took, as a page to print or as data. */
import { z } from 'zod';
import { statementPage } from '../../energy/exports/statement-page.ts';
import { CommonwattError } from '../../errors.ts';
import { quote } from '../../models/names.ts';
import { principalOf } from '../guard.ts';
import { statementSchema } from './card-shapes.ts';
import type { House, PlatformApp } from './house.ts';

/** Nothing is loaded, nothing runs. */
const nothingElse = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

export function statementRoutes(
  app: PlatformApp,
  { identity, exports }: Pick<House, 'identity' | 'exports'>,
): void {
  app.get(
    '/statements/:organisation/:month',
    {
      config: { access: 'key', errors: ['NOT_FOUND'] },
      schema: {
        tags: ['impact'],
        summary: 'What a month took, by model and day',
        description: 'Of your own organisation; the operator gets any. The page prints on A4, or to PDF.',
        params: z.object({
          organisation: z.string(),
          month: z.string().describe('e.g. 2030-01; months of UTC'),
        }),
        querystring: z.strictObject({
          format: z.enum(['json', 'html']).optional().describe('default: by `Accept`, else json'),
        }),
        response: {
          200: {
            description: 'the statement',
            content: {
              'application/json': { schema: statementSchema },
              'text/html': { schema: z.string() },
            },
          },
        },
      },
    },
    async (request, reply) => {
      const { organisation: name, month } = request.params;
      const organisations = await identity.listOrganisations(principalOf(request));
      const found = organisations.find((one) => one.name === name);
      if (!found)
        throw new CommonwattError(
          'NOT_FOUND',
          `there is no organisation ${quote(name)} whose statements you may see`,
          {
            where: 'path.organisation',
            hint: 'name your own organisation',
          },
        );
      const statement = await exports.statement({
        organisationId: found.id,
        organisation: found.name,
        month,
      });
      const format =
        request.query.format ?? (request.headers.accept?.includes('text/html') ? 'html' : 'json');
      if (format === 'json') return statement;
      return reply
        .type('text/html; charset=utf-8')
        .header('content-security-policy', nothingElse)
        .header('content-disposition', `inline; filename="${found.name}-${month}.html"`)
        .send(statementPage(statement));
    },
  );
}
