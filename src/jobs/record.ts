/** A job as it is stored, as the house sees it, and as it is shown (`Job` of docs/api.md). */
import type { Selectable } from 'kysely';
import { toWattHours } from '../energy/units.ts';
import { CommonwattError, type ErrorCode } from '../errors.ts';
import type { Schema } from '../storage/db.ts';
import { parseRuns } from './runs.ts';
import type { Savings } from './savings.ts';
import type { KeptPlan } from './scheduler.ts';
import type { Wish } from './wish.ts';

export type JobState = Schema['jobs']['state'];

export interface JobError {
  code: ErrorCode;
  message: string;
  hint: string | null;
}

export interface JobRecord {
  id: string;
  organisationId: string;
  organisation: string;
  /** The API key it was asked for with. */
  keyId: string | null;
  /** Whose key that is; null: it is not known any more. */
  memberId: string | null;
  kind: string;
  /** As its handler's `check` returned it. */
  config: unknown;
  state: JobState;
  createdBy: string;
  createdAt: string;
  startedAt: string | null;
  finishedAt: string | null;
  /** How often it was begun; a graceful stop of the server does not count. */
  attempts: number;
  progress: unknown;
  result: unknown;
  error: JobError | null;
  /** Null: it runs as soon as its turn comes. */
  schedule: JobSchedule | null;
}

/** What was asked, what is planned, what was. Times are ISO 8601. */
interface JobSchedule {
  deadline: string;
  interruptible: boolean;
  minRunS: number;
  expectedS: number | null;
  /** Who says so; null: nobody, so that it begins at once. */
  expectedFrom: Wish['expectedFrom'];
  plan: {
    /** Why it begins when it does. */
    why: KeptPlan['why'];
    madeAt: string;
    runs: { start: string; end: string }[];
    meanGPerKwh: number | null;
    atOnceGPerKwh: number | null;
    forecastSavedPercent: number | null;
  } | null;
  ran: { start: string; end: string; energyWh: number | null }[];
  /** Null before its end, and where it did not succeed. */
  actual: Savings | null;
}

export function recordOf(
  row: Selectable<Schema['jobs']> & { organisation: string; memberId: string | null },
): JobRecord {
  return {
    id: row.id,
    organisationId: row.organisation_id,
    organisation: row.organisation,
    keyId: row.key_id,
    memberId: row.memberId,
    kind: row.kind,
    config: JSON.parse(row.spec).config,
    state: row.state,
    createdBy: row.created_by,
    createdAt: row.created_at,
    startedAt: row.started_at,
    finishedAt: row.finished_at,
    attempts: row.attempts,
    progress: row.progress === null ? null : JSON.parse(row.progress),
    result: row.result === null ? null : JSON.parse(row.result),
    error: row.error === null ? null : JSON.parse(row.error),
    schedule: row.wish === null ? null : scheduleOf(row, JSON.parse(row.wish)),
  };
}

function scheduleOf({ plan, runs, savings }: Selectable<Schema['jobs']>, wish: Wish): JobSchedule {
  return {
    deadline: iso(wish.deadlineMs),
    interruptible: wish.interruptible,
    minRunS: wish.minRunMs / 1000,
    expectedS: wish.expectedMs === null ? null : wish.expectedMs / 1000,
    expectedFrom: wish.expectedFrom,
    plan: plan === null ? null : planOf(JSON.parse(plan)),
    ran: parseRuns(runs).map(({ startMs, endMs, footprint }) => ({
      start: iso(startMs),
      end: iso(endMs),
      energyWh: footprint && toWattHours(footprint.energyJ),
    })),
    actual: savings === null ? null : JSON.parse(savings),
  };
}

function planOf({ why, plannedAtMs, runs, meanGPerKwh, atOnceGPerKwh }: KeptPlan): JobSchedule['plan'] {
  const known = meanGPerKwh !== null && atOnceGPerKwh !== null && atOnceGPerKwh > 0;
  return {
    why,
    madeAt: iso(plannedAtMs),
    runs: runs.map(({ startMs, endMs }) => ({ start: iso(startMs), end: iso(endMs) })),
    meanGPerKwh,
    atOnceGPerKwh,
    forecastSavedPercent: known ? (1 - meanGPerKwh / atOnceGPerKwh) * 100 : null,
  };
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}

/** `Job` of docs/api.md, and what it was asked to do. */
export function jobJson(
  job: JobRecord,
): Omit<JobRecord, 'organisationId' | 'organisation' | 'keyId' | 'memberId'> {
  const { organisationId: _id, organisation: _name, keyId: _key, memberId: _member, ...json } = job;
  return json;
}

export function isFinished(state: JobState): boolean {
  return state === 'succeeded' || state === 'failed' || state === 'cancelled';
}

export function errorOf(error: unknown): JobError {
  if (error instanceof CommonwattError)
    return { code: error.code, message: error.message, hint: error.hint ?? null };
  const reason = error instanceof Error ? error.message : String(error);
  return {
    code: 'INTERNAL',
    message: `the job failed unexpectedly: ${reason}`,
    hint: 'start it again; if it fails again, report it with the log of the server',
  };
}

export const cancelledError: JobError = { code: 'CANCELLED', message: 'the job was cancelled', hint: null };

export const interruptedError = (attempts: number): JobError => ({
  code: 'RUNNER_FAILED',
  message: `the server ended ${attempts} times while this job was running`,
  hint: 'look into the log of the server for the reason (often a lack of memory) before starting it again',
});
