/** Explanations: why did the model answer this? */
import { z } from 'zod';
import { CommonwattError } from '../../errors.ts';
import { warningHeader } from '../../gate/limits.ts';
import { parseModelRef } from '../../models/names.ts';
import { principalOf } from '../guard.ts';
import type { House, PlatformApp } from './house.ts';
import { callerLeft } from './leaving.ts';
import { impactSchema, modelParams } from './schemas.ts';
import { refOf } from './views.ts';

type Parts = Pick<House, 'gate' | 'registry' | 'deployments' | 'explainer'>;

const explanationSchema = z.object({
  attributions: z.array(z.object({ feature: z.string(), value: z.number() })),
  baseValue: z.number().describe('the mean answer over the background'),
  prediction: z.number(),
  output: z.enum(['probability', 'value']),
  method: z.literal('permutation_shap'),
  background: z.string().describe('what features are compared with'),
  modelCalls: z.int(),
  modelRows: z.int(),
  additivityGap: z.number(),
  impact: impactSchema,
});

export function explainRoutes(app: PlatformApp, { gate, registry, deployments, explainer }: Parts): void {
  app.post(
    '/models/:model/explain',
    {
      config: {
        access: 'key',
        errors: [
          'MODEL_NOT_FOUND',
          'VERSION_NOT_FOUND',
          'FORBIDDEN',
          'INVALID_TENSOR',
          'LIMIT_EXCEEDED',
          'OVERLOADED',
        ],
      },
      schema: {
        tags: ['explanations'],
        summary: 'Explain answers of a model',
        description: 'Counts as one request under the limit of a grant, whatever it computes.',
        params: modelParams,
        body: z.strictObject({
          instances: z.array(z.array(z.number())).min(1).max(16),
          method: z.literal('permutation_shap').default('permutation_shap'),
          version: z.int().min(1).optional(),
          maxCalls: z.int().min(1).max(10_000).optional().describe('model calls for one instance at most'),
          seed: z.int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
        }),
        response: {
          200: z.object({
            explanations: z.array(explanationSchema),
            model: z.string(),
            version: z.int(),
          }),
        },
      },
    },
    async (request, reply) => {
      const principal = principalOf(request);
      const ref = parseModelRef(request.params.model);
      const { instances, version: number = ref.version, maxCalls, seed } = request.body;
      const admission = await gate.admit(principal, 'explain', ref.organisation, ref.name);
      const { model, grant, place } = admission;
      try {
        const served = deployments.served(model.id, { version: number, alias: ref.alias });
        const { datasetId } = await registry.getVersion(model.id, served.version);
        const { organisationId } = model;
        const explanations = await explainer.explain({
          served,
          ...(await explainer.sourcesOf(served, { organisationId, datasetId })),
          instances,
          maxCalls,
          seed,
          context: {
            requestId: request.id,
            consumer: {
              organisationId: principal.organisationId,
              organisation: principal.organisation,
            },
            keyId: principal.keyId,
            memberId: principal.memberId,
            grantId: grant?.id ?? null,
            place,
          },
          signal: callerLeft(reply),
        });
        admission.settle();
        if (place?.warning) reply.header(warningHeader, place.warning);
        setFootprintHeader(
          'x-commonwatt-energy-wh',
          explanations.map(({ impact }) => impact.energyWh),
        );
        setFootprintHeader(
          'x-commonwatt-carbon-gco2e',
          explanations.map(({ impact }) => impact.carbonGCo2e),
        );
        return { explanations, model: refOf(model), version: served.version };
      } catch (error) {
        // Whoever leaves while it is being computed has used it.
        if (error instanceof CommonwattError && error.code === 'CANCELLED') admission.settle();
        else admission.release();
        throw error;
      }

      /** Unknown parts make the sum unknown: then the header is left out. */
      function setFootprintHeader(name: string, figures: readonly (number | null)[]) {
        const sum = figures.reduce<number | null>(
          (total, figure) => (total === null || figure === null ? null : total + figure),
          0,
        );
        if (sum !== null) reply.header(name, String(sum));
      }
    },
  );
}
