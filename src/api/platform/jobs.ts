/** Jobs of the caller's organisation: long work that survives a restart of the server. */
import { z } from 'zod';
import { CommonwattError } from '../../errors.ts';
import type { Principal } from '../../gate/gate.ts';
import { batchConfigSchema } from '../../jobs/batch.ts';
import { type JobRecord, jobJson } from '../../jobs/jobs.ts';
import { scheduleSchema } from '../../jobs/wish.ts';
import { parseModelRef } from '../../models/names.ts';
import { evaluateConfigSchema } from '../../quality/job.ts';
import { type RetrainConfig, retrainConfig, retrainConfigSchema } from '../../training/retrain.ts';
import { type TrainConfig, trainConfigSchema } from '../../training/training.ts';
import { principalOf } from '../guard.ts';
import { evaluationSchema } from './evaluations.ts';
import type { House, PlatformApp } from './house.ts';
import { bytesSchema, idParams, impactSchema } from './schemas.ts';

type Parts = Pick<House, 'jobs' | 'artifacts' | 'gate' | 'registry'>;

const figure = z.number().nullable();

const trainProgress = z.object({
  epoch: z.int(),
  epochs: z.int(),
  loss: figure,
  accuracy: figure,
  valLoss: figure,
  valAccuracy: figure,
  energyWh: figure,
});

const batchProgress = z.object({ rows: z.int(), ofRows: z.int(), energyWh: figure });

const trainResult = z.object({
  artifactSha256: z.string(),
  sizeBytes: z.int(),
  history: z.array(
    z.object({ epoch: z.int(), loss: figure, accuracy: figure, valLoss: figure, valAccuracy: figure }),
  ),
  impact: impactSchema,
});

const batchResult = z.object({
  artifactSha256: z.string(),
  sizeBytes: z.int(),
  rows: z.int(),
  columns: z.array(z.string()),
  model: z.string(),
  version: z.int(),
  impact: impactSchema,
});

const span = { start: z.string(), end: z.string() };

const jobScheduleSchema = z.object({
  deadline: z.string(),
  interruptible: z.boolean(),
  minRunS: z.number(),
  expectedS: figure,
  expectedFrom: z
    .enum(['asked', 'earlier jobs'])
    .nullable()
    .describe('null: nobody knows, so it begins at once'),
  plan: z
    .object({
      why: z
        .enum(['cleanest', 'flat', 'no forecast', 'deadline', 'unknown length'])
        .describe('cleanest: it waits for better hours; the others: why it begins at once'),
      madeAt: z.string(),
      runs: z.array(z.object(span)),
      meanGPerKwh: figure,
      atOnceGPerKwh: figure,
      forecastSavedPercent: figure.describe('by the forecast; what counts is `actual`'),
    })
    .nullable(),
  ran: z.array(z.object({ ...span, energyWh: figure })),
  actual: z
    .object({
      emittedGCo2e: figure,
      atOnceGCo2e: figure,
      savedGCo2e: figure.describe('at the intensities that there were; negative: waiting was worse'),
      savedPercent: figure,
      unknown: z.string().nullable().describe('why they are null'),
    })
    .nullable(),
});

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
  progress: z.union([trainProgress, batchProgress]).nullable(),
  result: z.union([trainResult, batchResult, evaluationSchema]).nullable(),
  error: z.object({ code: z.string(), message: z.string(), hint: z.string().nullable() }).nullable(),
  schedule: jobScheduleSchema.nullable().describe('null: it runs as soon as its turn comes'),
});

const schedule = scheduleSchema.optional().describe('it may wait for cleaner hours');

const newJobSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('train'), config: trainConfigSchema, schedule }),
  z.strictObject({ kind: z.literal('retrain'), config: retrainConfigSchema, schedule }),
  z.strictObject({ kind: z.literal('evaluate'), config: evaluateConfigSchema, schedule }),
  z.strictObject({ kind: z.literal('batch'), config: batchConfigSchema, schedule }),
]);

type JobJson = z.output<typeof jobSchema>;

export function jobRoutes(app: PlatformApp, house: Parts): void {
  const { jobs, artifacts } = house;
  app.post(
    '/jobs',
    {
      config: {
        access: 'key',
        errors: [
          'INVALID_CONFIG',
          'INVALID_DATASET',
          'NOT_FOUND',
          'MODEL_NOT_FOUND',
          'VERSION_NOT_FOUND',
          'CONFLICT',
          'LIMIT_EXCEEDED',
        ],
      },
      schema: {
        tags: ['jobs'],
        summary: 'Start a training, a training anew, an evaluation or a batch of inferences',
        description: 'With a schedule it waits for the cleanest hours before its deadline.',
        body: newJobSchema,
        response: { 202: jobSchema },
      },
    },
    async (request, reply) => {
      const { body } = request;
      const principal = principalOf(request);
      await house.gate.checkJob(principal, 'asked');
      const { kind, config } =
        body.kind === 'retrain' ? await trainingAnew(house, principal, body.config) : body;
      return reply.code(202).send(jobView(await jobs.enqueue(principal, kind, config, body.schedule)));
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
        summary: 'Download what a finished training (model.h5) or batch (results.csv) made',
        produces: ['application/octet-stream'],
        params: idParams,
        response: { 200: bytesSchema },
      },
    },
    async (request, reply) => {
      const { organisationId } = principalOf(request);
      const job = jobView(await jobs.get(organisationId, request.params.id));
      if (!job.result || !('artifactSha256' in job.result)) {
        throw new CommonwattError('CONFLICT', `job ${job.id} is ${job.state} and has no artifact`, {
          hint: 'an artifact exists when a training or a batch has succeeded',
        });
      }
      const bytes = await artifacts.read(organisationId, job.result.artifactSha256);
      const isTable = 'rows' in job.result;
      return reply
        .type(isTable ? 'text/csv' : 'application/octet-stream')
        .header('content-disposition', `attachment; filename="${isTable ? 'results.csv' : 'model.h5'}"`)
        .send(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    },
  );
}

/** The configuration by which the version was trained. */
async function trainingAnew(
  { gate, registry, jobs }: Parts,
  principal: Principal,
  config: RetrainConfig,
): Promise<{ kind: 'train'; config: TrainConfig }> {
  const { organisation, name, version, alias } = parseModelRef(config.model);
  const { model } = await gate.authorize(principal, 'manage', organisation, name);
  const choice = { ...(version === undefined ? {} : { version }), ...(alias === undefined ? {} : { alias }) };
  const found = await registry.resolve(model.id, choice);
  const trainedBy = (jobId: string) => jobs.get(principal.organisationId, jobId);
  return { kind: 'train', config: await retrainConfig(config, found, trainedBy) };
}

/** Progress and result are JSON of the job's kind; here they get the shape that is promised. */
function jobView(job: JobRecord): JobJson {
  return jobSchema.parse(jobJson(job));
}
