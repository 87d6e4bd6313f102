/**
 * What waiting saved, in truth: what the job emitted, against what it would have emitted begun when it was asked for, at
 * the intensities that there were. Forecasts are not in it.
 */
import type { Intensity } from '../energy/grid.ts';
import { parseRuns, type Run } from './runs.ts';
import type { JobGrid } from './scheduler.ts';
import type { JobRow } from './store.ts';

export interface Savings {
  emittedGCo2e: number | null;
  atOnceGCo2e: number | null;
  /** Negative where waiting was worse. */
  savedGCo2e: number | null;
  savedPercent: number | null;
  /** Why they are null. */
  unknown: string | null;
}

/** Of a job that waited and came to its end; undefined: it did not wait, or that cannot be told. */
export function savingsOf(
  { id, wish, runs, created_at: askedAt }: JobRow,
  { grid, log }: { grid?: () => JobGrid; log: { warn(fields: object, message: string): void } },
): Savings | undefined {
  if (!grid || wish === null) return undefined;
  try {
    const known = grid();
    return actualSavings(parseRuns(runs), Date.parse(askedAt), (startMs, endMs) =>
      known.over(startMs, endMs),
    );
  } catch (error) {
    log.warn({ jobId: id, err: error }, 'what waiting saved could not be told');
    return undefined;
  }
}

/**
 * At once = emitted · (E₀ · I₀) / Σ E_i · I_i, with E₀ the energy without what going on again cost, and I₀ the mean
 * intensity over that many hours from the time of asking; so PUE is in it as it is in what was emitted.
 * Example: 1 kWh at 100 g, asked for at 300 g, PUE 1 → emitted 100 g, at once 300 g, saved 200 g or 66.7 %.
 */
export function actualSavings(
  runs: readonly Run[],
  askedMs: number,
  over: (startMs: number, endMs: number) => Intensity,
): Savings {
  let emitted = 0;
  let weighted = 0;
  let neededJ = 0;
  let neededMs = 0;
  const seen: Intensity[] = [];
  for (const [index, { startMs, endMs, footprint, overheadMs }] of runs.entries()) {
    if (footprint === null) return unknown('a part of it was not metered');
    const ms = Math.max(1, endMs - startMs);
    const needed = index === 0 ? 1 : 1 - Math.min(1, overheadMs / ms);
    const intensity = over(startMs, endMs);
    seen.push(intensity);
    emitted += footprint.carbonGCo2e;
    weighted += footprint.energyJ * intensity.value;
    neededJ += footprint.energyJ * needed;
    neededMs += ms * needed;
  }
  if (seen.length === 0 || weighted <= 0) return unknown('nothing was metered');
  const atOnce = over(askedMs, askedMs + neededMs);
  const reason = incomparable([atOnce, ...seen]);
  if (reason) return unknown(reason);
  const atOnceGCo2e = (emitted * neededJ * atOnce.value) / weighted;
  const savedGCo2e = atOnceGCo2e - emitted;
  const savedPercent = atOnceGCo2e > 0 ? (savedGCo2e / atOnceGCo2e) * 100 : null;
  return { emittedGCo2e: emitted, atOnceGCo2e, savedGCo2e, savedPercent, unknown: null };
}

/** Figures of several kinds, or old ones that were carried on, say nothing about a difference of times. */
function incomparable(intensities: readonly Intensity[]): string | null {
  const [first] = intensities;
  for (const { kind, scope, zone, stale, instead } of intensities) {
    if (kind !== first?.kind || scope !== first.scope || zone !== first.zone)
      return 'the intensities of the two times are of different kinds';
    if (stale) return 'the intensity of one of the times is an old value that was carried on';
    if (instead !== null) return `the intensity of one of the times is not known: ${instead}`;
  }
  return null;
}

function unknown(reason: string): Savings {
  return { emittedGCo2e: null, atOnceGCo2e: null, savedGCo2e: null, savedPercent: null, unknown: reason };
}
