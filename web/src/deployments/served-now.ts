/** What stands in the list of deployments: each with what it has answered since the server started. */
import type { Deployment, VersionCounts } from '../server/shapes.ts';

export interface ServedNow extends Deployment {
  /** Null: the counts are its owner's. */
  counts: VersionCounts | null;
}

/** Models by name, newest version first; those that need somebody's attention before all others. */
export function servedNow(deployments: readonly Deployment[], counts: readonly VersionCounts[]): ServedNow[] {
  const ofVersion = new Map(counts.map((count) => [`${count.name}:${count.version}`, count]));
  return deployments
    .map((one) => ({ ...one, counts: ofVersion.get(`${one.model}:${one.version}`) ?? null }))
    .sort(
      (a, b) =>
        Number(troubled(b)) - Number(troubled(a)) || a.model.localeCompare(b.model) || b.version - a.version,
    );
}

function troubled({ state }: Pick<Deployment, 'state'>): boolean {
  return state === 'failed' || state === 'quarantined';
}

/** The part of the answers for which nothing had to be computed; null: nothing was answered. */
export function reusedShare({ inference_stats: { success, cache_hit } }: VersionCounts): number | null {
  return success.count === 0 ? null : cache_hit.count / success.count;
}

/** "just now", "5 min ago": how long a model has not been wanted. Null: not since the server started. */
export function lastUse(lastMs: number, nowMs: number): string | null {
  if (lastMs === 0) return null;
  const seconds = Math.max(0, Math.round((nowMs - lastMs) / 1000));
  if (seconds < 60) return 'just now';
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86_400)} d ago`;
}
