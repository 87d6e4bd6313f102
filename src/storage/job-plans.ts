/** What a job that may wait is stored with: what was asked, its plan, when it ran, and where it goes on. */
import type { ColumnType, Kysely, Migration } from 'kysely';

type Json = string;
type Added<T> = ColumnType<T, T | undefined, T>;

export interface JobPlanColumns {
  /** Until when, and what may be done with it; null: it runs as soon as its turn comes. */
  wish: Added<Json | null>;
  plan: Added<Json | null>;
  /** When it begins or goes on; null: as soon as its turn comes. */
  due_ms: Added<number | null>;
  /** Its times of running, with what each used. */
  runs: Added<Json>;
  /** What waiting saved, at the intensities that there were. */
  savings: Added<Json | null>;
  /** How much work it is, in units of its kind; null: the kind does not say. */
  work: Added<number | null>;
  /** Where it goes on: an artifact of its organisation, and what belongs to it. */
  checkpoint: Added<Json | null>;
}

export const jobPlans: Migration = {
  async up(db: Kysely<unknown>) {
    for (const column of ['wish', 'plan', 'savings', 'checkpoint'])
      await db.schema.alterTable('jobs').addColumn(column, 'text').execute();
    await db.schema
      .alterTable('jobs')
      .addColumn('runs', 'text', (c) => c.notNull().defaultTo('[]'))
      .execute();
    await db.schema.alterTable('jobs').addColumn('due_ms', 'integer').execute();
    await db.schema.alterTable('jobs').addColumn('work', 'double precision').execute();
  },
};
