/** Deployments as they lie in the database, read in one go however many there are. */
import type { ModelRecord, VersionRecord } from '../models/models.ts';
import { toVersion } from '../models/rows.ts';
import type { Db } from '../storage/db.ts';

export interface StoredDeployment {
  id: string;
  settings: string;
  createdAt: string;
  model: ModelRecord;
  version: VersionRecord;
  /** Bytes of what a runner loads. */
  artifactBytes: number;
}

/** Oldest first. */
export async function storedDeployments(db: Db): Promise<StoredDeployment[]> {
  const rows = await db
    .selectFrom('deployments')
    .innerJoin('versions', 'versions.id', 'deployments.version_id')
    .innerJoin('models', 'models.id', 'deployments.model_id')
    .innerJoin('organisations', 'organisations.id', 'models.organisation_id')
    .leftJoin('artifacts', (join) =>
      join
        .onRef('artifacts.organisation_id', '=', 'models.organisation_id')
        .onRef('artifacts.sha256', '=', 'versions.onnx_sha256'),
    )
    .selectAll('versions')
    .select([
      'deployments.id as deployment_id',
      'deployments.settings',
      'deployments.created_at as deployed_at',
      'models.organisation_id',
      'models.name',
      'models.created_at as model_created_at',
      'organisations.name as organisation',
      'artifacts.size_bytes as artifact_bytes',
    ])
    .orderBy('deployments.created_at')
    .execute();
  return rows.map((row) => ({
    id: row.deployment_id,
    settings: row.settings,
    createdAt: row.deployed_at,
    model: {
      id: row.model_id,
      organisationId: row.organisation_id,
      organisation: row.organisation,
      name: row.name,
      createdAt: row.model_created_at,
    },
    version: toVersion(row),
    artifactBytes: row.artifact_bytes ?? row.size_bytes,
  }));
}

/** Bytes of what a runner loads for a version. */
export async function artifactBytesOf(db: Db, model: ModelRecord, version: VersionRecord): Promise<number> {
  const row = await db
    .selectFrom('artifacts')
    .select('size_bytes')
    .where('organisation_id', '=', model.organisationId)
    .where('sha256', '=', version.onnxSha256)
    .executeTakeFirst();
  return row?.size_bytes ?? version.sizeBytes;
}

/** modelId → alias → version number, of every model that is deployed. */
export async function storedAliases(db: Db): Promise<Map<string, Map<string, number>>> {
  const rows = await db
    .selectFrom('aliases')
    .innerJoin('versions', 'versions.id', 'aliases.version_id')
    .select(['aliases.model_id', 'aliases.name', 'versions.number'])
    .where('aliases.model_id', 'in', (e) => e.selectFrom('deployments').select('deployments.model_id'))
    .execute();
  const aliases = new Map<string, Map<string, number>>();
  for (const { model_id, name, number } of rows) {
    const ofModel = aliases.get(model_id) ?? new Map<string, number>();
    aliases.set(model_id, ofModel.set(name, number));
  }
  return aliases;
}
