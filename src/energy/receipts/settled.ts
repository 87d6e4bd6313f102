/** A settled ledger entry as the facts of a receipt. */
import type { Db } from '../../storage/db.ts';
import { gramsCo2e, joules } from '../units.ts';
import type { ReceiptFacts } from './claims.ts';

/** Idle, overhead and what is unattributed were caused by nobody: there is no receipt for them. */
const caused = ['inference', 'explanation', 'evaluation', 'training'] as const;

/** `consumerId` null: of anybody. */
export async function settledEntry(
  db: Db,
  id: string,
  consumerId: string | null,
): Promise<ReceiptFacts | undefined> {
  let query = db
    .selectFrom('ledger_entries as entry')
    .innerJoin('ledger_intervals as interval', 'interval.id', 'entry.interval_id')
    .leftJoin('versions', (join) =>
      join.onRef('versions.model_id', '=', 'entry.model_id').onRef('versions.number', '=', 'entry.version'),
    )
    .where('entry.id', '=', id)
    .where('entry.kind', 'in', caused);
  if (consumerId !== null) query = query.where('entry.consumer_id', '=', consumerId);
  const row = await query
    .select([
      'entry.at_ms',
      'entry.consumer_id',
      'entry.model',
      'entry.version',
      'entry.energy_j',
      'entry.idle_share_j',
      'entry.carbon_g',
      'entry.embodied_g',
      'interval.quality',
      'interval.method',
      'interval.method_version',
      'versions.artifact_sha256',
    ])
    .executeTakeFirst();
  if (!row) return undefined;
  return {
    requestId: id,
    consumerId: row.consumer_id,
    model: row.model,
    version: row.version,
    modelSha256: row.artifact_sha256,
    answeredAt: new Date(row.at_ms),
    footprint: {
      energyJ: joules(row.energy_j),
      dynamicJ: joules(row.energy_j - row.idle_share_j),
      idleShareJ: joules(row.idle_share_j),
      carbonGCo2e: gramsCo2e(row.carbon_g),
      embodiedGCo2e: gramsCo2e(row.embodied_g),
      waterL: null,
      quality: row.quality,
      method: row.method,
      methodVersion: row.method_version,
      settled: true,
      unknown: {},
    },
  };
}
