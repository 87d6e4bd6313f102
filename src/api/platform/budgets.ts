/** Budgets: how much of what may be used in a period, by whom, or of whose model. */
import { z } from 'zod';
import { meteringIsOff } from '../../energy/footprint.ts';
import type { Principal } from '../../gate/gate.ts';
import { principalOf } from '../guard.ts';
import type { House, PlatformApp } from './house.ts';
import { idParams } from './schemas.ts';

const amount = z.number().positive().max(1e15);
const price = z.number().min(0).max(1e9).default(0);
const prices = z
  .array(
    z.strictObject({
      of: z
        .string()
        .min(1)
        .max(200)
        .optional()
        .describe('a model, or an organisation; absent: everything else'),
      perRequest: price,
      perRow: price,
      perWh: price,
    }),
  )
  .min(1)
  .max(100);
const subjectKinds = ['key', 'member', 'organisation', 'grant', 'model'] as const;
const units = ['requests', 'rows', 'energyWh', 'carbonGCo2e', 'money'] as const;
const modes = ['soft', 'hard', 'shadow'] as const;
const warnAt = z
  .number()
  .positive()
  .max(1)
  .nullable()
  .describe('the part used from which callers are warned');

const stopsJobs = z.boolean().describe('hard only: jobs that run are ended once it is used up');

const newBudget = z.strictObject({
  subject: z.strictObject({ kind: z.enum(subjectKinds), name: z.string().min(1).max(200) }),
  unit: z.enum(units),
  amount,
  period: z.enum(['hour', 'day', 'month']),
  mode: z.enum(modes).default('hard').describe('hard refuses, soft warns, shadow only counts'),
  warnAt: warnAt.default(0.8),
  stopsJobs: stopsJobs.default(false),
  currency: z.string().min(1).max(10).nullable().default(null),
  prices: prices.nullable().default(null),
});

const budgetChange = z.strictObject({
  amount: amount.optional(),
  mode: z.enum(modes).optional(),
  warnAt: warnAt.optional(),
  stopsJobs: stopsJobs.optional(),
  prices: prices.optional(),
});

const budgetSchema = z.object({
  id: z.string(),
  subject: z.object({ kind: z.string(), id: z.string(), name: z.string() }),
  unit: z.string(),
  amount: z.number(),
  period: z.string(),
  mode: z.string(),
  warnAt: z.number().nullable(),
  stopsJobs: z.boolean(),
  currency: z.string().nullable(),
  prices: z.array(z.looseObject({})).nullable(),
  used: z.number().nullable().describe('in its unit, by what the ledger has booked in this period'),
  reserved: z.number().describe('of requests in flight, estimated'),
  refused: z.number(),
  wouldHaveRefused: z.number(),
  periodEnd: z.string(),
  unknown: z.record(z.string(), z.string()).describe('why `used` is null'),
  createdAt: z.string(),
  createdBy: z.string(),
});

const errors = ['FORBIDDEN', 'NOT_FOUND', 'CONFLICT'] as const;

/** Of what is not metered: what still holds. */
const heldBy = (unit: (typeof units)[number]) =>
  unit === 'money' ? 'it holds by what requests and rows cost alone' : 'it holds nobody back';

export function budgetRoutes(app: PlatformApp, { budgets, gate }: Pick<House, 'budgets' | 'gate'>): void {
  const view = async (principal: Principal, id: string) => {
    const { organisationId: _, changedAt: __, ...budget } = budgets.get(principal, id);
    const { kind, id: subjectId, name } = budget.subject;
    const { periodEndMs, ...state } = await gate.limits.state(budgets.limitOf(id));
    return {
      ...budget,
      ...state,
      unknown: state.used === null ? { used: `${meteringIsOff}: ${heldBy(budget.unit)}` } : {},
      prices: budget.prices === null ? null : budget.prices.map((each) => ({ ...each })),
      subject: { kind, id: subjectId, name },
      periodEnd: new Date(periodEndMs).toISOString(),
    };
  };
  app.get(
    '/budgets',
    {
      config: { access: 'key' },
      schema: {
        tags: ['budgets'],
        summary: 'List budgets, and how much of each is used',
        description:
          'An administrator sees those of the organisation, a member the own ones, the operator all.',
        response: { 200: z.object({ budgets: z.array(budgetSchema) }) },
      },
    },
    async (request) => {
      const principal = principalOf(request);
      return { budgets: await Promise.all(budgets.list(principal).map(({ id }) => view(principal, id))) };
    },
  );
  app.post(
    '/budgets',
    {
      config: { access: 'key', errors: [...errors] },
      schema: {
        tags: ['budgets'],
        summary: 'Set a budget for a key, a person, an organisation, a grant or a model',
        body: newBudget,
        response: { 201: budgetSchema },
      },
    },
    async (request, reply) => {
      const principal = principalOf(request);
      const { id } = await budgets.set(principal, request.body);
      return reply.code(201).send(await view(principal, id));
    },
  );
  app.patch(
    '/budgets/:id',
    {
      config: { access: 'key', errors: [...errors] },
      schema: {
        tags: ['budgets'],
        summary: 'Change a budget',
        params: idParams,
        body: budgetChange,
        response: { 200: budgetSchema },
      },
    },
    async (request) => {
      const principal = principalOf(request);
      const given = Object.fromEntries(
        Object.entries(request.body).filter(([, value]) => value !== undefined),
      );
      await budgets.change(principal, request.params.id, given);
      return view(principal, request.params.id);
    },
  );
  app.delete(
    '/budgets/:id',
    {
      config: { access: 'key', errors: [...errors] },
      schema: {
        tags: ['budgets'],
        summary: 'Remove a budget',
        params: idParams,
        response: { 204: z.null() },
      },
    },
    async (request, reply) => {
      await budgets.remove(principalOf(request), request.params.id);
      return reply.code(204).send(null);
    },
  );
}
