/**
 * The one door to SQL: Kysely over libsql (embedded SQLite, WAL, synchronous=FULL). Times are ISO-8601 UTC text
 * or epoch milliseconds (`*_ms`), JSON columns are text, energies are REAL in the unit of their name.
 * Every acknowledged write is committed and synced before the call returns.
 */
import { type Generated, Kysely, Migrator } from 'kysely';
import type { BudgetsTable } from './budgets-table.ts';
import type { JobPlanColumns } from './job-plans.ts';
import type { LedgerSchema } from './ledger-schema.ts';
import { migrations } from './migrations.ts';
import { EmbeddedDialect, type StoreLog } from './sqlite.ts';

type Json = string;

export interface Schema extends LedgerSchema {
  organisations: { id: string; name: string; created_at: string };
  members: {
    id: string;
    organisation_id: string;
    name: string;
    role: 'operator' | 'admin' | 'member';
    created_at: string;
  };
  api_keys: {
    id: string;
    organisation_id: string;
    member_id: string;
    name: string;
    /** First characters of the key, for people to recognise it by. */
    prefix: string;
    /** SHA-256 of the whole key, hex. */
    hash: string;
    created_at: string;
    expires_at: string | null;
    revoked_at: string | null;
  };
  models: { id: string; organisation_id: string; name: string; created_at: string };
  versions: {
    id: string;
    model_id: string;
    number: number;
    format: 'keras-h5' | 'keras' | 'tfjs-layers' | 'onnx' | 'pipeline' | 'ensemble';
    artifact_sha256: string;
    onnx_sha256: string;
    size_bytes: number;
    signature: Json;
    created_at: string;
    created_by: string;
    job_id: string | null;
    dataset_id: string | null;
  };
  /** One row for each blob an organisation stores: deduplicated inside an organisation only. */
  artifacts: {
    id: string;
    organisation_id: string;
    sha256: string;
    size_bytes: number;
    /** The data key, wrapped by the master key `key_id`, base64. */
    wrapped_key: string;
    key_id: string;
    created_at: string;
  };
  aliases: { model_id: string; name: string; version_id: string; updated_at: string; updated_by: string };
  deployments: {
    id: string;
    model_id: string;
    version_id: string;
    settings: Json;
    created_at: string;
    created_by: string;
  };
  grants: {
    id: string;
    model_id: string;
    grantee_organisation_id: string;
    permissions: Json;
    limit_requests: number | null;
    limit_period: 'hour' | 'day' | 'month' | null;
    created_at: string;
    expires_at: string | null;
    revoked_at: string | null;
  };
  budgets: BudgetsTable;
  datasets: {
    id: string;
    organisation_id: string;
    name: string;
    artifact_sha256: string;
    rows: number;
    label: string;
    features: Json;
    /** Seed and fractions of the train/validation/test split. */
    split: Json;
    report: Json;
    created_at: string;
    created_by: string;
  };
  jobs: JobPlanColumns & {
    id: string;
    organisation_id: string;
    key_id: string | null;
    created_by: string;
    kind: string;
    spec: Json;
    state: 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled';
    cancel_requested: number;
    attempts: number;
    progress: Json | null;
    result: Json | null;
    error: Json | null;
    created_at: string;
    started_at: string | null;
    finished_at: string | null;
  };
  evaluations: {
    id: string;
    version_id: string;
    dataset_id: string;
    split: string;
    report: Json;
    passed: number;
    created_at: string;
    created_by: string;
  };
  audit_events: {
    seq: Generated<number>;
    at: string;
    actor: string;
    organisation_id: string;
    action: string;
    subject: string;
    detail: Json;
  };
  settings: { name: string; value: string };
}

export type Db = Kysely<Schema>;

/** Throws STORE_FAILED when the file cannot be used, then and whenever its disk fails; `log` is told of it. */
export async function openDatabase(file: string, log?: StoreLog): Promise<Db> {
  const db: Db = new Kysely<Schema>({ dialect: new EmbeddedDialect(file, log) });
  const migrator = new Migrator({ db, provider: { getMigrations: async () => migrations } });
  const { error } = await migrator.migrateToLatest();
  if (error) {
    await db.destroy();
    throw error;
  }
  return db;
}
