/** Formulas of carbon-aware scheduling. */
import { z } from 'zod';
import { bestRuns, bestStart, scaleOut } from './carbon-aware.ts';
import { field, formula } from './formula.ts';

/** In equal steps; no plan is made for more than a month of quarters of an hour. */
const forecast = z.array(field.gPerKwh).min(1).max(3000).describe('in equal steps from now to the deadline');
/** What is weighed: a tenth of a gigabyte. */
const mostStates = 20_000_000;
const steps = z.int().min(1);
const fits = { path: ['steps'], error: 'more steps than there are until the deadline' };

/** Shares of what running at once would have caused; null when that is nothing. */
function percentSaved(before: number, after: number): number | null {
  return before > 0 ? (1 - after / before) * 100 : null;
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

const published =
  "Let's Wait Awhile (Wiesner 2021): ML jobs by the next workday saved 4.8 to 6.6 % uninterrupted, 5.9 to 9.0 % interrupted";

export const carbonAwareStart = formula({
  id: 'carbon-aware-start',
  title: 'When to start a job that cannot be interrupted',
  formula: 'start = argmin of the rolling mean of I over the length, in [arrival, deadline − length]',
  units: {
    gPerKwh: 'gCO2e/kWh',
    steps: 'steps',
    start: 'step, from 0',
    mean: 'gCO2e/kWh',
    savedPercent: '%',
  },
  source: published,
  input: z
    .strictObject({ gPerKwh: forecast, steps })
    .refine((input) => input.steps <= input.gPerKwh.length, fits),
  example: { gPerKwh: [300, 250, 200, 150, 180, 260], steps: 2 },
  compute(input) {
    const { start, mean } = bestStart(input.gPerKwh, input.steps);
    const atOnce = meanOf(input.gPerKwh.slice(0, input.steps));
    return { start, mean, atOnce, savedPercent: percentSaved(atOnce, mean) };
  },
});

export const carbonAwareInterruptible = formula({
  id: 'carbon-aware-interruptible',
  title: 'In which steps to run a job that can be interrupted',
  formula:
    'the steps with the least Σ I, each run at least the minimum long; checkpoint and restart counted at the I of the restart',
  units: {
    gPerKwh: 'gCO2e/kWh',
    interruptionSteps: 'steps of running',
    mean: 'gCO2e/kWh',
    savedPercent: '%',
  },
  source: published,
  input: z
    .strictObject({
      gPerKwh: forecast.max(1000),
      steps,
      minRunSteps: z.int().min(1).max(1000).default(1),
      interruptionSteps: field.amount.max(1000).default(0).describe('energy of one, in steps of running'),
    })
    .refine((input) => input.steps <= input.gPerKwh.length, fits)
    .refine((input) => input.gPerKwh.length * input.steps * input.minRunSteps <= mostStates, {
      path: ['gPerKwh'],
      error: `longer steps are needed: their number times steps times minRunSteps is above ${mostStates}`,
    }),
  example: { gPerKwh: [300, 150, 320, 310, 140, 260], steps: 2, interruptionSteps: 0.1 },
  compute(input) {
    const runs = bestRuns(input);
    const atOnce = meanOf(input.gPerKwh.slice(0, input.steps));
    return { ...runs, atOnce, savedPercent: percentSaved(atOnce, runs.mean) };
  },
});

export const carbonAwareElastic = formula({
  id: 'carbon-aware-elastic',
  title: 'How many replicas to run in each step',
  formula:
    '(step, replica) by marginal throughput / (marginal power · I), replica j after j − 1, until the work is done; the last is trimmed',
  units: {
    gPerKwh: 'gCO2e/kWh',
    stepHours: 'h',
    'replicas.unitsPerHour': '1/h that the replica adds',
    'replicas.watts': 'W that the replica adds',
    energyKwh: 'kWh',
    carbonG: 'gCO2e',
  },
  source: 'CarbonScaler (arXiv 2302.08681), whose loop does up to 10 % too much work',
  input: z
    .strictObject({
      gPerKwh: forecast,
      stepHours: field.positive,
      work: field.positive,
      replicas: z
        .array(z.strictObject({ unitsPerHour: field.positive, watts: field.positive }))
        .min(1)
        .max(100),
    })
    .refine(
      ({ gPerKwh, stepHours, work, replicas }) =>
        work <=
        gPerKwh.length *
          stepHours *
          replicas.reduce((sum, { unitsPerHour }) => sum + unitsPerHour, 0) *
          (1 + 1e-12),
      { path: ['work'], error: 'more than all replicas can do by the deadline' },
    ),
  example: {
    gPerKwh: [400, 100],
    stepHours: 1,
    work: 3,
    replicas: [
      { unitsPerHour: 2, watts: 100 },
      { unitsPerHour: 1, watts: 100 },
    ],
  },
  compute: (input) => scaleOut(input),
});
