/** What the ledger does when there is time: days are summed up, old lines are packed, the oldest dropped if so wished. */
import type { Db } from '../../storage/db.ts';
import { archiveStep, dropStep } from './archive.ts';
import { foldStep } from './fold.ts';
import { hourMs } from './tally.ts';

export interface Retention {
  /** Lines are packed after so many days. */
  detailDays: number;
  /** Lines are dropped after so many days, their sums never; null: never either. */
  keepDays: number | null;
}

/** One small piece of work; false when there is nothing to do. What a crash leaves is gone on with. */
export async function tidyStep(db: Db, nowMs: number, { detailDays, keepDays }: Retention): Promise<boolean> {
  const daysAgo = (days: number) => nowMs - days * 24 * hourMs;
  if (await foldStep(db, nowMs)) return true;
  if (await archiveStep(db, daysAgo(detailDays))) return true;
  return keepDays !== null && (await dropStep(db, daysAgo(Math.max(keepDays, detailDays))));
}
