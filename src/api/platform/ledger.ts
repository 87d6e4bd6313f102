/** The ledger itself: its lines by page, by id and as files, and the metered intervals that they add up to. */
import { Readable } from 'node:stream';
import { z } from 'zod';
import type { LineFilter } from '../../energy/ledger-lines.ts';
import { contentTypes, type ExportFormat, exportFormats } from '../../energy/line-formats.ts';
import { CommonwattError } from '../../errors.ts';
import { principalOf } from '../guard.ts';
import type { House, PlatformApp } from './house.ts';
import { intervalSchema, lineSchema, pageSchema } from './ledger-shapes.ts';
import { bytesSchema, timeSchema } from './schemas.ts';

const dayMs = 24 * 3600 * 1000;
const kinds = [
  'inference',
  'explanation',
  'evaluation',
  'training',
  'idle',
  'overhead',
  'unattributed',
] as const;
const outcomes = ['finished', 'aborted', 'failed', 'cached'] as const;

const windowQuery = { from: timeSchema.optional(), to: timeSchema.optional() };
const limit = z.coerce.number().int().min(1).max(1000).default(100);
const name = z.string().min(1).max(300).optional();
const linesQuery = z.strictObject({
  ...windowQuery,
  kind: z.enum(kinds).optional(),
  outcome: z.enum(outcomes).optional(),
  model: name.describe('`org/model` or its id'),
  version: z.coerce.number().int().min(1).optional(),
  tenant: name.describe('the organisation that used it: its name or id'),
  key: name.describe('id of an API key of yours'),
  job: name,
  limit,
  cursor: name.describe('of the page before'),
  format: z
    .enum(['json', ...exportFormats])
    .optional()
    .describe('json: a page; others: everything as a file. `Accept` does as well'),
});

export function ledgerRoutes(app: PlatformApp, { energy }: Pick<House, 'energy'>): void {
  app.get(
    '/ledger',
    {
      config: { access: 'key', errors: ['LIMIT_EXCEEDED'] },
      schema: {
        tags: ['impact'],
        summary: 'Read the lines of the ledger',
        description:
          'What your organisation consumed or owns; the operator sees everything. Without times, the last 24 hours. An owner sees which organisation used its model, not which of its keys. In CSV, texts that a spreadsheet would take for formulas begin with an apostrophe.',
        querystring: linesQuery,
        response: {
          200: {
            description: 'a page, or a file of all lines',
            content: {
              'application/json': { schema: pageSchema },
              ...Object.fromEntries(
                Object.values(contentTypes).map((type) => [type.split(';', 1)[0], { schema: bytesSchema }]),
              ),
            },
          },
        },
      },
    },
    async (request, reply) => {
      const { from, to, limit, cursor, format, ...rest } = request.query;
      const filter: LineFilter = { ...windowOf({ from, to }), scope: scopeOf(request), ...given(rest) };
      const chosen = format ?? accepted(request.headers.accept);
      if (chosen === 'json') return energy.books.page(filter, { limit, cursor });
      const pieces = await energy.books.export(filter, chosen);
      return reply
        .type(contentTypes[chosen])
        .header('content-disposition', `attachment; filename="ledger.${chosen}"`)
        .send(Readable.from(pieces, { objectMode: false, highWaterMark: 64 * 1024 }));
    },
  );
  app.get(
    '/ledger/intervals',
    {
      config: { access: 'key' },
      schema: {
        tags: ['impact'],
        summary: 'Read the metered intervals that ledger lines add up to',
        description: 'Totals, supply and use of the platform. Without times, the last 24 hours.',
        querystring: z.strictObject({ ...windowQuery, limit }),
        response: {
          200: z.object({
            intervals: z.array(intervalSchema),
            next: z.string().nullable().describe('where the next page begins'),
          }),
        },
      },
    },
    async (request) => {
      const { limit, ...window } = request.query;
      const { intervals, nextMs } = await energy.books.intervals(windowOf(window), limit);
      return {
        intervals: intervals.map(intervalView),
        next: nextMs === null ? null : new Date(nextMs).toISOString(),
      };
    },
  );
  app.get(
    '/ledger/:id',
    {
      config: { access: 'key', errors: ['NOT_FOUND'] },
      schema: {
        tags: ['impact'],
        summary: 'Show what one request, job or entry used, settled',
        params: z.object({ id: z.string() }),
        response: { 200: lineSchema },
      },
    },
    (request) => energy.books.line(request.params.id, scopeOf(request)),
  );
}

function scopeOf(request: Parameters<typeof principalOf>[0]): LineFilter['scope'] {
  const { role, organisationId } = principalOf(request);
  return role === 'operator' ? 'all' : { organisationId };
}

function windowOf({ from, to }: { from?: string | undefined; to?: string | undefined }) {
  const toMs = to === undefined ? Date.now() + 1 : Date.parse(to);
  const fromMs = from === undefined ? toMs - dayMs : Date.parse(from);
  if (fromMs < toMs) return { fromMs, toMs };
  throw new CommonwattError('INVALID_REQUEST', '"from" is not before "to"', {
    where: 'query.from',
    hint: 'swap the two, or leave "to" out for now',
  });
}

type Given<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

function given<T extends object>(values: T): Given<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Given<T>;
}

/** The first of its types that there is; whatever else is asked for gets JSON. */
function accepted(accept = ''): 'json' | ExportFormat {
  for (const type of accept.split(',').map((part) => part.split(';', 1)[0]?.trim())) {
    if (type === 'application/json') return 'json';
    const format = exportFormats.find((one) => contentTypes[one].split(';', 1)[0] === type);
    if (format) return format;
    if (type === 'application/x-ndjson' || type === 'application/ndjson') return 'jsonl';
  }
  return 'json';
}

type StoredInterval = Awaited<ReturnType<House['energy']['books']['intervals']>>['intervals'][number];

function intervalView(row: StoredInterval): z.input<typeof intervalSchema> {
  return {
    id: row.id,
    start: new Date(row.start_ms).toISOString(),
    end: new Date(row.end_ms).toISOString(),
    node: row.node,
    energyWh: row.energy_j / 3600,
    acceleratorWh: row.accelerator_j === null ? null : row.accelerator_j / 3600,
    acceleratorSecondsSupplied: row.accelerator_s_supplied,
    acceleratorSecondsReserved: row.accelerator_s_reserved,
    acceleratorSecondsUsed: row.accelerator_s_used,
    carbonGCo2e: row.carbon_g,
    embodiedGCo2e: row.embodied_g,
    waterL: row.water_l,
    quality: row.quality,
    method: row.method,
    methodVersion: row.method_version,
    zone: row.zone,
    signal: row.signal,
    scope: row.scope,
    intensityGPerKwh: row.intensity_g_per_kwh,
    basis: JSON.parse(row.basis),
    cpuSecondsSupplied: row.cpu_s_supplied,
    cpuSecondsUsed: row.cpu_s_used,
    cpuSecondsOther: row.cpu_s_other,
    memoryGbSecondsSupplied: row.memory_gbs_supplied,
    memoryGbSecondsReserved: row.memory_gbs_reserved,
    memoryGbSecondsUsed: row.memory_gbs_used,
  };
}
