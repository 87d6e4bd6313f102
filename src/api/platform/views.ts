/** Records of the rooms as the JSON of docs/api.md, seen with the eyes of who asks. */
import { CommonwattError } from '../../errors.ts';
import type { ModelAccess } from '../../gate/gate.ts';
import type { GrantRecord, ModelRecord, ModelRef, VersionRecord } from '../../models/models.ts';
import { flatName, parseModelRef, quote } from '../../models/names.ts';
import type { House } from './house.ts';
import type { GrantJson, ModelJson, VersionJson } from './schemas.ts';

export type ViewParts = Pick<House, 'registry' | 'deployments' | 'datasets' | 'gate'>;

export function refOf({ organisation, name }: Pick<ModelRecord, 'organisation' | 'name'>): string {
  return `${organisation}/${name}`;
}

/** A model's name as it stands in a path: without version or alias. */
export function parseModelName(text: string): Pick<ModelRef, 'organisation' | 'name'> {
  const { organisation, name, version, alias } = parseModelRef(text);
  if (version === undefined && alias === undefined) return { organisation, name };
  throw new CommonwattError('INVALID_NAME', `${quote(text)} names a version; a model is meant here`, {
    where: 'path.model',
    hint: `write ${flatName(organisation, name)}`,
  });
}

export async function grantView(gate: House['gate'], grant: GrantRecord): Promise<GrantJson> {
  return {
    id: grant.id,
    organisation: grant.granteeOrganisation,
    permissions: grant.permissions,
    limit: grant.limit,
    usedInPeriod: await gate.usedInPeriod(grant),
    expiresAt: grant.expiresAt,
    createdAt: grant.createdAt,
    revokedAt: grant.revokedAt,
  };
}

/** Members, jobs and data sets are the owner's business: other organisations see none of them. */
export async function versionView(
  datasets: Pick<House['datasets'], 'get'>,
  model: ModelRecord,
  version: VersionRecord,
  owned: boolean,
): Promise<VersionJson> {
  return {
    id: version.id,
    number: version.number,
    format: version.format,
    sha256: version.artifactSha256,
    onnxSha256: version.onnxSha256,
    sizeBytes: version.sizeBytes,
    inputs: version.signature.inputs,
    outputs: version.signature.outputs,
    createdAt: version.createdAt,
    createdBy: owned ? version.createdBy : null,
    jobId: owned ? version.jobId : null,
    dataset: owned ? await datasetName(datasets, model, version.datasetId) : null,
  };
}

export async function modelView(
  { registry, deployments, datasets, gate }: ViewParts,
  { model, grant }: Pick<ModelAccess, 'model' | 'grant'>,
): Promise<ModelJson> {
  const owned = grant === null;
  const versions = await registry.listVersions(model.id);
  return {
    id: model.id,
    organisation: model.organisation,
    name: model.name,
    ref: refOf(model),
    flat: flatName(model.organisation, model.name),
    createdAt: model.createdAt,
    owned,
    versions: await Promise.all(versions.map((version) => versionView(datasets, model, version, owned))),
    aliases: (await registry.aliases(model.id)).map(({ alias, version }) => ({ alias, version })),
    deployments: deployments.list([model.id]).map(({ id, version, state }) => ({ id, version, state })),
    grant: grant && (await grantView(gate, grant)),
  };
}

async function datasetName(
  datasets: Pick<House['datasets'], 'get'>,
  model: ModelRecord,
  datasetId: string | null,
): Promise<string | null> {
  if (datasetId === null) return null;
  try {
    const { name } = await datasets.get(model.organisationId, datasetId);
    return `${model.organisation}/${name}`;
  } catch (error) {
    if (error instanceof CommonwattError && error.code === 'NOT_FOUND') return null;
    throw error;
  }
}
