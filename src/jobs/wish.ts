/** Until when a job may wait, as it is asked for, and as it is kept with the job. */
import { z } from 'zod';
import { CommonwattError } from '../errors.ts';

/** `schedule` of a job. */
export const scheduleSchema = z.strictObject({
  deadline: z.iso
    .datetime({ offset: true })
    .optional()
    .describe('when it must have ended, e.g. 2027-03-01T06:00:00Z'),
  maxDelayS: z
    .number()
    .positive()
    .max(366 * 86_400)
    .optional()
    .describe('instead of a deadline: how much later than at once it may end, s'),
  interruptible: z
    .boolean()
    .optional()
    .describe('may be paused at a checkpoint; without a word, where its kind can'),
  expectedS: z
    .number()
    .positive()
    .max(366 * 86_400)
    .optional()
    .describe('how long it runs, s; without a word, as earlier jobs of its kind and size did'),
  minRunS: z.number().min(1).max(86_400).default(600).describe('once begun it runs at least so long, s'),
});

export type GivenSchedule = z.input<typeof scheduleSchema>;

export interface Wish {
  deadlineMs: number;
  interruptible: boolean;
  minRunMs: number;
  /** Null: nobody said, and no earlier job tells. */
  expectedMs: number | null;
  expectedFrom: 'asked' | 'earlier jobs' | null;
}

interface Facts {
  nowMs: number;
  /** By earlier jobs. */
  estimateMs: number | null;
  /** Its kind stores checkpoints. */
  canPause: boolean;
}

/** Throws INVALID_REQUEST that names the field. */
export function wishOf(given: GivenSchedule, { nowMs, estimateMs, canPause }: Facts): Wish {
  const { deadline, maxDelayS, interruptible, expectedS, minRunS } = scheduleSchema.parse(given);
  const expectedMs = expectedS === undefined ? estimateMs : expectedS * 1000;
  if ((deadline === undefined) === (maxDelayS === undefined))
    throw refused('deadline', 'a schedule needs a deadline or maxDelayS, and not both', 'give one of them');
  if (interruptible && !canPause)
    throw refused('interruptible', 'jobs of this kind cannot be interrupted', 'leave interruptible out');
  const deadlineMs =
    deadline === undefined ? nowMs + (maxDelayS ?? 0) * 1000 + (expectedMs ?? 0) : Date.parse(deadline);
  if (deadlineMs <= nowMs)
    throw refused(
      'deadline',
      `the deadline ${deadline} is past`,
      'name a time to come, with its zone (Z for UTC)',
    );
  const expectedFrom = expectedS !== undefined ? 'asked' : estimateMs === null ? null : 'earlier jobs';
  return {
    deadlineMs,
    interruptible: interruptible ?? canPause,
    minRunMs: minRunS * 1000,
    expectedMs,
    expectedFrom,
  };
}

function refused(field: string, message: string, hint: string): CommonwattError {
  return new CommonwattError('INVALID_REQUEST', message, { where: `schedule.${field}`, hint });
}
