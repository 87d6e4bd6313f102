/** Rows of models and versions, as they lie in the database, and the records the house sees. */
import type { Selectable } from 'kysely';
import type { Db, Schema } from '../storage/db.ts';
import type { ModelRecord, ModelSignature, VersionRecord } from './models.ts';

type ModelRow = Selectable<Schema['models']> & { organisation: string };
type VersionRow = Selectable<Schema['versions']>;

export function models(db: Db) {
  return db
    .selectFrom('models')
    .innerJoin('organisations', 'organisations.id', 'models.organisation_id')
    .selectAll('models')
    .select('organisations.name as organisation')
    .orderBy('organisations.name')
    .orderBy('models.name');
}

export function versionsOf(db: Db, modelId: string) {
  return db.selectFrom('versions').selectAll('versions').where('versions.model_id', '=', modelId);
}

export function latestOf(db: Db, modelId: string) {
  return versionsOf(db, modelId).orderBy('number', 'desc').limit(1);
}

export function toModel(row: ModelRow): ModelRecord {
  return {
    id: row.id,
    organisationId: row.organisation_id,
    organisation: row.organisation,
    name: row.name,
    createdAt: row.created_at,
  };
}

export function toVersion(row: VersionRow): VersionRecord {
  const signature: ModelSignature = JSON.parse(row.signature);
  return {
    id: row.id,
    modelId: row.model_id,
    number: row.number,
    format: row.format,
    artifactSha256: row.artifact_sha256,
    onnxSha256: row.onnx_sha256,
    sizeBytes: row.size_bytes,
    signature,
    createdAt: row.created_at,
    createdBy: row.created_by,
    jobId: row.job_id,
    datasetId: row.dataset_id,
  };
}
