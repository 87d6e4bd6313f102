/** Fewer, fuller runners: what could be, what was done, what that changed. For the operator. */
import { z } from 'zod';
import { actorOf } from '../../gate/audit.ts';
import type { Principal } from '../../gate/gate.ts';
import type { Proposal } from '../../serve/consolidation.ts';
import { principalOf } from '../guard.ts';
import type { House, PlatformApp } from './house.ts';

const figure = z.number().nullable();

const stepSchema = z.union([
  z.object({ kind: z.literal('unload'), id: z.string(), name: z.string(), freesBytes: z.number() }),
  z.object({
    kind: z.enum(['replicas', 'threads', 'maxBatchSize']),
    id: z.string(),
    name: z.string(),
    from: z.int(),
    to: z.int(),
  }),
  z.object({ kind: z.literal('runners'), from: z.int(), to: z.int() }),
]);

const shapeSchema = z.object({
  runners: z.int(),
  copies: z.int(),
  reservedBytes: z.number(),
  rur: figure.describe('seconds of computing for each second and process'),
});

const measuredSchema = z
  .object({ gCo2ePerHour: z.number(), energyWhPerHour: z.number(), rur: figure, requestsPerS: z.number() })
  .nullable();

const proposalSchema = z.object({
  mode: z.enum(['off', 'propose', 'perform']),
  windowS: z.number().describe('of how long a time it was made'),
  steps: z.array(z.intersection(stepSchema, z.object({ why: z.string() }))),
  before: shapeSchema,
  after: shapeSchema.describe('as predicted'),
  performed: z
    .object({
      id: z.string(),
      at: z.string(),
      by: z.string(),
      steps: z.array(stepSchema),
      skipped: z.array(z.object({ step: stepSchema, why: z.string() })),
      undoneAt: z.string().nullable(),
      before: measuredSchema.describe('measured, by the ledger'),
      after: measuredSchema.describe('measured over the same length of time'),
      afterUnknown: z.string().nullable(),
    })
    .nullable(),
});

export function consolidationRoutes(app: PlatformApp, { consolidation }: Pick<House, 'consolidation'>): void {
  const schema = { tags: ['server'], response: { 200: proposalSchema } };
  const config = { access: 'operator', errors: ['NOT_SUPPORTED'] } as const;
  app.get(
    '/consolidation',
    {
      config,
      schema: {
        ...schema,
        summary: 'What could be fewer and fuller',
        description:
          'Unloading, fewer copies, processes and threads, larger batches, within the latency objective of each deployment. What is freed becomes a saving when it carries other work or the host shrinks.',
      },
    },
    async () => proposalJson(await consolidation.propose()),
  );
  app.post(
    '/consolidation/perform',
    { config, schema: { ...schema, summary: 'Perform what is proposed; no request fails for it' } },
    async (request) => proposalJson(await consolidation.perform(performer(principalOf(request)))),
  );
  app.post(
    '/consolidation/undo',
    {
      config: { access: 'operator', errors: ['NOT_SUPPORTED', 'CONFLICT'] },
      schema: { ...schema, summary: 'Take back what was performed last' },
    },
    async (request) => proposalJson(await consolidation.undo(performer(principalOf(request)))),
  );
}

function performer(principal: Principal) {
  return { actor: actorOf(principal), organisationId: principal.organisationId };
}

function proposalJson({ performed, ...proposal }: Proposal): z.input<typeof proposalSchema> {
  if (!performed) return { ...proposal, performed: null };
  const { atMs, undoneAtMs, ...rest } = performed;
  const undoneAt = undoneAtMs === null ? null : new Date(undoneAtMs).toISOString();
  return { ...proposal, performed: { ...rest, at: new Date(atMs).toISOString(), undoneAt } };
}
