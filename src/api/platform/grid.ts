/** How dirty the electricity is now and in the next days, and who says so. */
import { z } from 'zod';
import type { ForecastSlot, Grid, SourceState } from '../../energy/grid/open.ts';
import type { Intensity } from '../../energy/grid.ts';
import { principalOf } from '../guard.ts';
import type { House, PlatformApp } from './house.ts';

const hourMs = 3_600_000;

const kindSchema = z.enum(['average', 'marginal']).describe('of all electricity, or of one more kWh');
const scopeSchema = z.enum(['life-cycle', 'direct']);

const gridSchema = z.object({
  zone: z.string().describe('of the yearly average that stands in'),
  current: z.object({
    gPerKwh: z.number(),
    zone: z.string(),
    kind: kindSchema,
    scope: scopeSchema,
    estimated: z.boolean(),
    stale: z.boolean().describe('an older value, carried on'),
    source: z.string(),
    at: z.string().nullable().describe('since when the value has held; null: it is of a year'),
    instead: z.string().nullable().describe('why it is not a value of the first source; null: it is'),
  }),
  forecast: z.array(z.object({ start: z.string(), end: z.string(), gPerKwh: z.number() })),
  sources: z.array(
    z.object({
      name: z.string(),
      zone: z.string(),
      kind: kindSchema,
      scope: scopeSchema,
      description: z.string(),
      updatedAt: z.string().nullable(),
      nextAt: z.string().nullable(),
      problem: z.string().nullable().describe('for the operator'),
      refused: z
        .object({ count: z.int(), reason: z.string() })
        .nullable()
        .describe('values of the last answer that cannot be true'),
    }),
  ),
});

export function gridRoutes(app: PlatformApp, { energy }: Pick<House, 'energy'>): void {
  app.get(
    '/grid',
    {
      config: { access: 'key' },
      schema: {
        tags: ['impact'],
        summary: 'Intensity of the electricity: now, and what is forecast',
        querystring: z.strictObject({
          hours: z.coerce.number().int().min(1).max(168).default(48).describe('of forecast'),
        }),
        response: { 200: gridSchema },
      },
    },
    (request) => {
      const isOperator = principalOf(request).role === 'operator';
      return gridJson(energy.grid(), Date.now(), request.query.hours * hourMs, isOperator);
    },
  );
}

function gridJson(grid: Grid, nowMs: number, aheadMs: number, isOperator: boolean) {
  return {
    zone: grid.zone,
    current: currentJson(grid.current()),
    forecast: grid.forecast(nowMs, nowMs + aheadMs).map(slotJson),
    sources: grid.sources().map((source) => sourceJson(source, isOperator)),
  };
}

function currentJson({ value, atMs, ...intensity }: Intensity) {
  return { gPerKwh: value, ...intensity, at: timeOrNull(atMs) };
}

function slotJson({ startMs, endMs, gPerKwh }: ForecastSlot) {
  return { start: new Date(startMs).toISOString(), end: new Date(endMs).toISOString(), gPerKwh };
}

function sourceJson({ updatedAtMs, nextAtMs, problem, ...source }: SourceState, isOperator: boolean) {
  return {
    ...source,
    // It may name hosts and paths of the machine.
    problem: isOperator ? problem : null,
    updatedAt: timeOrNull(updatedAtMs),
    nextAt: timeOrNull(nextAtMs),
  };
}

function timeOrNull(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}
