/** What a subject of a limit has used since a time: where its counting begins, and what it is checked by. */
import { sql } from 'kysely';
import type { Db } from '../storage/db.ts';
import { type Subject, settledCalls, type Usage, usageSince } from './store/usage.ts';
import type { UsageCounts, Use } from './usage-counts.ts';

/** Settled use of one model, or of no model (a training). */
export interface ModelUsage extends Usage {
  modelId: string | null;
  ownerId: string | null;
}

export interface UsageReading {
  /** What is not settled, as it stands in the moment of the call. */
  unsettled: readonly Use[];
  /**
   * The rest; calls that are among `unsettled`, too, are left out. Null: more was settled meanwhile, and who counts
   * begins anew.
   */
  settled: Promise<readonly ModelUsage[] | null>;
}

export interface Unsettled {
  id: string;
  counts: UsageCounts;
}

export interface ReadOptions {
  subject: Subject;
  sinceMs: number;
  /** Each model apart, or everything in one sum. */
  byModel: boolean;
}

/** `isOvertaken`: an interval has closed that was not among `intervals`. */
export function readUsage(
  db: Db,
  intervals: readonly Unsettled[],
  options: ReadOptions,
  isOvertaken: () => boolean,
): UsageReading {
  const unsettled = intervals.flatMap(({ counts }) => counts.list(options.subject, options.sinceMs));
  const ids = intervals.map(({ id }) => id);
  const calls = [...new Set(unsettled.flatMap(({ call }) => call ?? []))];
  const settled = readSettled(db, options, calls, ids);
  return { unsettled, settled: settled.then((usages) => (isOvertaken() ? null : usages)) };
}

async function readSettled(
  db: Db,
  { subject, sinceMs, byModel }: ReadOptions,
  calls: readonly string[],
  except: readonly string[],
): Promise<ModelUsage[]> {
  const read = async (of: Subject): Promise<Usage> => {
    const usage = await usageSince(db, of, sinceMs, except);
    return { ...usage, requests: usage.requests - (await settledCalls(db, of, sinceMs, calls, except)) };
  };
  const rest: ModelUsage = { modelId: null, ownerId: null, ...(await read(subject)) };
  if (!byModel) return [rest];
  const usages: ModelUsage[] = [];
  for (const { modelId, ownerId } of await modelsOf(db, subject)) {
    const usage = await read({ ...subject, modelId });
    usages.push({ modelId, ownerId, ...usage });
    rest.requests -= usage.requests;
    rest.rows -= usage.rows;
    rest.energyJ -= usage.energyJ;
    rest.carbonG -= usage.carbonG;
  }
  return [...usages, rest];
}

async function modelsOf(db: Db, { keyId, memberId, organisationId, grantId, modelId }: Subject) {
  const wanted = {
    key_id: keyId,
    member_id: memberId,
    consumer_id: organisationId,
    grant_id: grantId,
    model_id: modelId,
  };
  let query = db
    .selectFrom('ledger_heads')
    .where('kind', 'in', ['inference', 'explanation', 'evaluation'])
    .where('model_id', 'is not', null);
  for (const [column, value] of Object.entries(wanted))
    if (value !== undefined) query = query.where(sql.ref(column), '=', value);
  const rows = await query.select(['model_id', 'owner_id']).groupBy(['model_id', 'owner_id']).execute();
  return rows.map((row) => ({ modelId: row.model_id ?? '', ownerId: row.owner_id }));
}
