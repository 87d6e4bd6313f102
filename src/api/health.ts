/** Is it alive, can it answer, and its Prometheus metrics. */
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';

export interface MetricsSource {
  readonly contentType: string;
  metrics(): Promise<string>;
}

export async function healthRoutes(
  app: FastifyInstance,
  { metrics, ready }: { metrics: MetricsSource; ready(): boolean },
): Promise<void> {
  app.get(
    '/health/live',
    {
      config: { access: 'public' },
      schema: {
        tags: ['health'],
        summary: 'Does the process answer?',
        security: [],
        response: { 200: z.object({ live: z.boolean() }) },
      },
    },
    () => ({ live: true }),
  );
  const readiness = z.object({ ready: z.boolean() });
  app.get(
    '/health/ready',
    {
      config: { access: 'public' },
      schema: {
        tags: ['health'],
        summary: 'Can every deployment answer?',
        security: [],
        response: { 200: readiness, 503: readiness },
      },
    },
    (_request, reply) => {
      const state = ready();
      return reply.code(state ? 200 : 503).send({ ready: state });
    },
  );
  // Names of models and tenants are in the metrics: free for this host's scraper, else the operator's.
  app.get(
    '/metrics',
    {
      config: { access: 'loopback' },
      schema: {
        tags: ['health'],
        summary: 'Prometheus metrics',
        description: 'Without a key from this host itself; from elsewhere with the key of the operator.',
      },
    },
    async (_request, reply) => reply.type(metrics.contentType).send(await metrics.metrics()),
  );
}
