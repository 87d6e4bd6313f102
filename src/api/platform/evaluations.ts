/** Evaluations: how good is a version, and may it go to production? */
import { z } from 'zod';
import { warningHeader } from '../../gate/limits.ts';
import type { VersionRecord } from '../../models/models.ts';
import { type GateRules, parseGate } from '../../quality/gate.ts';
import { principalOf } from '../guard.ts';
import type { House, PlatformApp } from './house.ts';
import { callerLeft } from './leaving.ts';
import { impactSchema, splitNameSchema, versionParams } from './schemas.ts';
import { parseModelName, refOf } from './views.ts';

type Parts = Pick<House, 'gate' | 'registry' | 'deployments' | 'evaluations' | 'jobs'>;

const figure = z.number().nullable();
const metricSchema = z.object({
  value: figure,
  low: figure,
  high: figure,
  unknown: z.string().optional().describe('why it is null'),
});

export const evaluationSchema = z.object({
  id: z.string(),
  model: z.string(),
  version: z.int(),
  dataset: z.string(),
  split: splitNameSchema,
  rows: z.int(),
  createdAt: z.string(),
  createdBy: z.string(),
  passed: z.boolean(),
  metrics: z.object({
    accuracy: metricSchema,
    rocAuc: metricSchema,
    logLoss: metricSchema,
    calibrationError: metricSchema,
    brierScore: metricSchema,
  }),
  majorityClassAccuracy: z.number(),
  gate: z.object({
    passed: z.boolean(),
    rules: z.array(
      z.object({
        metric: z.string(),
        min: z.number().optional(),
        max: z.number().optional(),
        above: z.number().optional(),
        minGain: z.number().optional(),
        value: figure,
        incumbent: figure.optional(),
        passed: z.boolean().nullable().describe('null: the rule did not run'),
        reason: z.string().optional(),
      }),
    ),
    reason: z.string().optional(),
  }),
  impact: impactSchema,
});

export function evaluationRoutes(app: PlatformApp, house: Parts): void {
  const { gate, registry, deployments, evaluations } = house;
  app.post(
    '/models/:model/versions/:number/evaluations',
    {
      config: {
        access: 'key',
        errors: [
          'MODEL_NOT_FOUND',
          'VERSION_NOT_FOUND',
          'NOT_FOUND',
          'FORBIDDEN',
          'INVALID_DATASET',
          'LIMIT_EXCEEDED',
        ],
      },
      schema: {
        tags: ['quality'],
        summary: 'Evaluate a version on a data set of your organisation',
        description: 'Without a gate the one of its training applies, else the default gate.',
        params: versionParams,
        body: z.strictObject({
          dataset: z.string().min(1).max(100),
          split: splitNameSchema.default('test'),
          gate: z
            .record(z.string(), z.unknown())
            .optional()
            .describe('rules by metric, e.g. {"accuracy": {"min": 0.9}}'),
        }),
        response: { 201: evaluationSchema },
      },
    },
    async (request, reply) => {
      const principal = principalOf(request);
      const { organisation, name } = parseModelName(request.params.model);
      const access = await gate.authorize(principal, 'manage', organisation, name);
      const { model } = access;
      const version = await registry.getVersion(model.id, request.params.number);
      const { dataset, split } = request.body;
      const rules = request.body.gate
        ? parseGate(request.body.gate)
        : await trainingGate(house, model.organisationId, version);
      const { place, settle, release } = await gate.hold(access);
      const borrowed = await deployments.borrow(model, version).catch((error: unknown) => {
        release();
        throw error;
      });
      try {
        const evaluation = await evaluations.evaluate({
          principal,
          place,
          served: borrowed.served,
          model: refOf(model),
          dataset,
          split,
          gate: rules,
          signal: callerLeft(reply),
        });
        settle();
        if (place?.warning) reply.header(warningHeader, place.warning);
        return reply.code(201).send(evaluation);
      } finally {
        // What was computed is booked, and nothing is held for the rest.
        release();
        await borrowed.giveBack();
      }
    },
  );
  app.get(
    '/models/:model/versions/:number/evaluations',
    {
      config: { access: 'key', errors: ['MODEL_NOT_FOUND', 'VERSION_NOT_FOUND'] },
      schema: {
        tags: ['quality'],
        summary: 'List the evaluations of a version, newest first',
        params: versionParams,
        response: { 200: z.object({ evaluations: z.array(evaluationSchema) }) },
      },
    },
    async (request) => {
      const { organisation, name } = parseModelName(request.params.model);
      const { model } = await gate.authorize(principalOf(request), 'view', organisation, name);
      const version = await registry.getVersion(model.id, request.params.number);
      return { evaluations: await evaluations.list(version.id) };
    },
  );
}

const trainedWith = z.object({ gate: z.record(z.string(), z.unknown()).optional() });

/** What its training configuration asked of the version; undefined: nothing, or no training is known. */
async function trainingGate(
  { jobs }: Pick<House, 'jobs'>,
  organisationId: string,
  version: VersionRecord,
): Promise<GateRules | undefined> {
  if (version.jobId === null) return undefined;
  const { config } = await jobs.get(organisationId, version.jobId);
  const { data } = trainedWith.safeParse(config);
  return data?.gate && parseGate(data.gate);
}
