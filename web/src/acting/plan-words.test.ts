import { expect, it } from 'vitest';
import type { Job } from '../server/shapes.ts';
import { planText, savedText, scheduledJobs } from './plan-words.ts';

type Schedule = NonNullable<Job['schedule']>;
const plan: NonNullable<Schedule['plan']> = {
  why: 'cleanest',
  madeAt: '2026-11-01T10:00:00Z',
  runs: [
    { start: '2026-11-01T12:00:00Z', end: '2026-11-01T13:00:00Z' },
    { start: '2026-11-01T15:00:00Z', end: '2026-11-01T16:00:00Z' },
  ],
  meanGPerKwh: 100,
  atOnceGPerKwh: 300,
  forecastSavedPercent: 66.7,
};
const schedule: Schedule = {
  deadline: '2026-11-01T18:00:00Z',
  interruptible: true,
  minRunS: 600,
  expectedS: 7200,
  expectedFrom: 'asked',
  plan,
  ran: [],
  actual: null,
};
const job = (id: string, change: Partial<Job> = {}): Job => ({
  id,
  kind: 'train',
  state: 'queued',
  createdBy: 'ada',
  createdAt: '2026-11-01T10:00:00Z',
  startedAt: null,
  finishedAt: null,
  attempts: 0,
  progress: null,
  result: null,
  error: null,
  schedule,
  ...change,
});

it('says why a job waits and until when, or why it does not', () => {
  expect(planText(schedule)).toMatch(/^waits for cleaner hours: .* to .*, then .* to /);
  expect(planText({ ...schedule, plan: { ...plan, why: 'flat' } })).toMatch(/^begins at once: no hour/);
  expect(planText({ ...schedule, plan: null })).toBe('not planned yet');
});

it('tells a forecast from what was saved, and never hides that waiting cost', () => {
  const actual = { emittedGCo2e: 100, atOnceGCo2e: 300, savedGCo2e: 200, savedPercent: 66.7, unknown: null };
  expect(savedText(schedule).text).toBe('forecast: 66.7\u00a0% less carbon');
  expect(savedText({ ...schedule, actual }).text).toBe('waiting saved 200\u00a0gCO₂e (66.7\u00a0%)');
  expect(savedText({ ...schedule, actual: { ...actual, savedGCo2e: -20, savedPercent: -20 } })).toEqual({
    text: 'waiting cost 20\u00a0gCO₂e more (20\u00a0%)',
    worse: true,
  });
  expect(
    savedText({
      ...schedule,
      actual: { ...actual, savedGCo2e: null, unknown: 'an intensity was carried on' },
    }).text,
  ).toBe('not known: an intensity was carried on');
});

it('lists what begins next first, then the last that ended, and no job that did not wait', () => {
  const later = { ...schedule, plan: { ...plan, runs: plan.runs.slice(1) } };
  const ended = (id: string, finishedAt: string) => job(id, { state: 'succeeded', finishedAt });
  const listed = scheduledJobs(
    [
      job('later', { schedule: later }),
      ended('old', '2026-10-01T00:00:00Z'),
      ended('new', '2026-10-02T00:00:00Z'),
      job('at once', { schedule: null }),
      job('next'),
    ],
    1,
  );
  expect(listed.map(({ id }) => id)).toEqual(['next', 'later', 'new']);
});
