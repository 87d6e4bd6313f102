/** Jobs of the caller's organisation: long work that survives a restart of the server. */
import { z } from 'zod';
import { CommonwattError } from '../../errors.ts';
import { type JobRecord, jobJson } from '../../jobs/jobs.ts';
import { trainConfigSchema } from '../../training/training.ts';
import { principalOf } from '../guard.ts';
import type { House, PlatformApp } from './house.ts';
import { bytesSchema, idParams, impactSchema } from './schemas.ts';

const figure = z.number().nullable();

const jobSchema = z.object({
  id: z.string(),
  kind: z.string(),
  state: z.enum(['queued', 'running', 'succeeded', 'failed', 'cancelled']),
  createdBy: z.string(),
  createdAt: z.string(),
  startedAt: z.string().nullable(),
  finishedAt: z.string().nullable(),
  attempts: z.int(),
  config: z.unknown().describe('what it was asked to do, defaults filled in'),
  progress: z
    .object({
      epoch: z.int(),
      epochs: z.int(),
      loss: figure,
      accuracy: figure,
      valLoss: figure,
      valAccuracy: figure,
      energyWh: figure,
    })
    .nullable(),
  result: z
    .object({
      artifactSha256: z.string(),
      sizeBytes: z.int(),
      history: z.array(
        z.object({
          epoch: z.int(),
          loss: figure,
          accuracy: figure,
          valLoss: figure,
          valAccuracy: figure,
        }),
      ),
      impact: impactSchema,
    })
    .nullable(),
  error: z.object({ code: z.string(), message: z.string(), hint: z.string().nullable() }).nullable(),
});

type JobJson = z.output<typeof jobSchema>;

export function jobRoutes(app: PlatformApp, { jobs, artifacts }: Pick<House, 'jobs' | 'artifacts'>): void {
  app.post(
    '/jobs',
    {
      config: { access: 'key', errors: ['INVALID_CONFIG', 'INVALID_DATASET', 'NOT_FOUND'] },
      schema: {
        tags: ['jobs'],
        summary: 'Start a training',
        body: z.strictObject({ kind: z.literal('train'), config: trainConfigSchema }),
        response: { 202: jobSchema },
      },
    },
    async (request, reply) => {
      const { kind, config } = request.body;
      return reply.code(202).send(jobView(await jobs.enqueue(principalOf(request), kind, config)));
    },
  );
  app.get(
    '/jobs',
    {
      config: { access: 'key' },
      schema: {
        tags: ['jobs'],
        summary: 'List the jobs of your organisation',
        response: { 200: z.object({ jobs: z.array(jobSchema) }) },
      },
    },
    async (request) => ({ jobs: (await jobs.list(principalOf(request).organisationId)).map(jobView) }),
  );
  app.get(
    '/jobs/:id',
    {
      config: { access: 'key', errors: ['NOT_FOUND'] },
      schema: {
        tags: ['jobs'],
        summary: 'Show a job, its progress and its result',
        params: idParams,
        response: { 200: jobSchema },
      },
    },
    async (request) => jobView(await jobs.get(principalOf(request).organisationId, request.params.id)),
  );
  app.post(
    '/jobs/:id/cancel',
    {
      config: { access: 'key', errors: ['NOT_FOUND'] },
      schema: {
        tags: ['jobs'],
        summary: 'Cancel a job',
        description: 'What it used so far stays booked. A finished job stays as it is.',
        params: idParams,
        response: { 202: jobSchema },
      },
    },
    async (request, reply) =>
      reply.code(202).send(jobView(await jobs.cancel(principalOf(request), request.params.id))),
  );
  app.get(
    '/jobs/:id/artifact',
    {
      config: { access: 'key', errors: ['NOT_FOUND', 'CONFLICT'] },
      schema: {
        tags: ['jobs'],
        summary: 'Download what a finished training made',
        produces: ['application/octet-stream'],
        params: idParams,
        response: { 200: bytesSchema },
      },
    },
    async (request, reply) => {
      const { organisationId } = principalOf(request);
      const job = jobView(await jobs.get(organisationId, request.params.id));
      if (!job.result) {
        throw new CommonwattError('CONFLICT', `job ${job.id} is ${job.state} and has no artifact`, {
          hint: 'an artifact exists when the job has succeeded',
        });
      }
      const bytes = await artifacts.read(organisationId, job.result.artifactSha256);
      return reply
        .type('application/octet-stream')
        .header('content-disposition', 'attachment; filename="model.h5"')
        .send(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    },
  );
}

/** Progress and result are JSON of the job's kind; here they get the shape that is promised. */
function jobView(job: JobRecord): JobJson {
  return jobSchema.parse(jobJson(job));
}
