import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { unmetered } from '../footprint.ts';
import { gramsCo2e, joules } from '../units.ts';
import { attributionMethodOf, infrastructureAttributes, neuralwattEnergy } from './figures.ts';
import { type Answered, formNames, formsOf, readForms, standardForms } from './forms.ts';
import { energyComment, formFields, pushFormHeaders } from './write.ts';

/** The worked example of `figures.ts`: 36 J and .5 gCO2e in .4 s. */
const example: Answered = {
  footprint: {
    ...unmetered,
    energyJ: joules(36),
    dynamicJ: joules(27),
    idleShareJ: joules(9),
    carbonGCo2e: gramsCo2e(0.5),
    method: 'rapl',
    methodVersion: '7',
    quality: 'measured',
    unknown: {},
  },
  source: 'computed',
  queueMs: 100,
  batchMs: 50,
  computeMs: 250,
  batchRequests: 4,
  share: 0.25,
};
const all = formsOf(formNames);

function headersOf(answered: Answered, forms = all): Record<string, string> {
  const pairs: string[] = [];
  pushFormHeaders(pairs, answered, forms);
  const headers: Record<string, string> = {};
  for (let at = 0; at < pairs.length; at += 2) headers[pairs[at] ?? ''] = pairs[at + 1] ?? '';
  return headers;
}

const bodyOf = (answered: Answered, forms = all) => JSON.parse(`{"id":1${formFields(answered, forms)}}`);

describe('an answer of 36 J and .5 gCO2e that took .4 s', () => {
  it('reads so in each form', () => {
    const { usage, energy, impact } = bodyOf(example);
    expect(usage.impact).toMatchObject({ energyWh: 0.01, carbonGCo2e: 0.5, quality: 'measured' });
    expect(usage.impacts).toEqual({ kWh: 1e-5, kgCO2eq: 0.0005 });
    expect(energy).toEqual({
      energy_joules: 36,
      energy_kwh: 1e-5,
      avg_power_watts: 90,
      duration_seconds: 0.4,
      attribution_method: 'shared step',
      attribution_ratio: 0.25,
    });
    expect(impact).toEqual({
      version: '7',
      inferenceTime: { total: 250, unit: 'ms' },
      energy: { total: 36_000, unit: 'Wms' },
      emissions: { total: 500_000, unit: 'ugCO2e' },
    });
    expect(headersOf(example)).toEqual({
      'server-timing': 'queue;dur=100.000, batch;dur=50.000, compute;dur=250.000',
      'x-commonwatt-energy-wh': '0.01',
      'x-commonwatt-carbon-gco2e': '0.5',
      'x-energy-joules': '36',
      'x-energy-method': 'rapl',
      'x-carbon-mg': '500',
    });
    expect(energyComment(example)).toBe(`: energy ${JSON.stringify(energy)}\n\n`);
    expect(infrastructureAttributes(example)).toEqual({
      'gen_ai.infrastructure.energy': 36,
      'gen_ai.infrastructure.energy.per_token': undefined,
      'gen_ai.infrastructure.power': 90,
      'gen_ai.infrastructure.idle_ratio': 0.25,
    });
    const perToken = infrastructureAttributes({ ...example, outputTokens: 12 });
    expect(perToken['gen_ai.infrastructure.energy.per_token']).toBe(3);
  });

  it('carries only the forms that are wanted', () => {
    expect(Object.keys(bodyOf(example, standardForms))).toEqual(['id', 'usage']);
    expect(Object.keys(bodyOf(example, standardForms).usage)).toEqual(['impact']);
    expect(Object.keys(headersOf(example, formsOf(['greenjoules'])))).toEqual([
      'x-energy-joules',
      'x-energy-method',
      'x-carbon-mg',
    ]);
    expect(bodyOf(example, formsOf([]))).toEqual({ id: 1 });
    expect(headersOf(example, formsOf([]))).toEqual({});
  });

  it('says how it got its part', () => {
    expect(attributionMethodOf({ source: 'computed', batchRequests: 1 })).toBe('direct');
    expect(attributionMethodOf({ source: 'cached', batchRequests: 1 })).toBe('proportional');
    const cached = neuralwattEnergy({ ...example, source: 'cached', share: null });
    expect(cached).toMatchObject({
      attribution_ratio: null,
      unknown: { attribution_ratio: expect.stringContaining('cached') },
    });
    const timeless = neuralwattEnergy({ ...example, queueMs: 0, batchMs: 0, computeMs: 0 });
    expect(timeless.avg_power_watts).toBeNull();
    expect(timeless.unknown).toEqual({ avg_power_watts: expect.any(String) });
  });
});

it('all forms of one footprint convert back into it, whatever its figures', () => {
  const amount = fc.double({ min: 1e-9, max: 1e9, noNaN: true });
  fc.assert(
    fc.property(amount, amount, amount, (energyJ, carbonG, computeMs) => {
      const answered: Answered = {
        ...example,
        computeMs,
        footprint: {
          ...example.footprint,
          energyJ: joules(energyJ),
          carbonGCo2e: gramsCo2e(carbonG),
        },
      };
      const { usage, energy, impact } = bodyOf(answered);
      const headers = headersOf(answered);
      const asJoules = [
        usage.impact.energyWh * 3600,
        Number(headers['x-commonwatt-energy-wh']) * 3600,
        usage.impacts.kWh * 3.6e6,
        energy.energy_joules,
        energy.energy_kwh * 3.6e6,
        energy.avg_power_watts * energy.duration_seconds,
        impact.energy.total / 1000,
        Number(headers['x-energy-joules']),
      ];
      const asGrams = [
        usage.impact.carbonGCo2e,
        Number(headers['x-commonwatt-carbon-gco2e']),
        usage.impacts.kgCO2eq * 1000,
        impact.emissions.total / 1e6,
        Number(headers['x-carbon-mg']) / 1000,
      ];
      for (const value of asJoules) expect(Math.abs(value / energyJ - 1)).toBeLessThan(1e-14);
      for (const value of asGrams) expect(Math.abs(value / carbonG - 1)).toBeLessThan(1e-14);
    }),
    { numRuns: 300 },
  );
});

it('what nobody knows is null or left out, never 0, and says why', () => {
  const off: Answered = { ...example, footprint: unmetered };
  const { usage, energy, impact } = bodyOf(off);
  expect(usage.impacts).toEqual({
    unknown: { kWh: 'metering is off', kgCO2eq: 'metering is off' },
  });
  expect(energy).toMatchObject({
    energy_joules: null,
    energy_kwh: null,
    avg_power_watts: null,
    unknown: { energy_joules: 'metering is off' },
  });
  expect(impact).toMatchObject({
    energy: { total: null },
    emissions: { total: null },
    unknown: { energy: 'metering is off', emissions: 'metering is off' },
  });
  expect(headersOf(off, formsOf(['headers', 'greenjoules']))).toEqual({
    'x-commonwatt-unknown': 'energy; metering is off, carbon; metering is off',
  });
  expect(infrastructureAttributes(off)).toEqual({});
});

describe('what a caller asks for', () => {
  it('takes the place of what the server gives by itself', () => {
    expect(readForms(undefined, standardForms)).toBe(standardForms);
    expect(readForms('impacts,  Energy', standardForms)).toEqual(formsOf(['impacts', 'energy']));
    expect(readForms('none', standardForms)).toEqual(formsOf([]));
  });

  it('must be forms that there are', () => {
    expect(() => readForms('impact, joules', standardForms)).toThrow(
      expect.objectContaining({
        code: 'INVALID_REQUEST',
        message: expect.stringContaining('"joules"'),
        where: 'header.x-commonwatt-forms',
        hint: expect.stringContaining('greenpt'),
      }),
    );
    expect(() => readForms('', standardForms)).toThrow('is no form');
  });
});
