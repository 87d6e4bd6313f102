/** A job as it is stored, as the house sees it, and as it is shown (`Job` of docs/api.md). */
import type { Selectable } from 'kysely';
import { CommonwattError, type ErrorCode } from '../errors.ts';
import type { Schema } from '../storage/db.ts';

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
}

export function recordOf(row: Selectable<Schema['jobs']> & { organisation: string }): JobRecord {
  return {
    id: row.id,
    organisationId: row.organisation_id,
    organisation: row.organisation,
    keyId: row.key_id,
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
  };
}

/** `Job` of docs/api.md, and what it was asked to do. */
export function jobJson(job: JobRecord): Omit<JobRecord, 'organisationId' | 'organisation' | 'keyId'> {
  const { organisationId: _id, organisation: _name, keyId: _key, ...json } = job;
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
