/**
 * How good the probabilities of a binary classifier are, each metric with a bootstrap interval. Pure.
 *
 * Every metric is a function of weighted rows in order of their score, so a resample is only another vector of
 * weights and the sort is paid once. What cannot be known (ROC-AUC of one class) is null with its reason.
 */
import { CommonwattError } from '../errors.ts';
import { seededRandom } from './seeded.ts';

export const metricNames = ['accuracy', 'rocAuc', 'logLoss', 'calibrationError', 'brierScore'] as const;
export type MetricName = (typeof metricNames)[number];

/** Whether a larger value is the better one. */
export const largerIsBetter: Readonly<Record<MetricName, boolean>> = {
  accuracy: true,
  rocAuc: true,
  logLoss: false,
  calibrationError: false,
  brierScore: false,
};

/** A metric and the ends of its 95 % interval; null has its reason beside it. */
interface MetricValue {
  value: number | null;
  low: number | null;
  high: number | null;
  unknown?: string;
}

export type MetricValues = Record<MetricName, MetricValue>;

/** Rows in ascending order of the predicted probability; `tieStarts` marks the first row of each equal score. */
export interface ScoredRows {
  probability: Float64Array;
  label: Uint8Array;
  correct: Uint8Array;
  loss: Float64Array;
  /** Calibration bin of each row. */
  bin: Uint8Array;
  tieStarts: Uint8Array;
}

/** Ten bins of equal width over [0, 1], closed on the right as in scikit-learn's `calibration_curve`. */
const calibrationBins = 10;
const resamplesByDefault = 1000;

const floatEpsilon = Number.EPSILON;
const oneClass = 'ROC-AUC needs rows of both classes';

/**
 * Throws INVALID_DATASET for labels other than 0 and 1 and for no rows, INVALID_TENSOR for scores that are not
 * probabilities.
 */
export function scoredRows(labels: ArrayLike<number>, probabilities: ArrayLike<number>): ScoredRows {
  const rows = labels.length;
  if (rows === 0 || probabilities.length !== rows) {
    throw new CommonwattError(
      'INVALID_DATASET',
      rows === 0 ? 'there are no rows to evaluate' : `${rows} labels but ${probabilities.length} predictions`,
      { hint: 'evaluate on a split with at least one row and one prediction a row' },
    );
  }
  for (let row = 0; row < rows; row++) {
    const label = labels[row]!;
    const probability = probabilities[row]!;
    if (label !== 0 && label !== 1) {
      throw new CommonwattError('INVALID_DATASET', `the label of row ${row} is ${label}`, {
        where: `label[${row}]`,
        hint: 'these metrics are for binary labels, 0 or 1',
      });
    }
    if (!(probability >= 0 && probability <= 1)) {
      throw new CommonwattError('INVALID_TENSOR', `the model answered ${probability} for row ${row}`, {
        where: `output[${row}]`,
        hint: 'these metrics are for binary classifiers with one output in [0, 1], such as Dense(1, sigmoid)',
      });
    }
  }
  const order = Uint32Array.from({ length: rows }, (_, row) => row).sort(
    (left, right) => probabilities[left]! - probabilities[right]!,
  );
  const sorted: ScoredRows = {
    probability: new Float64Array(rows),
    label: new Uint8Array(rows),
    correct: new Uint8Array(rows),
    loss: new Float64Array(rows),
    bin: new Uint8Array(rows),
    tieStarts: new Uint8Array(rows),
  };
  order.forEach((row, place) => {
    const probability = probabilities[row]!;
    const label = labels[row]!;
    sorted.probability[place] = probability;
    sorted.label[place] = label;
    sorted.correct[place] = Number(probability > 0.5 === (label === 1));
    sorted.loss[place] = -Math.log(clip(label === 1 ? probability : 1 - probability));
    sorted.bin[place] = binOf(probability);
    sorted.tieStarts[place] = place === 0 || sorted.probability[place - 1] !== probability ? 1 : 0;
  });
  return sorted;
}

/** As scikit-learn's `log_loss` clips float64, so that a certain and wrong answer costs 36, not infinity. */
function clip(probability: number): number {
  return Math.min(Math.max(probability, floatEpsilon), 1 - floatEpsilon);
}

function binOf(probability: number): number {
  let bin = 0;
  while (bin < calibrationBins - 1 && probability > (bin + 1) * (1 / calibrationBins)) bin++;
  return bin;
}

/**
 * The metrics of weighted rows, in the order of `metricNames`; NaN where undefined.
 *
 * - accuracy: share of rows where (p > 0.5) = y, the threshold of Keras.
 * - rocAuc: P(p⁺ > p⁻) + ½ P(p⁺ = p⁻), from the rank sum (Mann-Whitney); exact with ties.
 * - logLoss: mean of −ln of the probability of the true class, clipped to [ε, 1 − ε], ε = 2⁻⁵²; nats.
 * - calibrationError: Σ_bins (n_bin / n) |mean y − mean p| over ten bins of equal width.
 * - brierScore: mean of (p − y)².
 *
 * Worked example: p = .1 .4 .35 .8 with y = 0 0 1 1 has accuracy .75 and ROC-AUC .75.
 */
export function weightedMetrics(rows: ScoredRows, weights: ArrayLike<number>): Float64Array {
  const { probability, label, correct, loss, bin, tieStarts } = rows;
  const gaps = new Float64Array(calibrationBins);
  let total = 0;
  let right = 0;
  let lost = 0;
  let squared = 0;
  let positives = 0;
  let negatives = 0;
  let pairsWon = 0;
  let tiedPositives = 0;
  let tiedNegatives = 0;
  for (let row = 0; row < probability.length; row++) {
    if (tieStarts[row] === 1) {
      pairsWon += tiedPositives * (negatives + tiedNegatives / 2);
      positives += tiedPositives;
      negatives += tiedNegatives;
      tiedPositives = 0;
      tiedNegatives = 0;
    }
    const weight = weights[row]!;
    if (weight === 0) continue;
    const gap = probability[row]! - label[row]!;
    total += weight;
    right += weight * correct[row]!;
    lost += weight * loss[row]!;
    squared += weight * gap * gap;
    gaps[bin[row]!] = gaps[bin[row]!]! + weight * gap;
    if (label[row] === 1) tiedPositives += weight;
    else tiedNegatives += weight;
  }
  pairsWon += tiedPositives * (negatives + tiedNegatives / 2);
  positives += tiedPositives;
  negatives += tiedNegatives;
  let calibrationGap = 0;
  for (const gap of gaps) calibrationGap += Math.abs(gap);
  return Float64Array.of(
    right / total,
    positives === 0 || negatives === 0 ? Number.NaN : pairsWon / (positives * negatives),
    lost / total,
    calibrationGap / total,
    squared / total,
  );
}

/** The share of the more frequent class: what always answering the same would reach. */
export function majorityClassAccuracy(labels: ArrayLike<number>): number {
  let positives = 0;
  for (let row = 0; row < labels.length; row++) positives += labels[row] === 1 ? 1 : 0;
  return Math.max(positives, labels.length - positives) / labels.length;
}

/**
 * Percentile bootstrap (Efron 1979): `resamples` draws of n rows out of n with replacement, and the 2.5 % and
 * 97.5 % points of the metric over them. Yields after each slice of work so that the caller can let others run.
 */
export function* measure(
  rows: ScoredRows,
  options: { resamples?: number; seed?: number } = {},
): Generator<void, MetricValues> {
  const { resamples = resamplesByDefault, seed = 42 } = options;
  const count = rows.probability.length;
  const value = weightedMetrics(rows, new Uint32Array(count).fill(1));
  const random = seededRandom(seed);
  const weights = new Uint32Array(count);
  const samples = metricNames.map(() => new Float64Array(resamples));
  const resamplesInSlice = Math.max(1, Math.floor(100_000 / count));
  for (let resample = 0; resample < resamples; resample++) {
    weights.fill(0);
    // The rows are drawn by their place in the sorted order: which rows, not in which order, makes a resample.
    for (let draw = 0; draw < count; draw++) {
      const row = random.below(count);
      weights[row] = weights[row]! + 1;
    }
    weightedMetrics(rows, weights).forEach((drawn, metric) => {
      samples[metric]![resample] = drawn;
    });
    if (resample % resamplesInSlice === 0) yield;
  }
  const known = (metric: number) => withInterval(value[metric]!, samples[metric]!);
  return {
    accuracy: known(0),
    rocAuc: known(1),
    logLoss: known(2),
    calibrationError: known(3),
    brierScore: known(4),
  };
}

function withInterval(value: number, samples: Float64Array): MetricValue {
  if (Number.isNaN(value)) return { value: null, low: null, high: null, unknown: oneClass };
  const defined = samples.filter((sample) => !Number.isNaN(sample)).sort();
  const undefinedShare = 1 - defined.length / samples.length;
  // Leaving out many one-class resamples would make the interval look narrower than it is.
  if (undefinedShare > 0.05) {
    const share = Math.round(undefinedShare * 100);
    return {
      value,
      low: null,
      high: null,
      unknown: `no interval: ${share} % of the resamples held one class only`,
    };
  }
  return { value, low: percentile(defined, 0.025), high: percentile(defined, 0.975) };
}

/** Linear interpolation between order statistics, numpy's default (Hyndman and Fan 1996, type 7). */
export function percentile(ascending: Float64Array, fraction: number): number {
  const place = fraction * (ascending.length - 1);
  const below = ascending[Math.floor(place)]!;
  const above = ascending[Math.ceil(place)]!;
  return below + (above - below) * (place - Math.floor(place));
}
