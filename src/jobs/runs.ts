/** The times in which a job ran, and what is left of it. */
import type { Footprint } from '../energy/energy.ts';
import { unmetered } from '../energy/footprint.ts';

export interface Run {
  startMs: number;
  /** Until when it is known to have run: its end, or the last that was heard of it. */
  endMs: number;
  /** Of that, before it could go on with its work: starting a process, reading where it was. */
  overheadMs: number;
  /** Share of all work that was done at its end; null: the kind does not say. */
  done: number | null;
  /** What it used, as far as is known; null: nothing is. */
  footprint: Footprint | null;
}

/** Estimates are exceeded half of the time; this is put on top. */
export const margin = 1.2;

export function parseRuns(json: string): Run[] {
  return JSON.parse(json);
}

/** JSON has no NaN: of a run that is not metered, nothing is kept. */
export function runsJson(runs: readonly Run[]): string {
  return JSON.stringify(
    runs.map((run) => ({
      ...run,
      footprint: Number.isFinite(run.footprint?.energyJ) ? run.footprint : null,
    })),
  );
}

export function footprintsOf(runs: readonly Run[]): Footprint[] {
  return runs.map(({ footprint }) => footprint ?? unmetered);
}

/** Without what going on again cost. */
export function workedMs(runs: readonly Run[]): number {
  return runs.reduce(
    (sum, { startMs, endMs, overheadMs }) => sum + Math.max(0, endMs - startMs - overheadMs),
    0,
  );
}

/**
 * How long it still runs: by the share that is done, else by what was expected. Null: nobody knows.
 * Example: 30 min of work did .25 of it, 90 min are left, and a fifth more to be on the safe side → 108 min.
 */
export function remainingMs(runs: readonly Run[], expectedMs: number | null): number | null {
  const done = runs.findLast((run) => run.done !== null)?.done ?? 0;
  const worked = workedMs(runs);
  if (done > 0 && worked > 0) return (worked / done) * (1 - done) * margin;
  return expectedMs === null ? null : Math.max(0, expectedMs - worked);
}
