/**
 * The one door to SQL: Kysely over libsql (embedded SQLite, WAL, synchronous=FULL). Times are ISO-8601 UTC text
 * or epoch milliseconds (`*_ms`), JSON columns are text, energies are REAL in the unit of their name.
 * Every acknowledged write is committed and synced before the call returns.
 */
import { type Generated, Kysely, Migrator } from 'kysely';
import { migrations } from './migrations.ts';
import { EmbeddedDialect, type StoreLog } from './sqlite.ts';

type Json = string;

export interface Schema {
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
  jobs: {
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
  /** One metered interval; Σ ledger_entries of it = its totals, to 1e-9. */
  ledger_intervals: {
    id: string;
    start_ms: number;
    end_ms: number;
    energy_j: number;
    carbon_g: number;
    embodied_g: number;
    /** Null: unknown; the reason is in `basis`. */
    water_l: number | null;
    quality: 'measured' | 'estimated' | 'assumed';
    method: string;
    method_version: string;
    /** Grid value and its source, PUE, WUE, idle and maximum watts, reasons of what is null. */
    basis: Json;
    /** Supply and use of each resource, for RUR. */
    cpu_s_supplied: number;
    cpu_s_used: number;
    cpu_s_other: number;
    memory_gbs_supplied: number;
    memory_gbs_reserved: number;
    memory_gbs_used: number;
  };
  ledger_entries: {
    id: string;
    interval_id: string;
    at_ms: number;
    kind: 'inference' | 'explanation' | 'evaluation' | 'training' | 'idle' | 'overhead' | 'unattributed';
    consumer_id: string | null;
    consumer: string | null;
    owner_id: string | null;
    owner: string | null;
    model_id: string | null;
    model: string | null;
    version: number | null;
    key_id: string | null;
    grant_id: string | null;
    job_id: string | null;
    /** What kind of idle or overhead. */
    note: string | null;
    rows: number;
    cpu_s: number;
    energy_j: number;
    idle_share_j: number;
    carbon_g: number;
    embodied_g: number;
    water_l: number | null;
    /** What reusing another's answer avoided, estimated; in no sum of what was used. */
    avoided_j: Generated<number>;
    avoided_g: Generated<number>;
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
