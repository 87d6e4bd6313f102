import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { runPython } from '../../test/python.ts';
import {
  type MetricValues,
  majorityClassAccuracy,
  measure,
  metricNames,
  percentile,
  scoredRows,
  weightedMetrics,
} from './metrics.ts';
import { type SeededRandom, seededRandom } from './seeded.ts';

const golden: { y: number[]; p: number[]; ece: number; rocAuc: number; logLoss: number; brier: number } =
  JSON.parse(readFileSync(new URL('testdata/calibration_golden.json', import.meta.url), 'utf8'));

interface Case {
  name: string;
  y: number[];
  p: number[];
}

function plain({ y, p }: Pick<Case, 'y' | 'p'>): Record<(typeof metricNames)[number], number> {
  const values = weightedMetrics(scoredRows(y, p), new Uint32Array(y.length).fill(1));
  const [accuracy, rocAuc, logLoss, calibrationError, brierScore] = [...values];
  return {
    accuracy: accuracy!,
    rocAuc: rocAuc!,
    logLoss: logLoss!,
    calibrationError: calibrationError!,
    brierScore: brierScore!,
  };
}

function finish(measuring: Generator<void, MetricValues>): MetricValues {
  for (;;) {
    const slice = measuring.next();
    if (slice.done) return slice.value;
  }
}

function draws(rows: number, random: SeededRandom, levels: number): Pick<Case, 'y' | 'p'> {
  const p = Array.from({ length: rows }, () => random.below(levels + 1) / levels);
  return { p, y: p.map((value) => (random.below(1000) / 1000 < 0.2 + 0.6 * value ? 1 : 0)) };
}

test('a small example by hand', () => {
  const metrics = plain({ p: [0.1, 0.4, 0.35, 0.8], y: [0, 0, 1, 1] });
  expect(metrics.accuracy).toBe(0.75);
  expect(metrics.rocAuc).toBe(0.75);
});

test('equal the golden values', () => {
  const metrics = plain(golden);
  expect(metrics.calibrationError).toBeCloseTo(golden.ece, 12);
  expect(metrics.rocAuc).toBeCloseTo(golden.rocAuc, 12);
  expect(metrics.logLoss).toBeCloseTo(golden.logLoss, 12);
  expect(metrics.brierScore).toBeCloseTo(golden.brier, 12);
});

test('equal scikit-learn to 1e-9: random scores, ties, bin edges, certain and wrong answers, weights', () => {
  const random = seededRandom(7);
  const cases: (Case & { w: number[] })[] = [
    { name: 'random', ...draws(500, random, 1e6) },
    { name: 'many ties and every bin edge', ...draws(400, random, 10) },
    { name: 'three levels', ...draws(300, random, 2) },
    { name: 'FP32 scores', ...draws(200, random, 1e6) },
    { name: 'all scores equal', y: [0, 1, 1, 0, 1], p: [0.5, 0.5, 0.5, 0.5, 0.5] },
    { name: 'certain, right and wrong', y: [0, 1, 0, 1], p: [0, 1, 1, 0] },
    { name: 'perfect', y: [0, 0, 1, 1], p: [0.1, 0.2, 0.8, 0.9] },
    { name: 'two rows', y: [1, 0], p: [0.3, 0.6] },
    { name: 'one class: positive', y: [1, 1, 1], p: [0.2, 0.9, 1] },
    { name: 'one class: negative', y: [0, 0], p: [0.2, 1e-20] },
  ].map((each) => ({
    ...each,
    p: each.name === 'FP32 scores' ? each.p.map(Math.fround) : each.p,
    w: each.y.map(() => random.below(4) + (each.y.length < 10 ? 1 : 0)),
  }));
  const answers: { plain: (number | null)[]; weighted: (number | null)[] }[] = JSON.parse(
    runPython(
      `
import json, sys, warnings
import numpy as np
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, roc_auc_score
warnings.filterwarnings('ignore')
def ece(y, p):
    # scikit-learn's bin means, weighted by our own count of each of its bins
    true, predicted = calibration_curve(y, p, n_bins=10)
    counts = np.bincount(np.searchsorted(np.linspace(0, 1, 11)[1:-1], p), minlength=10)
    return float(np.sum(counts[counts > 0] / len(p) * np.abs(true - predicted)))
def metrics(y, p):
    return [accuracy_score(y, p > .5), roc_auc_score(y, p) if len(set(y)) > 1 else None,
            log_loss(y, p, labels=[0, 1]), ece(y, p), float(np.mean((p - y) ** 2))]
out = []
for case in json.load(sys.stdin):
    y, p, w = (np.array(case[name]) for name in 'ypw')
    w = w.astype(int)
    out.append({'plain': metrics(y, p), 'weighted': metrics(np.repeat(y, w), np.repeat(p, w))})
print(json.dumps(out))
`,
      [],
      JSON.stringify(cases),
    ),
  );
  cases.forEach((each, index) => {
    const rows = scoredRows(each.y, each.p);
    const ours = {
      plain: weightedMetrics(rows, new Uint32Array(each.y.length).fill(1)),
      weighted: weightedMetrics(
        rows,
        // Weights belong to rows in the order given; the metric wants them in the order of the scores.
        each.p
          .map((score, row) => ({ score, weight: each.w[row]! }))
          .sort((left, right) => left.score - right.score)
          .map(({ weight }) => weight),
      ),
    };
    for (const kind of ['plain', 'weighted'] as const) {
      metricNames.forEach((name, metric) => {
        const expected = answers[index]![kind][metric] ?? Number.NaN;
        const where = `${name} of ${each.name}, ${kind}`;
        if (Number.isNaN(expected)) expect(ours[kind][metric], where).toBeNaN();
        else expect(Math.abs(ours[kind][metric]! - expected), where).toBeLessThan(1e-9);
      });
    }
  });
});

test('ROC-AUC is the share of pairs ranked right, ties counting half', () => {
  const row = fc.record({ y: fc.integer({ min: 0, max: 1 }), p: fc.integer({ min: 0, max: 8 }) });
  fc.assert(
    fc.property(fc.array(row, { minLength: 2, maxLength: 40 }), (rows) => {
      let won = 0;
      let pairs = 0;
      for (const positive of rows.filter(({ y }) => y === 1)) {
        for (const negative of rows.filter(({ y }) => y === 0)) {
          pairs++;
          won += positive.p > negative.p ? 1 : positive.p === negative.p ? 0.5 : 0;
        }
      }
      const { rocAuc } = plain({ y: rows.map(({ y }) => y), p: rows.map(({ p }) => p / 8) });
      expect(rocAuc).toEqual(pairs === 0 ? Number.NaN : won / pairs);
    }),
  );
});

test('with one class only, ROC-AUC is null with its reason, never 0', () => {
  const metrics = finish(measure(scoredRows([1, 1, 1], [0.2, 0.6, 0.9])));
  expect(metrics.rocAuc).toEqual({
    value: null,
    low: null,
    high: null,
    unknown: 'ROC-AUC needs rows of both classes',
  });
  expect(metrics.accuracy.value).toBeCloseTo(2 / 3, 12);
});

test('a split so small that resamples lose a class has a value but no interval', () => {
  const { rocAuc } = finish(measure(scoredRows([0, 1, 1], [0.2, 0.6, 0.9])));
  expect(rocAuc).toMatchObject({ value: 1, low: null, high: null });
  expect(rocAuc.unknown).toMatch(/held one class only/);
});

test('intervals agree with those of a bootstrap in numpy, and are the same for the same seed', () => {
  const sample = draws(400, seededRandom(3), 1e6);
  const rows = scoredRows(sample.y, sample.p);
  const ours = finish(measure(rows));
  expect(finish(measure(rows, { seed: 42 }))).toEqual(ours);
  expect(finish(measure(rows, { seed: 43 }))).not.toEqual(ours);
  const theirs: [number, number][] = JSON.parse(
    runPython(
      `
import json, sys
import numpy as np
from sklearn.metrics import roc_auc_score
case = json.load(sys.stdin)
y, p = np.array(case['y']), np.array(case['p'])
rng = np.random.default_rng(0)
draws = [rng.integers(0, len(y), len(y)) for _ in range(2000)]
samples = [[np.mean((p[d] > .5) == y[d]) for d in draws], [roc_auc_score(y[d], p[d]) for d in draws]]
print(json.dumps([list(np.percentile(s, [2.5, 97.5])) for s in samples]))
`,
      [],
      JSON.stringify(sample),
    ),
  );
  for (const [index, name] of (['accuracy', 'rocAuc'] as const).entries()) {
    // The ends differ by the luck of the draw: about a tenth of the interval's width of .1.
    expect(Math.abs(ours[name].low! - theirs[index]![0]), name).toBeLessThan(0.012);
    expect(Math.abs(ours[name].high! - theirs[index]![1]), name).toBeLessThan(0.012);
  }
});

test('95 % intervals hold the truth in about 95 % of samples', () => {
  const random = seededRandom(11);
  let covered = 0;
  const rounds = 200;
  for (let round = 0; round < rounds; round++) {
    // Right with probability .8, whatever the label.
    const y = Array.from({ length: 100 }, (_, row) => row % 2);
    const p = y.map((label) => (random.below(10) < 8 === (label === 1) ? 0.9 : 0.1));
    const { accuracy } = finish(measure(scoredRows(y, p), { resamples: 200, seed: round }));
    if (accuracy.low! <= 0.8 && 0.8 <= accuracy.high!) covered++;
  }
  expect(covered / rounds).toBeGreaterThan(0.88);
  expect(covered / rounds).toBeLessThan(0.99);
});

test('percentiles interpolate as numpy does', () => {
  const values = Float64Array.of(1, 2, 4, 8, 16);
  expect(percentile(values, 0.5)).toBe(4);
  // numpy.percentile([1, 2, 4, 8, 16], [2.5, 97.5])
  expect(percentile(values, 0.025)).toBeCloseTo(1.1, 12);
  expect(percentile(values, 0.975)).toBeCloseTo(15.2, 12);
});

test('2,500 rows and 1,000 resamples take less than 300 ms', () => {
  const rows = (({ y, p }) => scoredRows(y, p))(draws(2500, seededRandom(5), 1e6));
  // The best of three: the machine may be busy with something else.
  const times = [1, 2, 3].map(() => {
    const start = performance.now();
    finish(measure(rows));
    return performance.now() - start;
  });
  expect(Math.min(...times)).toBeLessThan(300);
});

test('the majority class', () => {
  expect(majorityClassAccuracy([0, 0, 0, 1])).toBe(0.75);
  expect(majorityClassAccuracy([1, 1, 1])).toBe(1);
});

test.each([
  { what: 'no rows', y: [], p: [], code: 'INVALID_DATASET', message: 'there are no rows' },
  { what: 'a label of 2', y: [0, 2], p: [0.1, 0.2], code: 'INVALID_DATASET', message: 'label of row 1 is 2' },
  { what: 'a score above 1', y: [0], p: [1.5], code: 'INVALID_TENSOR', message: 'answered 1.5 for row 0' },
  { what: 'NaN', y: [0], p: [Number.NaN], code: 'INVALID_TENSOR', message: 'answered NaN for row 0' },
  { what: 'a missing score', y: [0, 1], p: [0.5], code: 'INVALID_DATASET', message: '2 labels but 1' },
])('$what is refused', ({ y, p, code, message }) => {
  expect(() => scoredRows(y, p)).toThrow(
    expect.objectContaining({ code, message: expect.stringContaining(message) }),
  );
});
