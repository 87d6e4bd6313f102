/** The server itself, for its operator: the processes it is made of and what they hold, and new ones in place of those that compute. */
import { z } from 'zod';
import type { House, PlatformApp } from './house.ts';
import { deploymentStateSchema } from './schemas.ts';

const bytes = z.int();

const serverSchema = z.object({
  version: z.string(),
  node: z.string(),
  pid: z.int(),
  startedAt: z.string(),
  leaving: z.boolean().describe('told to stop: ready no more, and taking no new work soon'),
  gateways: z.object({
    count: z.int().describe('processes that do HTTP; 1: the server itself'),
    pids: z.array(z.int()).describe('of those beside the server'),
  }),
  runners: z.object({
    processes: z.array(
      z.object({
        pid: z.int(),
        kind: z
          .enum(['shared', 'alone'])
          .describe('shared: computes all batches; alone: retries requests after a crash'),
        residentBytes: bytes,
        computedS: z
          .number()
          .describe(
            'seconds it has computed since its start, warm-ups included, as it told when it last rested',
          ),
        models: z.array(
          z.object({ model: z.string(), memoryBytes: bytes.describe('estimated') }).describe('loaded in it'),
        ),
      }),
    ),
    restarts: z.int().describe('processes that ended by themselves or had to be ended'),
    threads: z.int().describe('of one computation, where a deployment names none'),
    memoryLimitBytes: bytes.describe('what each may grow to'),
  }),
  models: z.object({
    heldBytes: bytes.describe('by loaded models, estimated'),
    budgetBytes: bytes,
    deployments: z.record(deploymentStateSchema, z.int()).describe('how many are in each state'),
  }),
  ledger: z
    .object({
      residualRatio: z
        .number()
        .nullable()
        .describe('how far the entries of the last interval are from its meter; null: none is settled yet'),
      alarms: z.int().describe('intervals since the start that were further off than 1e-9'),
      lastAlarm: z.object({ interval: z.string(), residualRatio: z.number() }).nullable(),
    })
    .nullable()
    .describe('null: nothing is metered'),
});

export type ServerFacts = z.infer<typeof serverSchema>;

export function serverRoutes(app: PlatformApp, { server }: Pick<House, 'server'>): void {
  app.get(
    '/server',
    {
      config: { access: 'operator' },
      schema: {
        tags: ['server'],
        summary: 'What the server is made of: processes, memory, loaded models',
        response: { 200: serverSchema },
      },
    },
    () => server.facts(),
  );
  app.post(
    '/runners/restart',
    {
      config: { access: 'operator' },
      schema: {
        tags: ['server'],
        summary: 'Replace the processes that compute, one after another',
        description: 'Answers when all are replaced. No request fails for it, and none is computed twice.',
        response: {
          200: z.object({ runners: z.int().describe('running now'), tookMs: z.int() }),
        },
      },
    },
    async () => {
      const began = performance.now();
      await server.restartRunners();
      const { processes } = server.facts().runners;
      return { runners: processes.length, tookMs: Math.round(performance.now() - began) };
    },
  );
}
