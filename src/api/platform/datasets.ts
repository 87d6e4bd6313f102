/** Data sets of the caller's organisation. */
import { z } from 'zod';
import { datasetJson } from '../../datasets/datasets.ts';
import { principalOf } from '../guard.ts';
import type { House, PlatformApp } from './house.ts';
import { bytesSchema, splitNameSchema } from './schemas.ts';
import { acceptOnly, collectBody } from './uploads.ts';

const figure = z.number().nullable();

const datasetSchema = z.object({
  id: z.string(),
  name: z.string(),
  rows: z.int(),
  label: z.string(),
  features: z.array(z.string()),
  split: z.object({
    seed: z.int(),
    train: z.number(),
    validation: z.number(),
    test: z.number(),
    rows: z.object({ train: z.int(), validation: z.int(), test: z.int() }),
  }),
  report: z.object({
    passed: z.boolean(),
    checks: z.array(
      z.object({
        name: z.string(),
        passed: z.boolean(),
        severity: z.enum(['error', 'warning']),
        message: z.string(),
        value: figure,
      }),
    ),
    columns: z.array(
      z.object({
        name: z.string(),
        missing: z.int(),
        min: figure,
        max: figure,
        mean: figure,
        distinct: z.int(),
      }),
    ),
  }),
  sha256: z.string(),
  createdAt: z.string(),
  createdBy: z.string(),
});

const fraction = z.coerce.number().min(0).max(1);
const nameParams = z.object({ name: z.string().min(1).max(100).describe('name or id') });

export function datasetRoutes(
  app: PlatformApp,
  { datasets, limits }: Pick<House, 'datasets' | 'limits'>,
): void {
  app.register(async (uploads) => {
    const scope: PlatformApp = uploads.withTypeProvider();
    acceptOnly(scope, 'text/csv');
    scope.post(
      '/datasets',
      {
        bodyLimit: limits.maxArtifactBytes,
        config: {
          access: 'key',
          errors: [
            'INVALID_DATASET',
            'INVALID_NAME',
            'CONFLICT',
            'PAYLOAD_TOO_LARGE',
            'UNSUPPORTED_MEDIA_TYPE',
          ],
        },
        schema: {
          tags: ['data sets'],
          summary: 'Upload a table as CSV with a header',
          description:
            'It is profiled and checked; the same name with the same bytes answers with what is there.',
          consumes: ['text/csv'],
          querystring: z.strictObject({
            name: z.string(),
            label: z.string().describe('the column to predict'),
            seed: z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER).default(42),
            train: fraction.default(0.7),
            validation: fraction.default(0.15),
            test: fraction.default(0.15),
          }),
          body: bytesSchema,
          response: { 201: datasetSchema },
        },
      },
      async (request, reply) => {
        const principal = principalOf(request);
        const { name, label, ...split } = request.query;
        const csv = await collectBody(request, limits.maxArtifactBytes);
        const record = await datasets.create(principal, { name, label, split }, csv);
        return reply.code(201).send(datasetJson(record));
      },
    );
  });
  app.get(
    '/datasets',
    {
      config: { access: 'key' },
      schema: {
        tags: ['data sets'],
        summary: 'List the data sets of your organisation',
        response: { 200: z.object({ datasets: z.array(datasetSchema) }) },
      },
    },
    async (request) => {
      const records = await datasets.list(principalOf(request).organisationId);
      return { datasets: records.map(datasetJson) };
    },
  );
  app.get(
    '/datasets/:name',
    {
      config: { access: 'key', errors: ['NOT_FOUND'] },
      schema: {
        tags: ['data sets'],
        summary: 'Show a data set and what its checks found',
        params: nameParams,
        response: { 200: datasetSchema },
      },
    },
    async (request) =>
      datasetJson(await datasets.get(principalOf(request).organisationId, request.params.name)),
  );
  app.get(
    '/datasets/:name/rows',
    {
      config: { access: 'key', errors: ['NOT_FOUND'] },
      schema: {
        tags: ['data sets'],
        summary: 'Show one row of a split',
        params: nameParams,
        querystring: z.strictObject({
          split: splitNameSchema.default('test'),
          row: z.coerce.number().int().min(0).describe('place in the split, from 0'),
        }),
        response: {
          200: z.object({
            row: z.int(),
            features: z.record(z.string(), figure),
            label: figure,
          }),
        },
      },
    },
    async (request) => {
      const record = await datasets.get(principalOf(request).organisationId, request.params.name);
      const { split, row } = request.query;
      const { features, label } = await datasets.rowOf(record, split, row);
      // A missing cell is NaN in memory, which JSON does not know.
      return {
        row,
        features: Object.fromEntries(Object.entries(features).map(([name, value]) => [name, known(value)])),
        label: known(label),
      };
    },
  );
}

function known(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}
