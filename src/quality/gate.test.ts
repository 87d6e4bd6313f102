import { expect, test } from 'vitest';
import { defaultGate, gateMetricNames, judge, type Measured, parseGate } from './gate.ts';

function measured(
  values: { accuracy?: number; rocAuc?: number | null; low?: number | null; logLoss?: number } = {},
  majorityClassAccuracy = 0.5,
): Measured {
  const { accuracy = 0.9, rocAuc = 0.95, low = 0.93, logLoss = 0.2 } = values;
  const around = (value: number) => ({ value, low: value - 0.02, high: value + 0.02 });
  return {
    metrics: {
      accuracy: around(accuracy),
      rocAuc:
        rocAuc === null
          ? { value: null, low: null, high: null, unknown: 'ROC-AUC needs rows of both classes' }
          : { value: rocAuc, low, high: rocAuc + 0.02 },
      logLoss: around(logLoss),
      calibrationError: around(0.03),
      brierScore: around(0.05),
    },
    majorityClassAccuracy,
  };
}

test('the default gate asks to beat the majority class by .05 and chance surely', () => {
  expect(judge(defaultGate, measured(), null)).toEqual({
    passed: true,
    rules: [
      { metric: 'accuracyOverMajority', min: 0.05, value: 0.4, passed: true },
      { metric: 'rocAucLow', above: 0.5, value: 0.93, passed: true },
    ],
  });
  expect(judge(defaultGate, measured({ accuracy: 0.93 }, 0.9), null).passed).toBe(false);
  expect(judge(defaultGate, measured({ accuracy: 0.95 }, 0.9), null).passed).toBe(true);
  // A constant answer has ROC-AUC .5 in every resample.
  expect(judge(defaultGate, measured({ rocAuc: 0.5, low: 0.5 }), null).passed).toBe(false);
});

test('bounds include their ends, and every rule must pass', () => {
  const rules = parseGate({ accuracy: { min: 0.9 }, logLoss: { max: 0.2 } });
  expect(judge(rules, measured(), null).passed).toBe(true);
  expect(judge(rules, measured({ logLoss: 0.2001 }), null)).toMatchObject({
    passed: false,
    rules: [
      { metric: 'accuracy', passed: true },
      { metric: 'logLoss', max: 0.2, value: 0.2001, passed: false },
    ],
  });
});

test('gain over the incumbent is an improvement, also where smaller is better', () => {
  const rules = parseGate({ accuracy: { minGain: 0.01 }, logLoss: { minGain: 0.05 } });
  const better = judge(rules, measured({ accuracy: 0.92, logLoss: 0.1 }), measured());
  expect(better).toMatchObject({ passed: true, rules: [{ incumbent: 0.9 }, { incumbent: 0.2 }] });
  const worse = judge(rules, measured({ accuracy: 0.92, logLoss: 0.3 }), measured());
  expect(worse.rules.map(({ passed }) => passed)).toEqual([true, false]);
});

test('a gate in which no rule ran fails', () => {
  expect(judge({}, measured(), null)).toEqual({
    passed: false,
    rules: [],
    reason: 'no rule ran, and nothing checked is not a pass',
  });
  const onlyGain = judge(parseGate({ accuracy: { minGain: 0.01 } }), measured(), null);
  expect(onlyGain.passed).toBe(false);
  expect(onlyGain.rules).toMatchObject([{ passed: null, reason: expect.stringContaining('not checked') }]);
  // Beside a rule that ran, one that could not run does not stand in the way.
  const first = parseGate({ accuracy: { min: 0.8 }, logLoss: { minGain: 0.01 } });
  expect(judge(first, measured(), null).passed).toBe(true);
});

test('a metric that is not known fails its rule with the reason', () => {
  expect(judge(parseGate({ rocAuc: { min: 0 } }), measured({ rocAuc: null }), null).rules).toEqual([
    { metric: 'rocAuc', min: 0, value: null, passed: false, reason: 'ROC-AUC needs rows of both classes' },
  ]);
});

test('an unknown metric is an error that names the known ones', () => {
  expect(() => parseGate({ acuracy: { min: 0.9 } })).toThrow(
    expect.objectContaining({
      code: 'INVALID_REQUEST',
      message: '"acuracy" is not a metric a gate can check',
      where: 'gate.acuracy',
      hint: `known metrics: ${gateMetricNames.join(', ')}`,
    }),
  );
});

test.each([
  ['no bound', { accuracy: {} }, 'gate.accuracy'],
  ['an unknown bound', { accuracy: { minimum: 0.9 } }, 'gate.accuracy'],
  ['text', { accuracy: { min: '0.9' } }, 'gate.accuracy.min'],
  ['an infinite bound', { accuracy: { min: Number.POSITIVE_INFINITY } }, 'gate.accuracy.min'],
  ['bounds that exclude each other', { accuracy: { min: 0.9, max: 0.8 } }, 'gate.accuracy'],
  ['a number for a rule', { accuracy: 0.9 }, 'gate.accuracy'],
  ['a list', [], 'gate'],
  ['null', null, 'gate'],
  ['a name from Object', { constructor: { min: 1 } }, 'gate.constructor'],
])('%s is refused', (_, json, where) => {
  expect(() => parseGate(json)).toThrow(expect.objectContaining({ code: 'INVALID_REQUEST', where }));
});
