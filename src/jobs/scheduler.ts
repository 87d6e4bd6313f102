/**
 * Plans what may wait, again whenever there may be something new: a forecast, another job, a restart. Plans are kept
 * with their jobs, so that whoever comes after a crash goes on by them.
 */
import type { Intensity } from '../energy/grid.ts';
import type { Db } from '../storage/db.ts';
import { type Plan, planRuns, type Slot, type Span } from './planning.ts';
import { margin, parseRuns, type Run, remainingMs, workedMs } from './runs.ts';
import type { Wish } from './wish.ts';

/** What the jobs need to know of the electricity. */
export interface JobGrid {
  forecast(fromMs: number, toMs: number): Slot[];
  over(startMs: number, endMs: number): Intensity;
}

/** `unknown length`: nobody knows how long it runs, so it begins at once. */
export type KeptPlan = Omit<Plan, 'why'> & { why: Plan['why'] | 'unknown length'; plannedAtMs: number };

/** The job that has the machine now. */
export interface AtWork {
  id: string;
  /** Null: it does not wait for anything. */
  wish: Wish | null;
  runs: readonly Run[];
  interruptionMs: number;
}

interface SchedulerParts {
  db: Db;
  /** Throws where there is none. */
  grid(): JobGrid;
  now(): number;
  /** Of a kind of job. */
  interruptionMs(kind: string): number;
}

/** Of so many earlier jobs of a kind the length is taken. */
const earlierJobs = 20;
/** More are planned when these have ended. */
const mostPlanned = 100;

export class Scheduler {
  readonly #parts: SchedulerParts;

  constructor(parts: SchedulerParts) {
    this.#parts = parts;
  }

  /** Median of earlier jobs of the kind, by size where it is known, and a fifth more; null: there are none. */
  async estimateMs(kind: string, work: number | null): Promise<number | null> {
    const rows = await this.#parts.db
      .selectFrom('jobs')
      .select(['runs', 'work'])
      .where('kind', '=', kind)
      .where('state', '=', 'succeeded')
      .where('runs', '!=', '[]')
      .orderBy('finished_at', 'desc')
      .limit(earlierJobs)
      .execute();
    const lengths = rows.flatMap((row) => {
      const ms = workedMs(parseRuns(row.runs));
      if (work === null) return [ms];
      return row.work === null || row.work <= 0 ? [] : [(ms / row.work) * work];
    });
    const middle = lengths.sort((a, b) => a - b)[Math.floor(lengths.length / 2)];
    return middle === undefined ? null : middle * margin;
  }

  /** Plans everything that waits. Returns when the next of it is due (null: nothing waits), and whose plan is another now. */
  async plan(atWork: AtWork | null): Promise<{ nextMs: number | null; changed: string[] }> {
    const { db, now } = this.#parts;
    const nowMs = now();
    const rows = await db
      .selectFrom('jobs')
      .select(['id', 'kind', 'wish', 'plan', 'runs', 'due_ms'])
      .where('state', '=', 'queued')
      .where('wish', 'is not', null)
      .execute();
    const waiting = rows
      .map((row) => ({ ...row, wish: JSON.parse(row.wish ?? '') as Wish }))
      .sort((a, b) => a.wish.deadlineMs - b.wish.deadlineMs)
      .slice(0, mostPlanned);
    const taken: Span[] = this.#busyUntil(atWork, nowMs);
    const changed: string[] = [];
    let nextMs: number | null = null;
    for (const { id, kind, wish, runs, plan: before, due_ms: dueBefore } of waiting) {
      const left = remainingMs(parseRuns(runs), wish.expectedMs);
      const plan = this.#planOne(nowMs, wish, left, this.#parts.interruptionMs(kind), taken);
      const dueMs = plan.runs[0]?.startMs ?? nowMs;
      // The plan of one that is only waiting for its turn is not written again and again.
      if (
        !before ||
        !sameRuns(JSON.parse(before), plan, nowMs) ||
        (dueBefore ?? 0) > nowMs !== dueMs > nowMs
      ) {
        await db
          .updateTable('jobs')
          .set({ plan: JSON.stringify(plan), due_ms: dueMs })
          .where('id', '=', id)
          .where('state', '=', 'queued')
          .execute();
        changed.push(id);
      }
      taken.push(...plan.runs);
      nextMs = Math.min(nextMs ?? dueMs, dueMs);
    }
    return { nextMs, changed };
  }

  /** Whether the job that runs should stop at its next checkpoint, because cleaner hours come in time. */
  shouldPause({ wish, runs, interruptionMs }: AtWork): boolean {
    if (!wish?.interruptible) return false;
    const nowMs = this.#parts.now();
    const current = runs.at(-1);
    if (!current || nowMs - current.startMs < wish.minRunMs) return false;
    const leftMs = remainingMs(runs, wish.expectedMs);
    if (leftMs === null) return false;
    // Going on again is part of what is left when it pauses; it is not when it goes on.
    const paused = this.#planOne(nowMs, wish, leftMs + interruptionMs, interruptionMs, []);
    if (paused.why !== 'cleanest' || (paused.runs[0]?.startMs ?? nowMs) <= nowMs) return false;
    const goOn = this.#planOne(nowMs, { ...wish, interruptible: false, deadlineMs: nowMs }, leftMs, 0, []);
    if (paused.meanGPerKwh === null || goOn.atOnceGPerKwh === null) return false;
    return paused.meanGPerKwh * (leftMs + interruptionMs) < goOn.atOnceGPerKwh * leftMs;
  }

  #planOne(
    nowMs: number,
    wish: Wish,
    leftMs: number | null,
    interruptionMs: number,
    taken: readonly Span[],
  ): KeptPlan {
    if (leftMs === null) {
      const runs = [{ startMs: nowMs, endMs: nowMs }];
      const unknown = { meanGPerKwh: null, atOnceGPerKwh: null, plannedAtMs: nowMs };
      return { why: 'unknown length', runs, ...unknown };
    }
    const { deadlineMs, interruptible, minRunMs } = wish;
    const asked = {
      nowMs,
      deadlineMs,
      durationMs: Math.max(1, leftMs),
      interruptible,
      minRunMs,
      interruptionMs,
    };
    const untilMs = Math.max(deadlineMs, nowMs + leftMs);
    return { ...planRuns(asked, this.#forecast(nowMs, untilMs), taken), plannedAtMs: nowMs };
  }

  #forecast(fromMs: number, toMs: number): Slot[] {
    try {
      return this.#parts.grid().forecast(fromMs, toMs);
    } catch {
      // Nothing is metered: then nothing is known of the grid either.
      return [];
    }
  }

  #busyUntil(atWork: AtWork | null, nowMs: number): Span[] {
    const leftMs = atWork && remainingMs(atWork.runs, atWork.wish?.expectedMs ?? null);
    return leftMs ? [{ startMs: nowMs, endMs: nowMs + leftMs }] : [];
  }
}

/** A start that is due and waits for its turn moves with the clock; that is no other plan. */
function sameRuns(before: KeptPlan, plan: KeptPlan, nowMs: number): boolean {
  if (before.why !== plan.why || before.runs.length !== plan.runs.length) return false;
  return plan.runs.every(({ startMs, endMs }, index) => {
    const was = before.runs[index];
    return (
      was && ((startMs === nowMs && was.startMs <= nowMs) || (startMs === was.startMs && endMs === was.endMs))
    );
  });
}
