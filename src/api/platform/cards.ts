/** Impact cards of models, for people, for Hugging Face and for bills of materials. */
import { z } from 'zod';
import type { ImpactCard } from '../../energy/exports/card.ts';
import { cardSpdx } from '../../energy/exports/card-spdx.ts';
import { cardMarkdown, emissionsOf } from '../../energy/exports/card-text.ts';
import { CommonwattError } from '../../errors.ts';
import type { Principal } from '../../gate/gate.ts';
import type { ModelRecord, VersionRecord } from '../../models/models.ts';
import { principalOf } from '../guard.ts';
import { cardSchema } from './card-shapes.ts';
import type { House, PlatformApp } from './house.ts';
import { modelParams } from './schemas.ts';
import { parseModelName, refOf } from './views.ts';

const formats = ['json', 'huggingface', 'spdx'] as const;
type Format = (typeof formats)[number];

const types: Record<Exclude<Format, 'json'>, string> = {
  huggingface: 'text/markdown; charset=utf-8',
  spdx: 'application/ld+json',
};

type Parts = Pick<House, 'gate' | 'registry' | 'jobs' | 'exports'>;

export function cardRoutes(app: PlatformApp, house: Parts): void {
  const { gate, registry, exports } = house;
  app.get(
    '/models/:model/card',
    {
      config: { access: 'key', errors: ['MODEL_NOT_FOUND', 'VERSION_NOT_FOUND', 'INVALID_NAME'] },
      schema: {
        tags: ['impact'],
        summary: 'What the training of a model used, and what an inference uses',
        description:
          'For whoever may see the model; only its owner is told how often it is used. `huggingface`: a model card in Markdown with `co2_eq_emissions`; `spdx`: SPDX 3.0.1 in JSON-LD with the AI profile.',
        params: modelParams,
        querystring: z.strictObject({
          version: z.coerce.number().int().min(1).max(999_999_999).optional().describe('default: the newest'),
          format: z.enum(formats).optional().describe('default: by `Accept`, else json'),
        }),
        response: {
          200: {
            description: 'the card',
            content: {
              'application/json': { schema: cardSchema },
              'text/markdown': { schema: z.string() },
              'application/ld+json': { schema: z.unknown() },
            },
          },
        },
      },
    },
    async (request, reply) => {
      const { organisation, name } = parseModelName(request.params.model);
      const principal = principalOf(request);
      const { model } = await gate.authorize(principal, 'view', organisation, name);
      const version = await versionOf(registry, model, request.query.version);
      const card = await exports.card(await subjectOf(house, principal, model, version));
      const format = request.query.format ?? accepted(request.headers.accept);
      if (format === 'json') return { ...card, co2_eq_emissions: emissionsOf(card) };
      return reply.type(types[format]).send(textOf(card, format));
    },
  );
}

async function versionOf(
  registry: Parts['registry'],
  model: ModelRecord,
  number: number | undefined,
): Promise<VersionRecord> {
  if (number !== undefined) return registry.getVersion(model.id, number);
  const [first, ...others] = await registry.listVersions(model.id);
  if (!first)
    throw new CommonwattError('VERSION_NOT_FOUND', `${refOf(model)} has no version`, {
      where: 'query.version',
      hint: 'import one: commonwatt import',
    });
  return others.reduce((newest, version) => (version.number > newest.number ? version : newest), first);
}

async function subjectOf(
  { jobs }: Pick<House, 'jobs'>,
  { role, organisationId }: Principal,
  model: ModelRecord,
  version: VersionRecord,
) {
  return {
    modelId: model.id,
    model: refOf(model),
    owner: model.organisation,
    version: version.number,
    versionId: version.id,
    sha256: version.artifactSha256,
    createdAt: version.createdAt,
    job: version.jobId === null ? null : await jobOf(jobs, model.organisationId, version.jobId),
    showsUse: role === 'operator' || organisationId === model.organisationId,
  };
}

/** Null: it did not run, or is gone. */
async function jobOf(jobs: Parts['jobs'], organisationId: string, id: string) {
  try {
    const { startedAt, finishedAt } = await jobs.get(organisationId, id);
    if (startedAt === null) return null;
    return {
      id,
      startedMs: Date.parse(startedAt),
      finishedMs: finishedAt === null ? Date.now() : Date.parse(finishedAt),
    };
  } catch (error) {
    if (error instanceof CommonwattError && error.code === 'NOT_FOUND') return null;
    throw error;
  }
}

function textOf(card: ImpactCard, format: Exclude<Format, 'json'>): string {
  return format === 'huggingface' ? cardMarkdown(card) : `${JSON.stringify(cardSpdx(card), null, 2)}\n`;
}

/** The first of its types that there is. */
function accepted(accept = ''): Format {
  for (const type of accept.split(',').map((part) => part.split(';', 1)[0]?.trim())) {
    if (type === 'application/json') return 'json';
    if (type === 'text/markdown') return 'huggingface';
    if (type === 'application/ld+json') return 'spdx';
  }
  return 'json';
}
