/** Which of several clusters is to answer: the cleanest that is near enough. Pure. */

export interface RegionNow {
  name: string;
  /** gCO2e per kWh there now; null: not known. */
  gPerKwh: number | null;
  /** From the caller to it, ms. */
  latencyMs: number;
}

export interface RegionPolicy {
  /** Farther ones are no choice; null: none is too far. */
  maxLatencyMs: number | null;
  /** How many gCO2e/kWh cleaner a region must be for each ms that it is farther. */
  gPerKwhPerMs: number;
}

export interface RegionChoice {
  best: string;
  /** cleanest: by score; nearest: none is near enough, or nothing is known of any grid. */
  why: 'cleanest' | 'nearest';
  /** In the order given; null: no choice. */
  scores: { name: string; score: number | null }[];
}

/**
 * Least score = I + weight · latency, among those that are near enough; of equals the nearer, then the first.
 * Example: 300 g at 20 ms and 120 g at 90 ms, weight 1 → scores 320 and 210: the second; with at most 50 ms the first.
 */
export function chooseRegion(regions: readonly RegionNow[], policy: RegionPolicy): RegionChoice {
  const scores = regions.map(({ name, gPerKwh, latencyMs }) => ({
    name,
    score:
      gPerKwh === null || (policy.maxLatencyMs !== null && latencyMs > policy.maxLatencyMs)
        ? null
        : gPerKwh + policy.gPerKwhPerMs * latencyMs,
  }));
  const latencyOf = (index: number) => regions[index]?.latencyMs ?? Number.POSITIVE_INFINITY;
  let best = -1;
  for (const [index, { score }] of scores.entries()) {
    if (score === null) continue;
    const least = scores[best]?.score ?? Number.POSITIVE_INFINITY;
    if (score < least || (score === least && latencyOf(index) < latencyOf(best))) best = index;
  }
  if (best >= 0) return { best: regions[best]?.name ?? '', why: 'cleanest', scores };
  const nearest = [...regions].sort((a, b) => a.latencyMs - b.latencyMs)[0];
  return { best: nearest?.name ?? '', why: 'nearest', scores };
}
