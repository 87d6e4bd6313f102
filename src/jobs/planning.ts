/**
 * When a job runs: in the cleanest hours before its deadline. Pure; formulas and sources in
 * `energy/calc/carbon-aware.ts` (Let's Wait Awhile, Wiesner 2021; REFERENCE: rolling mean, cheapest slots).
 *
 * In: what is left to do, until when, and a forecast. Out: the runs to make. Promise: whatever the forecast, a job that
 * can meet its deadline meets it, and a plan is never dirtier, by its forecast, than beginning at once.
 */
import { bestRuns } from '../energy/calc/carbon-aware.ts';

export interface Span {
  startMs: number;
  endMs: number;
}

export interface Slot extends Span {
  gPerKwh: number;
}

export interface Wish {
  nowMs: number;
  deadlineMs: number;
  /** How long it computes, without interruptions. */
  durationMs: number;
  interruptible: boolean;
  /** Once begun it runs at least so long, or to its end. */
  minRunMs: number;
  /** What one interruption costs, checkpoint and restart, as time of running. */
  interruptionMs: number;
}

/**
 * cleanest: of the hours that are known; flat: no hour is better than now; no forecast: none reaches as far as the job
 * would run; deadline: there is no time to wait.
 */
type Why = 'cleanest' | 'flat' | 'no forecast' | 'deadline';

export interface Plan {
  why: Why;
  /** In order; together as long as the job and what its interruptions cost. */
  runs: Span[];
  /** Of an hour of work, interruptions included; null where the forecast does not tell. */
  meanGPerKwh: number | null;
  atOnceGPerKwh: number | null;
}

/** Steps that interruptible jobs are planned in; more would not be told apart by any forecast. */
const mostSteps = 500;
/** Less is rounding. */
const leastGain = 1e-9;

/**
 * `taken`: times in which other jobs have the machine. Example: two hours of work, four hours of 300, 200, 100, 400 g →
 * one run in the second and third, mean 150 against 250 at once.
 */
export function planRuns(wish: Wish, forecast: readonly Slot[], taken: readonly Span[] = []): Plan {
  const { nowMs, durationMs, deadlineMs } = wish;
  const atOnce = { startMs: nowMs, endMs: nowMs + durationMs };
  const known = fromNow(forecast, nowMs);
  const atOnceGPerKwh = meanOver(known, atOnce);
  const begin = (why: Why): Plan => ({ why, runs: [atOnce], meanGPerKwh: atOnceGPerKwh, atOnceGPerKwh });
  if (atOnce.endMs >= deadlineMs) return begin('deadline');
  if (atOnceGPerKwh === null) return begin('no forecast');
  const endMs = Math.min(deadlineMs, known.at(-1)?.endMs ?? nowMs);
  const whole = bestWhole(known, atOnce, endMs, taken);
  const parts = wish.interruptible ? bestParts(wish, known, endMs, taken) : undefined;
  const best = parts && (!whole || parts.mean < whole.mean - leastGain) ? parts : whole;
  // Everybody else has the machine until then: it waits for its turn.
  if (!best) return taken.length > 0 ? planRuns(wish, forecast) : begin('flat');
  if (best.runs[0]?.startMs === nowMs && best.runs.length === 1) return begin('flat');
  return { why: 'cleanest', runs: best.runs, meanGPerKwh: best.mean, atOnceGPerKwh };
}

/** What is known without a gap from now on. */
function fromNow(forecast: readonly Slot[], nowMs: number): Slot[] {
  const known: Slot[] = [];
  let at = nowMs;
  for (const slot of [...forecast].sort((a, b) => a.startMs - b.startMs)) {
    if (slot.endMs <= at) continue;
    if (slot.startMs > at) break;
    known.push({ ...slot, startMs: at });
    at = slot.endMs;
  }
  return known;
}

/** Null where a part of the time is not known. */
function meanOver(slots: readonly Slot[], { startMs, endMs }: Span): number | null {
  if (endMs <= startMs) return null;
  let weighted = 0;
  let knownMs = 0;
  for (const slot of slots) {
    const ms = Math.min(slot.endMs, endMs) - Math.max(slot.startMs, startMs);
    if (ms <= 0) continue;
    weighted += ms * slot.gPerKwh;
    knownMs += ms;
  }
  return knownMs >= (endMs - startMs) * (1 - leastGain) ? weighted / knownMs : null;
}

/**
 * The mean changes its slope only where the start or the end meets a change of the forecast, so that looking there
 * finds the least one exactly. Of equals the earliest.
 */
function bestWhole(slots: readonly Slot[], atOnce: Span, endMs: number, taken: readonly Span[]) {
  const lengthMs = atOnce.endMs - atOnce.startMs;
  const edges = [...slots, ...taken].flatMap((span) => [span.startMs, span.endMs]);
  const starts = [atOnce.startMs, endMs - lengthMs, ...edges, ...edges.map((edge) => edge - lengthMs)]
    .filter((startMs) => startMs >= atOnce.startMs && startMs + lengthMs <= endMs)
    .sort((a, b) => a - b);
  let best: { runs: Span[]; mean: number } | undefined;
  for (const startMs of starts) {
    const run = { startMs, endMs: startMs + lengthMs };
    if (overlaps(run, taken)) continue;
    const mean = meanOver(slots, run);
    if (mean !== null && (!best || mean < best.mean - leastGain)) best = { runs: [run], mean };
  }
  return best;
}

function overlaps(span: Span, others: readonly Span[]): boolean {
  return others.some(({ startMs, endMs }) => startMs < span.endMs && endMs > span.startMs);
}

/** In steps of at least the shortest run; what an interruption costs is run, too. */
function bestParts(wish: Wish, slots: readonly Slot[], endMs: number, taken: readonly Span[]) {
  const { nowMs, durationMs, minRunMs, interruptionMs } = wish;
  const stepMs = Math.max(1, minRunMs, (endMs - nowMs) / mostSteps);
  const count = Math.floor((endMs - nowMs) / stepMs);
  const gPerKwh = Array.from({ length: count }, (_, step) => {
    const span = { startMs: nowMs + step * stepMs, endMs: nowMs + (step + 1) * stepMs };
    return overlaps(span, taken)
      ? Number.POSITIVE_INFINITY
      : (meanOver(slots, span) ?? Number.POSITIVE_INFINITY);
  });
  for (let steps = Math.ceil(durationMs / stepMs); steps <= count; steps++) {
    const found = bestRuns({ gPerKwh, steps, minRunSteps: 1, interruptionSteps: interruptionMs / stepMs });
    if (!Number.isFinite(found.mean)) return undefined;
    const neededMs = durationMs + found.interruptions * interruptionMs;
    if (steps * stepMs < neededMs) continue;
    const runs = trimmed(joined(found.chosen, nowMs, stepMs), neededMs);
    let weighted = 0;
    for (const run of runs) weighted += (meanOver(slots, run) ?? Number.NaN) * (run.endMs - run.startMs);
    return { runs, mean: weighted / durationMs };
  }
  return undefined;
}

function joined(chosen: readonly number[], nowMs: number, stepMs: number): Span[] {
  const runs: Span[] = [];
  for (const step of chosen) {
    const endMs = nowMs + (step + 1) * stepMs;
    const last = runs.at(-1);
    if (last && last.endMs === nowMs + step * stepMs) last.endMs = endMs;
    else runs.push({ startMs: nowMs + step * stepMs, endMs });
  }
  return runs;
}

function trimmed(runs: readonly Span[], totalMs: number): Span[] {
  let leftMs = totalMs;
  const kept: Span[] = [];
  for (const { startMs, endMs } of runs) {
    const ms = Math.min(leftMs, endMs - startMs);
    if (ms > 0) kept.push({ startMs, endMs: startMs + ms });
    leftMs -= ms;
  }
  return kept;
}
