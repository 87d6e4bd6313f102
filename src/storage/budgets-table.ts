/** Budgets: how much of something a key, a person, an organisation, a grant or a model may use in a period. */
import type { Kysely, Migration } from 'kysely';

type Json = string;

export interface BudgetsTable {
  id: string;
  /** Who set it. */
  organisation_id: string;
  /** No foreign key: what is limited may go, and history stays readable by its name. */
  subject_kind: 'key' | 'member' | 'organisation' | 'grant' | 'model';
  subject_id: string;
  subject_name: string;
  subject_organisation_id: string;
  subject_member_id: string | null;
  unit: 'requests' | 'rows' | 'energyWh' | 'carbonGCo2e' | 'money';
  amount: number;
  currency: string | null;
  prices: Json | null;
  period: 'hour' | 'day' | 'month';
  mode: 'soft' | 'hard' | 'shadow';
  warn_at: number | null;
  stops_jobs: number;
  created_at: string;
  created_by: string;
  changed_at: string;
}

export const budgets: Migration = {
  async up(db: Kysely<unknown>) {
    await db.schema
      .createTable('budgets')
      .addColumn('id', 'text', (c) => c.primaryKey())
      .addColumn('organisation_id', 'text', (c) => c.notNull().references('organisations.id'))
      .addColumn('subject_kind', 'text', (c) => c.notNull())
      .addColumn('subject_id', 'text', (c) => c.notNull())
      .addColumn('subject_name', 'text', (c) => c.notNull())
      .addColumn('subject_organisation_id', 'text', (c) => c.notNull())
      .addColumn('subject_member_id', 'text')
      .addColumn('unit', 'text', (c) => c.notNull())
      .addColumn('amount', 'double precision', (c) => c.notNull())
      .addColumn('currency', 'text')
      .addColumn('prices', 'text')
      .addColumn('period', 'text', (c) => c.notNull())
      .addColumn('mode', 'text', (c) => c.notNull())
      .addColumn('warn_at', 'double precision')
      .addColumn('stops_jobs', 'integer', (c) => c.notNull())
      .addColumn('created_at', 'text', (c) => c.notNull())
      .addColumn('created_by', 'text', (c) => c.notNull())
      .addColumn('changed_at', 'text', (c) => c.notNull())
      .execute();
  },
};
