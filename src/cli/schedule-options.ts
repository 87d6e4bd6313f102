/** Flags by which a job may wait for cleaner hours, and what is said of it. */
import type { Job, JobSchedule, ScheduleRequest } from '@commonwatt/client';
import { type Command, InvalidArgumentError } from 'commander';
import { table } from './terminal.ts';

export interface ScheduleOptions {
  deadline?: string;
  maxDelay?: number;
  expected?: number;
  interruptible?: boolean;
}

export function scheduleOptions(command: Command): Command {
  return command
    .option('--deadline <time>', 'run in the cleanest hours before it, e.g. 2027-03-01T06:00:00Z', time)
    .option(
      '--max-delay <duration>',
      'instead of a deadline: how much later than at once it may end, e.g. 8h',
      duration,
    )
    .option('--expected <duration>', 'how long it runs, where no earlier job tells, e.g. 90m', duration)
    .option('--no-interruptible', 'run it in one go');
}

/** Undefined: as soon as its turn comes. */
export function scheduleOf({
  deadline,
  maxDelay,
  expected,
  interruptible,
}: ScheduleOptions): ScheduleRequest | undefined {
  if (deadline === undefined && maxDelay === undefined && expected === undefined) return undefined;
  return {
    ...(deadline === undefined ? {} : { deadline }),
    ...(maxDelay === undefined ? {} : { maxDelayS: maxDelay }),
    ...(expected === undefined ? {} : { expectedS: expected }),
    ...(interruptible === false ? { interruptible: false } : {}),
  };
}

function time(text: string): string {
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) throw new InvalidArgumentError('write a time, e.g. 2027-03-01T06:00:00Z');
  return new Date(ms).toISOString();
}

const seconds = { s: 1, m: 60, h: 3600, d: 86_400 } as const;

function duration(text: string): number {
  const [, digits, unit] = /^(\d+(?:\.\d+)?)([smhd])$/.exec(text) ?? [];
  const value = Number(digits) * seconds[(unit ?? 's') as keyof typeof seconds];
  if (!(value > 0)) throw new InvalidArgumentError('write a number and s, m, h or d, e.g. 90m');
  return value;
}

const reasons: Record<NonNullable<JobSchedule['plan']>['why'], string> = {
  cleanest: 'waits for cleaner hours',
  flat: 'begins at once: no hour until then is cleaner',
  'no forecast': 'begins at once: no forecast reaches that far',
  deadline: 'begins at once: the deadline leaves no time to wait',
  'unknown length': 'begins at once: nobody knows how long it runs (see --expected)',
};

export function scheduleLines({ schedule, state }: Job): string[] {
  if (!schedule) return [];
  const { plan, actual } = schedule;
  const planned = plan && (state === 'queued' || state === 'running') ? planLines(plan) : [];
  return [`  to be done by ${schedule.deadline}`, ...planned, ...(actual ? [`  ${savedText(actual)}`] : [])];
}

function planLines(plan: NonNullable<JobSchedule['plan']>): string[] {
  const saved = plan.forecastSavedPercent;
  const forecast =
    plan.why === 'cleanest' && saved !== null ? `, ${saved.toFixed(1)} % less carbon by the forecast` : '';
  const runs =
    plan.why === 'cleanest' ? table(plan.runs.map(({ start, end }) => ['   ', start, '…', end])) : [];
  return [`  ${reasons[plan.why]}${forecast}`, ...runs];
}

function savedText({ savedGCo2e, savedPercent, unknown }: NonNullable<JobSchedule['actual']>): string {
  if (savedGCo2e === null) return `what waiting saved is not known: ${unknown}`;
  const percent = savedPercent === null ? '' : ` (${savedPercent.toFixed(1)} %)`;
  return savedGCo2e < 0
    ? `waiting cost ${(-savedGCo2e).toPrecision(3)} gCO2e more than beginning at once${percent}`
    : `waiting saved ${savedGCo2e.toPrecision(3)} gCO2e against beginning at once${percent}`;
}
