/** Which of several clusters is the cleanest that is near enough: callers choose by it, nothing is passed on. */
import { z } from 'zod';
import type { House, PlatformApp } from './house.ts';

const hourMs = 3_600_000;

const regionsSchema = z.object({
  best: z.string().nullable().describe('now; null: no regions are configured'),
  why: z
    .enum(['cleanest', 'nearest'])
    .nullable()
    .describe('nearest: none is near enough, or no grid is known'),
  regions: z.array(
    z.object({
      name: z.string(),
      url: z.string(),
      zone: z.string(),
      latencyMs: z.number(),
      gPerKwh: z.number().nullable(),
      source: z.string(),
      score: z.number().nullable().describe('gCO2e/kWh with the latency weighed in; null: no choice'),
    }),
  ),
  forecast: z.array(
    z.object({ start: z.string(), end: z.string(), best: z.string(), gPerKwh: z.number().nullable() }),
  ),
});

export function regionRoutes(app: PlatformApp, { regions }: Pick<House, 'regions'>): void {
  app.get(
    '/regions',
    {
      config: { access: 'key' },
      schema: {
        tags: ['impact'],
        summary: 'The cleanest region that is near enough: now, and as forecast',
        querystring: z.strictObject({
          maxLatencyMs: z.coerce.number().positive().optional(),
          gPerKwhPerMs: z.coerce.number().min(0).optional().describe('how much cleaner for each ms farther'),
          hours: z.coerce.number().int().min(1).max(168).default(24).describe('of forecast'),
        }),
        response: { 200: regionsSchema },
      },
    },
    (request) => {
      const { hours, maxLatencyMs, gPerKwhPerMs } = request.query;
      const policy = {
        ...(maxLatencyMs === undefined ? {} : { maxLatencyMs }),
        ...(gPerKwhPerMs === undefined ? {} : { gPerKwhPerMs }),
      };
      const nowMs = Date.now();
      const { regions: all, choice } = regions.now(nowMs, policy);
      return {
        best: choice?.best ?? null,
        why: choice?.why ?? null,
        regions: all.map((region, index) => ({ ...region, score: choice?.scores[index]?.score ?? null })),
        forecast: regions
          .forecast(nowMs, nowMs + hours * hourMs, policy)
          .map(({ startMs, endMs, ...slot }) => ({
            start: new Date(startMs).toISOString(),
            end: new Date(endMs).toISOString(),
            ...slot,
          })),
      };
    },
  );
}
