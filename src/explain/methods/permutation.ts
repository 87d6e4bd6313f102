/**
 * Permutation SHAP (Štrumbelj and Kononenko 2014; Lundberg's forward and backward passes). Pure over a callback.
 *
 * The value of a coalition S is v(S) = mean over background rows b of f(x inside S, b outside). Walking from b to
 * x one feature at a time in a random order, and back again in the same order, gives each feature two estimates
 * of its contribution a pair; attributions are their means. Telescoping makes them additive by construction,
 * Σ φ = f(x) − v(∅), and both directions together make them exact for interactions up to second order.
 */
import { type SeededRandom, seededRandom, shuffle } from '../../quality/seeded.ts';

/** The model: `count` rows, row-major, to one number a row. */
export type Predict = (rows: Float32Array, count: number) => Promise<Float32Array>;

export interface PermutationRequest {
  /** The row to explain; its length is the number of features. */
  instance: Float32Array;
  /** Row-major; what features outside a coalition are replaced by. */
  background: { x: Float32Array; rows: number };
  /** Budget of model calls, spent in rounds of 2M + 1 for M features; one round runs at least. */
  maxCalls: number;
  seed: number;
  /** Rows handed to `predict` at once. */
  blockRows?: number;
}

export interface Attribution {
  /** φ of each feature, in the output's own unit. Exactly 0 where the instance equals every background row. */
  values: Float64Array;
  /** v(∅): the mean answer over the background. */
  baseValue: number;
  /** f(x) as computed in this run. */
  prediction: number;
  /** |prediction − baseValue − Σ φ|. */
  additivityGap: number;
  /** Coalitions evaluated; each is evaluated for every background row it changes. */
  modelCalls: number;
  /** Rows computed by the model, all told. */
  modelRows: number;
}

/** One row of a walk waiting for its answer: which feature was switched, and how its contribution counts. */
interface Step {
  feature: number;
  /** +1 walking from the background to the instance, −1 on the way back. */
  direction: 1 | -1;
  /** Set on the first row of a walk: the answer it starts from. */
  start: number | null;
  /** Set on the last row of a walk: the feature switched last, and the answer at the end, which is known. */
  end: { feature: number; answer: number } | null;
}

export async function permutationShap(predict: Predict, request: PermutationRequest): Promise<Attribution> {
  const { instance, background, maxCalls, seed, blockRows = 512 } = request;
  const features = instance.length;
  const differing = differingFeatures(instance, background);
  const active = new Set(differing.flatMap((list) => [...list])).size;
  const pairs = active === 0 ? 0 : Math.max(1, Math.floor(maxCalls / (2 * active + 1)));
  const { prediction, baseAnswers, rows: endRows } = await walkEnds(predict, instance, background, differing);

  const sums = new Float64Array(features);
  const block = new Float32Array(blockRows * features);
  const steps: Step[] = [];
  let answer = 0;
  let modelRows = endRows;

  const flush = async () => {
    if (steps.length === 0) return;
    const answers = await predict(block.subarray(0, steps.length * features), steps.length);
    modelRows += steps.length;
    steps.forEach(({ feature, direction, start, end }, row) => {
      const before = start ?? answer;
      answer = answers[row]!;
      sums[feature] = sums[feature]! + direction * (answer - before);
      if (end) sums[end.feature] = sums[end.feature]! + direction * (end.answer - answer);
    });
    steps.length = 0;
  };

  const random: SeededRandom = seededRandom(seed);
  for (let pair = 0; pair < pairs; pair++) {
    for (let row = 0; row < background.rows; row++) {
      // A feature that equals this background row changes nothing, so the walk leaves it out. Each background
      // row draws its own order: as unbiased as one order for all, and its sampling errors average out.
      const order = differing[row]!;
      shuffle(order, random);
      const base = baseAnswers[row]!;
      const from = background.x.subarray(row * features, (row + 1) * features);
      for (const direction of [1, -1] as const) {
        const [first, last, target] =
          direction === 1 ? [base, prediction, instance] : [prediction, base, from];
        const only = order[0];
        if (only === undefined) continue;
        if (order.length === 1) {
          sums[only] = sums[only]! + direction * (last - first);
          continue;
        }
        const current = Float32Array.from(direction === 1 ? from : instance);
        for (let step = 0; step < order.length - 1; step++) {
          const feature = order[step]!;
          current[feature] = target[feature]!;
          block.set(current, steps.length * features);
          steps.push({
            feature,
            direction,
            start: step === 0 ? first : null,
            end: step === order.length - 2 ? { feature: order[step + 1]!, answer: last } : null,
          });
          if (steps.length === blockRows) await flush();
        }
      }
    }
  }
  await flush();

  const estimates = 2 * pairs * background.rows;
  const values = sums.map((sum) => (estimates === 0 ? 0 : sum / estimates));
  const baseValue = mean(baseAnswers);
  return {
    values,
    baseValue,
    prediction,
    additivityGap: Math.abs(prediction - baseValue - values.reduce((sum, value) => sum + value, 0)),
    modelCalls: active === 0 ? 1 : 2 + pairs * 2 * (active - 1),
    modelRows,
  };
}

/** For each background row, the features in which it differs from the instance. */
function differingFeatures(
  instance: Float32Array,
  background: PermutationRequest['background'],
): Uint32Array[] {
  return Array.from({ length: background.rows }, (_, row) => {
    const list: number[] = [];
    for (let feature = 0; feature < instance.length; feature++) {
      if (background.x[row * instance.length + feature] !== instance[feature]) list.push(feature);
    }
    return Uint32Array.from(list);
  });
}

/** Where every walk starts and ends: f(x), and f(b) of each background row that differs from x. */
async function walkEnds(
  predict: Predict,
  instance: Float32Array,
  background: PermutationRequest['background'],
  differing: readonly Uint32Array[],
): Promise<{ prediction: number; baseAnswers: Float64Array; rows: number }> {
  const features = instance.length;
  const asked = differing.flatMap((list, row) => (list.length > 0 ? [row] : []));
  const ends = new Float32Array((asked.length + 1) * features);
  ends.set(instance);
  asked.forEach((row, place) => {
    ends.set(background.x.subarray(row * features, (row + 1) * features), (place + 1) * features);
  });
  const answers = await predict(ends, asked.length + 1);
  const prediction = answers[0]!;
  const baseAnswers = new Float64Array(background.rows).fill(prediction);
  asked.forEach((row, place) => {
    baseAnswers[row] = answers[place + 1]!;
  });
  return { prediction, baseAnswers, rows: asked.length + 1 };
}

function mean(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
