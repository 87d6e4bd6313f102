/** What lines share is written once: a head for each combination, found by all of its attributes. */
import { type Selectable, sql } from 'kysely';
import type { Db, Schema } from '../../storage/db.ts';
import type { Entry } from '../attribution.ts';
import type { JobEnd } from '../energy.ts';

export type Head = Omit<Selectable<Schema['ledger_heads']>, 'key'>;
type HeadFacts = Omit<Head, 'id'>;

/** In the order of the key, which step 0003 of the database's history writes, too. */
const attributes = [
  'kind',
  'note',
  'outcome',
  'attribution_method',
  'consumer_id',
  'consumer',
  'owner_id',
  'owner',
  'model_id',
  'model',
  'version',
  'key_id',
  'member_id',
  'grant_id',
  'job_id',
  'runner_pid',
  'node',
] as const satisfies readonly (keyof HeadFacts)[];

export function headKey(entry: Entry, node: string | null): string {
  const { head, owner } = entry;
  const facts: HeadFacts = {
    kind: entry.kind,
    note: entry.note,
    outcome: entry.outcome,
    attribution_method: entry.attributionMethod,
    consumer_id: head?.consumer.organisationId ?? null,
    consumer: head?.consumer.organisation ?? null,
    owner_id: owner?.owner.organisationId ?? null,
    owner: owner?.owner.organisation ?? null,
    model_id: owner?.modelId ?? null,
    model: owner?.model ?? null,
    version: owner?.version ?? null,
    key_id: head?.keyId ?? null,
    member_id: head?.memberId ?? null,
    grant_id: head?.grantId ?? null,
    job_id: head?.jobId ?? null,
    runner_pid: entry.runnerPid,
    node,
  };
  return JSON.stringify(attributes.map((name) => facts[name]));
}

/** Their ids; those that are new are written, in a transaction of their own. */
export async function headIds(db: Db, keys: readonly string[]): Promise<Map<string, number>> {
  const ids = new Map<string, number>();
  await lookUp(db, keys, ids);
  const missing = keys.filter((key) => !ids.has(key));
  if (missing.length === 0) return ids;
  const values = sql.join(attributes.map((_, index) => sql`value ->> ${sql.lit(index)}`));
  await sql`insert or ignore into ledger_heads (key, ${sql.join(attributes.map((name) => sql.ref(name)))})
    select value, ${values} from json_each(${JSON.stringify(missing)})`.execute(db);
  await lookUp(db, missing, ids);
  return ids;
}

async function lookUp(db: Db, keys: readonly string[], into: Map<string, number>): Promise<void> {
  const found = await db
    .selectFrom('ledger_heads')
    .where('key', 'in', sql<string>`(select value from json_each(${JSON.stringify(keys)}))`)
    .select(['id', 'key'])
    .execute();
  for (const { id, key } of found) into.set(key, id);
}

export async function readHeads(db: Db, ids: Iterable<number>): Promise<Map<number, Head>> {
  const rows = await db
    .selectFrom('ledger_heads')
    .where('id', 'in', sql<number>`(select value from json_each(${JSON.stringify([...ids])}))`)
    .select(['id', ...attributes])
    .execute();
  return new Map(rows.map((row) => [row.id, row]));
}

/**
 * What becomes of a job is known when it ends, and its lines are booked as it goes: a head is one job's only, so that
 * all of its lines and sums, archived ones too, say it. The key stays: what is still to come finds the same head.
 * What failed or was left on the way stays as it is.
 */
export async function bookOutcomes(db: Db, ends: readonly JobEnd[]): Promise<void> {
  const told = JSON.stringify(ends.map(({ jobId, outcome }) => [jobId, outcome]));
  await sql`with told as materialized (select value ->> 0 as job, value ->> 1 as outcome from json_each(${told}))
    update ledger_heads set outcome = told.outcome from told
    where ledger_heads.job_id = told.job and ledger_heads.outcome = 'finished'`.execute(db);
}
