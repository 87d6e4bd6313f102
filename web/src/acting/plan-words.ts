/** Plans of jobs that may wait for cleaner hours, as a person reads them. */
import { moment, percentValue, quantity } from '../format.ts';
import type { Job } from '../server/shapes.ts';

type Schedule = NonNullable<Job['schedule']>;
type Plan = NonNullable<Schedule['plan']>;

const reasons: Record<Plan['why'], string> = {
  cleanest: 'waits for cleaner hours',
  flat: 'begins at once: no hour until then is cleaner',
  'no forecast': 'begins at once: no forecast reaches that far',
  deadline: 'begins at once: the deadline leaves no time to wait',
  'unknown length': 'begins at once: nobody knows how long it runs',
};

/** Those that one may still watch, the next to begin first; then the last ones that told what waiting saved. */
export function scheduledJobs(jobs: readonly Job[], endedAtMost = 5): (Job & { schedule: Schedule })[] {
  const scheduled = jobs.flatMap((job) => (job.schedule ? [{ ...job, schedule: job.schedule }] : []));
  const open = scheduled.filter(({ finishedAt }) => finishedAt === null);
  const ended = scheduled.filter(({ finishedAt }) => finishedAt !== null);
  return [
    ...open.sort((one, other) => beginOf(one).localeCompare(beginOf(other))),
    ...ended
      .sort((one, other) => (other.finishedAt ?? '').localeCompare(one.finishedAt ?? ''))
      .slice(0, endedAtMost),
  ];
}

function beginOf({ startedAt, schedule }: Job & { schedule: Schedule }): string {
  return startedAt ?? schedule.plan?.runs[0]?.start ?? schedule.deadline;
}

export function planText({ plan }: Schedule): string {
  if (!plan) return 'not planned yet';
  const runs = plan.runs.map(({ start, end }) => `${moment(start)} to ${moment(end)}`);
  return plan.why === 'cleanest' && runs.length > 0
    ? `${reasons.cleanest}: ${runs.join(', then ')}`
    : reasons[plan.why];
}

/** What is expected, and once it has ended what came of it: only that counts. */
export function savedText({ plan, actual }: Schedule): { text: string; worse: boolean } {
  if (actual) {
    const { savedGCo2e, savedPercent, unknown } = actual;
    if (savedGCo2e === null) return { text: `not known: ${unknown ?? 'nothing was metered'}`, worse: false };
    const share = savedPercent === null ? '' : ` (${percentValue(Math.abs(savedPercent))})`;
    return savedGCo2e < 0
      ? { text: `waiting cost ${quantity(-savedGCo2e, 'gCO₂e')} more${share}`, worse: true }
      : { text: `waiting saved ${quantity(savedGCo2e, 'gCO₂e')}${share}`, worse: false };
  }
  const expected = plan?.forecastSavedPercent ?? null;
  if (expected === null) return { text: 'no forecast of what is saved', worse: false };
  return { text: `forecast: ${percentValue(expected)} less carbon`, worse: expected < 0 };
}
