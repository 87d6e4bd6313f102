/** The formula of choosing among regions. */
import { z } from 'zod';
import { field, formula } from './formula.ts';
import { chooseRegion } from './region-choice.ts';

export const regionChoice = formula({
  id: 'region-choice',
  title: 'Which of several clusters is to answer',
  formula: 'argmin of I + weight · latency, among those with latency ≤ the most allowed',
  units: {
    'regions.gPerKwh': 'gCO2e/kWh',
    'regions.latencyMs': 'ms',
    maxLatencyMs: 'ms',
    gPerKwhPerMs: 'gCO2e/kWh per ms',
    'scores.score': 'gCO2e/kWh',
  },
  source: 'own; the same demand, precision and PUE are assumed everywhere',
  input: z.strictObject({
    regions: z
      .array(
        z.strictObject({
          name: z.string().min(1),
          gPerKwh: field.gPerKwh.nullable().describe('null: not known'),
          latencyMs: field.amount,
        }),
      )
      .min(1)
      .max(1000),
    maxLatencyMs: field.positive.nullable().default(null),
    gPerKwhPerMs: field.amount.default(0),
  }),
  example: {
    regions: [
      { name: 'near', gPerKwh: 300, latencyMs: 20 },
      { name: 'far', gPerKwh: 120, latencyMs: 90 },
    ],
    gPerKwhPerMs: 1,
  },
  compute: ({ regions, maxLatencyMs, gPerKwhPerMs }) => chooseRegion(regions, { maxLatencyMs, gPerKwhPerMs }),
});
