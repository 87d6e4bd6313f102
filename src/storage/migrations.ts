/** One migration history, written in Kysely's builder so that it runs on every dialect. Never edit a released step; add one. */
import { type Kysely, type Migration, sql } from 'kysely';
import { budgets } from './budgets-table.ts';
import { jobPlans } from './job-plans.ts';
import { ledgerAtScale } from './ledger-tables.ts';

/** A migration does not depend on the schema types of today. */
type AnyDb = Kysely<unknown>;

const core: Migration = {
  async up(db: AnyDb) {
    await db.schema
      .createTable('organisations')
      .addColumn('id', 'text', (c) => c.primaryKey())
      .addColumn('name', 'text', (c) => c.notNull().unique())
      .addColumn('created_at', 'text', (c) => c.notNull())
      .execute();
    await db.schema
      .createTable('members')
      .addColumn('id', 'text', (c) => c.primaryKey())
      .addColumn('organisation_id', 'text', (c) => c.notNull().references('organisations.id'))
      .addColumn('name', 'text', (c) => c.notNull())
      .addColumn('role', 'text', (c) => c.notNull())
      .addColumn('created_at', 'text', (c) => c.notNull())
      .addUniqueConstraint('member_name', ['organisation_id', 'name'])
      .execute();
    await db.schema
      .createTable('api_keys')
      .addColumn('id', 'text', (c) => c.primaryKey())
      .addColumn('organisation_id', 'text', (c) => c.notNull().references('organisations.id'))
      .addColumn('member_id', 'text', (c) => c.notNull().references('members.id'))
      .addColumn('name', 'text', (c) => c.notNull())
      .addColumn('prefix', 'text', (c) => c.notNull())
      .addColumn('hash', 'text', (c) => c.notNull().unique())
      .addColumn('created_at', 'text', (c) => c.notNull())
      .addColumn('expires_at', 'text')
      .addColumn('revoked_at', 'text')
      .execute();
    await db.schema
      .createTable('models')
      .addColumn('id', 'text', (c) => c.primaryKey())
      .addColumn('organisation_id', 'text', (c) => c.notNull().references('organisations.id'))
      .addColumn('name', 'text', (c) => c.notNull())
      .addColumn('created_at', 'text', (c) => c.notNull())
      .addUniqueConstraint('model_name', ['organisation_id', 'name'])
      .execute();
    await db.schema
      .createTable('artifacts')
      .addColumn('id', 'text', (c) => c.primaryKey())
      .addColumn('organisation_id', 'text', (c) => c.notNull().references('organisations.id'))
      .addColumn('sha256', 'text', (c) => c.notNull())
      .addColumn('size_bytes', 'integer', (c) => c.notNull())
      .addColumn('wrapped_key', 'text', (c) => c.notNull())
      .addColumn('key_id', 'text', (c) => c.notNull())
      .addColumn('created_at', 'text', (c) => c.notNull())
      .addUniqueConstraint('artifact_content', ['organisation_id', 'sha256'])
      .execute();
    await db.schema
      .createTable('datasets')
      .addColumn('id', 'text', (c) => c.primaryKey())
      .addColumn('organisation_id', 'text', (c) => c.notNull().references('organisations.id'))
      .addColumn('name', 'text', (c) => c.notNull())
      .addColumn('artifact_sha256', 'text', (c) => c.notNull())
      .addColumn('rows', 'integer', (c) => c.notNull())
      .addColumn('label', 'text', (c) => c.notNull())
      .addColumn('features', 'text', (c) => c.notNull())
      .addColumn('split', 'text', (c) => c.notNull())
      .addColumn('report', 'text', (c) => c.notNull())
      .addColumn('created_at', 'text', (c) => c.notNull())
      .addColumn('created_by', 'text', (c) => c.notNull())
      .addUniqueConstraint('dataset_name', ['organisation_id', 'name'])
      .execute();
    await db.schema
      .createTable('jobs')
      .addColumn('id', 'text', (c) => c.primaryKey())
      .addColumn('organisation_id', 'text', (c) => c.notNull().references('organisations.id'))
      .addColumn('key_id', 'text')
      .addColumn('created_by', 'text', (c) => c.notNull())
      .addColumn('kind', 'text', (c) => c.notNull())
      .addColumn('spec', 'text', (c) => c.notNull())
      .addColumn('state', 'text', (c) => c.notNull())
      .addColumn('cancel_requested', 'integer', (c) => c.notNull().defaultTo(0))
      .addColumn('attempts', 'integer', (c) => c.notNull().defaultTo(0))
      .addColumn('progress', 'text')
      .addColumn('result', 'text')
      .addColumn('error', 'text')
      .addColumn('created_at', 'text', (c) => c.notNull())
      .addColumn('started_at', 'text')
      .addColumn('finished_at', 'text')
      .execute();
    await db.schema
      .createTable('versions')
      .addColumn('id', 'text', (c) => c.primaryKey())
      .addColumn('model_id', 'text', (c) => c.notNull().references('models.id'))
      .addColumn('number', 'integer', (c) => c.notNull())
      .addColumn('format', 'text', (c) => c.notNull())
      .addColumn('artifact_sha256', 'text', (c) => c.notNull())
      .addColumn('onnx_sha256', 'text', (c) => c.notNull())
      .addColumn('size_bytes', 'integer', (c) => c.notNull())
      .addColumn('signature', 'text', (c) => c.notNull())
      .addColumn('created_at', 'text', (c) => c.notNull())
      .addColumn('created_by', 'text', (c) => c.notNull())
      .addColumn('job_id', 'text')
      .addColumn('dataset_id', 'text')
      .addUniqueConstraint('version_number', ['model_id', 'number'])
      .execute();
    await db.schema
      .createTable('aliases')
      .addColumn('model_id', 'text', (c) => c.notNull().references('models.id'))
      .addColumn('name', 'text', (c) => c.notNull())
      .addColumn('version_id', 'text', (c) => c.notNull().references('versions.id'))
      .addColumn('updated_at', 'text', (c) => c.notNull())
      .addColumn('updated_by', 'text', (c) => c.notNull())
      .addPrimaryKeyConstraint('alias_name', ['model_id', 'name'])
      .execute();
    await db.schema
      .createTable('deployments')
      .addColumn('id', 'text', (c) => c.primaryKey())
      .addColumn('model_id', 'text', (c) => c.notNull().references('models.id'))
      .addColumn('version_id', 'text', (c) => c.notNull().unique().references('versions.id'))
      .addColumn('settings', 'text', (c) => c.notNull())
      .addColumn('created_at', 'text', (c) => c.notNull())
      .addColumn('created_by', 'text', (c) => c.notNull())
      .execute();
    await db.schema
      .createTable('grants')
      .addColumn('id', 'text', (c) => c.primaryKey())
      .addColumn('model_id', 'text', (c) => c.notNull().references('models.id'))
      .addColumn('grantee_organisation_id', 'text', (c) => c.notNull().references('organisations.id'))
      .addColumn('permissions', 'text', (c) => c.notNull())
      .addColumn('limit_requests', 'integer')
      .addColumn('limit_period', 'text')
      .addColumn('created_at', 'text', (c) => c.notNull())
      .addColumn('expires_at', 'text')
      .addColumn('revoked_at', 'text')
      .execute();
    await db.schema
      .createIndex('grants_of_grantee')
      .on('grants')
      .columns(['grantee_organisation_id', 'model_id'])
      .execute();
    await db.schema
      .createTable('evaluations')
      .addColumn('id', 'text', (c) => c.primaryKey())
      .addColumn('version_id', 'text', (c) => c.notNull().references('versions.id'))
      .addColumn('dataset_id', 'text', (c) => c.notNull())
      .addColumn('split', 'text', (c) => c.notNull())
      .addColumn('report', 'text', (c) => c.notNull())
      .addColumn('passed', 'integer', (c) => c.notNull())
      .addColumn('created_at', 'text', (c) => c.notNull())
      .addColumn('created_by', 'text', (c) => c.notNull())
      .execute();
    // The ledger has ids without foreign keys, and the names of that time: history survives deletion.
    await db.schema
      .createTable('ledger_intervals')
      .addColumn('id', 'text', (c) => c.primaryKey())
      .addColumn('start_ms', 'integer', (c) => c.notNull())
      .addColumn('end_ms', 'integer', (c) => c.notNull())
      .addColumn('energy_j', 'double precision', (c) => c.notNull())
      .addColumn('carbon_g', 'double precision', (c) => c.notNull())
      .addColumn('embodied_g', 'double precision', (c) => c.notNull())
      .addColumn('water_l', 'double precision')
      .addColumn('quality', 'text', (c) => c.notNull())
      .addColumn('method', 'text', (c) => c.notNull())
      .addColumn('method_version', 'text', (c) => c.notNull())
      .addColumn('basis', 'text', (c) => c.notNull())
      .addColumn('cpu_s_supplied', 'double precision', (c) => c.notNull())
      .addColumn('cpu_s_used', 'double precision', (c) => c.notNull())
      .addColumn('cpu_s_other', 'double precision', (c) => c.notNull())
      .addColumn('memory_gbs_supplied', 'double precision', (c) => c.notNull())
      .addColumn('memory_gbs_reserved', 'double precision', (c) => c.notNull())
      .addColumn('memory_gbs_used', 'double precision', (c) => c.notNull())
      .execute();
    await db.schema
      .createIndex('ledger_intervals_by_time')
      .on('ledger_intervals')
      .column('start_ms')
      .execute();
    await db.schema
      .createTable('ledger_entries')
      .addColumn('id', 'text', (c) => c.primaryKey())
      .addColumn('interval_id', 'text', (c) => c.notNull())
      .addColumn('at_ms', 'integer', (c) => c.notNull())
      .addColumn('kind', 'text', (c) => c.notNull())
      .addColumn('consumer_id', 'text')
      .addColumn('consumer', 'text')
      .addColumn('owner_id', 'text')
      .addColumn('owner', 'text')
      .addColumn('model_id', 'text')
      .addColumn('model', 'text')
      .addColumn('version', 'integer')
      .addColumn('key_id', 'text')
      .addColumn('grant_id', 'text')
      .addColumn('job_id', 'text')
      .addColumn('note', 'text')
      .addColumn('rows', 'integer', (c) => c.notNull())
      .addColumn('cpu_s', 'double precision', (c) => c.notNull())
      .addColumn('energy_j', 'double precision', (c) => c.notNull())
      .addColumn('idle_share_j', 'double precision', (c) => c.notNull())
      .addColumn('carbon_g', 'double precision', (c) => c.notNull())
      .addColumn('embodied_g', 'double precision', (c) => c.notNull())
      .addColumn('water_l', 'double precision')
      .execute();
    await db.schema
      .createIndex('ledger_entries_by_interval')
      .on('ledger_entries')
      .column('interval_id')
      .execute();
    await sql`create index ledger_entries_by_grant on ledger_entries (grant_id, at_ms) where grant_id is not null`.execute(
      db,
    );
    await db.schema
      .createTable('audit_events')
      .addColumn('seq', 'integer', (c) => c.primaryKey().autoIncrement())
      .addColumn('at', 'text', (c) => c.notNull())
      .addColumn('actor', 'text', (c) => c.notNull())
      .addColumn('organisation_id', 'text', (c) => c.notNull())
      .addColumn('action', 'text', (c) => c.notNull())
      .addColumn('subject', 'text', (c) => c.notNull())
      .addColumn('detail', 'text', (c) => c.notNull())
      .execute();
    await db.schema
      .createTable('settings')
      .addColumn('name', 'text', (c) => c.primaryKey())
      .addColumn('value', 'text', (c) => c.notNull())
      .execute();
  },
};

/** What reusing answers avoided: beside what was used, in no sum of it. */
const avoided: Migration = {
  async up(db: AnyDb) {
    for (const column of ['avoided_j', 'avoided_g'])
      await db.schema
        .alterTable('ledger_entries')
        .addColumn(column, 'double precision', (c) => c.notNull().defaultTo(0))
        .execute();
  },
};

/** How long accelerators were there, reserved and used, device·s. */
const acceleratorSeconds: Migration = {
  async up(db: AnyDb) {
    for (const column of ['accelerator_s_supplied', 'accelerator_s_reserved', 'accelerator_s_used']) {
      await db.schema.alterTable('ledger_intervals').addColumn(column, 'double precision').execute();
      await db.schema
        .alterTable('ledger_interval_hours')
        .addColumn(column, 'double precision', (c) => c.notNull().defaultTo(0))
        .execute();
    }
  },
};

export const migrations: Record<string, Migration> = {
  '0001_core': core,
  '0002_avoided': avoided,
  '0003_ledger_at_scale': ledgerAtScale,
  '0005_job_plans': jobPlans,
  '0006_budgets': budgets,
  '0007_accelerator_seconds': acceleratorSeconds,
};
