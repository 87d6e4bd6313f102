/** A settled ledger entry as the facts of a receipt. */
import type { Db } from '../../storage/db.ts';
import { findLine } from '../store/lines.ts';
import { gramsCo2e, joules } from '../units.ts';
import type { ReceiptFacts } from './claims.ts';

/** Idle, overhead and what is unattributed were caused by nobody: there is no receipt for them. */
const caused: ReadonlySet<string> = new Set(['inference', 'explanation', 'evaluation', 'training']);

/** `consumerId` null: of anybody. */
export async function settledEntry(
  db: Db,
  id: string,
  consumerId: string | null,
): Promise<ReceiptFacts | undefined> {
  const found = await findLine(db, id);
  if (!found || !caused.has(found.head.kind)) return undefined;
  const { line, interval, head } = found;
  if (consumerId !== null && head.consumer_id !== consumerId) return undefined;
  return {
    requestId: id,
    consumerId: head.consumer_id,
    model: head.model,
    version: head.version,
    modelSha256: await digestOf(db, head.model_id, head.version),
    answeredAt: new Date(line.at_ms),
    footprint: {
      energyJ: joules(line.energy_j),
      dynamicJ: joules(line.energy_j - line.idle_share_j),
      idleShareJ: joules(line.idle_share_j),
      carbonGCo2e: gramsCo2e(line.carbon_g),
      embodiedGCo2e: gramsCo2e(line.embodied_g),
      waterL: null,
      quality: interval.quality,
      method: interval.method,
      methodVersion: interval.method_version,
      settled: true,
      unknown: {},
    },
  };
}

async function digestOf(db: Db, modelId: string | null, version: number | null): Promise<string | null> {
  if (modelId === null || version === null) return null;
  const row = await db
    .selectFrom('versions')
    .where('model_id', '=', modelId)
    .where('number', '=', version)
    .select('artifact_sha256')
    .executeTakeFirst();
  return row?.artifact_sha256 ?? null;
}
