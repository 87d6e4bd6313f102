import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { seededRandom } from '../../quality/seeded.ts';
import { type PermutationRequest, type Predict, permutationShap } from './permutation.ts';

const golden: {
  background: number[][];
  X: number[][];
  fx: number[];
  base: number;
  exact: number[][];
  permutation: number[][];
} = JSON.parse(readFileSync(new URL('testdata/shap_golden.json', import.meta.url), 'utf8'));

type Model = (row: Float32Array) => number;

/** A model in FP32, as runners answer. */
function predictWith(model: Model): Predict & { rows: number } {
  const predict = async (x: Float32Array, count: number) => {
    predict.rows += count;
    const width = x.length / count;
    return Float32Array.from({ length: count }, (_, row) =>
      model(x.subarray(row * width, (row + 1) * width)),
    );
  };
  predict.rows = 0;
  return predict;
}

function rows(values: readonly (readonly number[])[]): PermutationRequest['background'] {
  return { x: Float32Array.from(values.flat()), rows: values.length };
}

const sum = (values: Float64Array) => values.reduce((total, value) => total + value, 0);

/** 3 x0 + 2 x1 x2 + sin x3 + max(x4, 0) x0 − x5² + x6; x7 is unused. Second order at most. */
const closedForm: Model = (x) =>
  3 * x[0]! + 2 * x[1]! * x[2]! + Math.sin(x[3]!) + Math.max(x[4]!, 0) * x[0]! - x[5]! ** 2 + x[6]!;

test('one pair of passes gives the exact Shapley values of a second-order function (shap 0.51)', async () => {
  for (const [index, instance] of golden.X.entries()) {
    const explained = await permutationShap(predictWith(closedForm), {
      instance: Float32Array.from(instance),
      background: rows(golden.background),
      maxCalls: 1,
      seed: index,
    });
    // The golden values are of float64; our model answers in float32, as runners do.
    expect(Math.abs(explained.baseValue - golden.base)).toBeLessThan(2e-6);
    expect(Math.abs(explained.prediction - golden.fx[index]!)).toBeLessThan(2e-6);
    for (const [feature, value] of explained.values.entries()) {
      expect(Math.abs(value - golden.exact[index]![feature]!)).toBeLessThan(3e-6);
      expect(Math.abs(value - golden.permutation[index]![feature]!)).toBeLessThan(3e-6);
    }
    expect(explained.values[7]).toBe(0);
    expect(explained.additivityGap).toBeLessThan(1e-12);
  }
});

/** Any small network-like function of four features, with interactions of every order. */
const anyModel = fc
  .record({
    weights: fc.array(fc.float({ min: -2, max: 2, noNaN: true }), { minLength: 12, maxLength: 12 }),
    unused: fc.boolean(),
  })
  .map(
    ({ weights, unused }): Model =>
      (x) => {
        let answer = 0;
        for (let unit = 0; unit < 3; unit++) {
          let level = 0;
          for (let feature = 0; feature < 4; feature++) {
            if (unused && feature === 2) continue;
            level += weights[unit * 4 + feature]! * x[feature]!;
          }
          answer += Math.tanh(level) ** 3;
        }
        return answer;
      },
  );
const anyRow = fc.array(fc.float({ min: -3, max: 3, noNaN: true }), { minLength: 4, maxLength: 4 });
const anyRows = fc.array(anyRow, { minLength: 1, maxLength: 5 });

test('attributions add up to prediction − base value, whatever the model, background and seed', async () => {
  await fc.assert(
    fc.asyncProperty(anyModel, anyRow, anyRows, fc.nat(), async (model, instance, background, seed) => {
      const explained = await permutationShap(predictWith(model), {
        instance: Float32Array.from(instance),
        background: rows(background),
        maxCalls: 40,
        seed,
        blockRows: 7,
      });
      expect(Math.abs(explained.baseValue + sum(explained.values) - explained.prediction)).toBeLessThan(
        1e-12,
      );
      expect(explained.prediction).toBe(Math.fround(model(Float32Array.from(instance))));
      const base = background.map((row) => Math.fround(model(Float32Array.from(row))));
      const mean = base.reduce((total, value) => total + value, 0) / base.length;
      expect(Math.abs(explained.baseValue - mean)).toBeLessThan(1e-12);
    }),
  );
});

test('blocks of any size give the same answer', async () => {
  await fc.assert(
    fc.asyncProperty(
      anyModel,
      anyRow,
      anyRows,
      fc.integer({ min: 1, max: 30 }),
      async (model, x, b, size) => {
        const request = { instance: Float32Array.from(x), background: rows(b), maxCalls: 30, seed: 3 };
        const whole = await permutationShap(predictWith(model), request);
        expect(await permutationShap(predictWith(model), { ...request, blockRows: size })).toEqual(whole);
      },
    ),
  );
});

test('a feature the model does not use gets 0', async () => {
  const explained = await permutationShap(
    predictWith((x) => Math.tanh(x[0]! * x[1]!) * x[3]!),
    { instance: Float32Array.of(1, 2, 3, 4), background: rows([[0, 1, 0, 2]]), maxCalls: 100, seed: 1 },
  );
  expect(explained.values[2]).toBe(0);
});

test('two features that play the same part get the same', async () => {
  const explained = await permutationShap(
    predictWith((x) => x[0]! * x[1]! + x[2]!),
    { instance: Float32Array.of(2, 2, 5), background: rows([[0.5, 0.5, 1]]), maxCalls: 1, seed: 9 },
  );
  expect(explained.values[0]).toBeCloseTo(explained.values[1]!, 6);
});

test('a feature equal to the whole background gets exactly 0 and costs nothing', async () => {
  const predict = predictWith((x) => x[0]! * x[1]! + x[2]!);
  const explained = await permutationShap(predict, {
    instance: Float32Array.of(1, 7, 3),
    background: rows([
      [0, 7, 1],
      [2, 7, 3],
    ]),
    maxCalls: 5,
    seed: 1,
  });
  expect(explained.values[1]).toBe(0);
  // x, both background rows, and one row between the ends on each way of the first walk; the second background
  // row differs in one feature only, so its walk has no rows between its ends.
  expect(explained.modelRows).toBe(5);
  expect(predict.rows).toBe(5);
});

test('an instance equal to its background has nothing to explain', async () => {
  const explained = await permutationShap(
    predictWith((x) => x[0]!),
    { instance: Float32Array.of(0.25, 1), background: rows([[0.25, 1]]), maxCalls: 100, seed: 1 },
  );
  expect([...explained.values]).toEqual([0, 0]);
  expect(explained).toMatchObject({ baseValue: 0.25, prediction: 0.25, modelCalls: 1, modelRows: 1 });
});

test('the budget buys rounds of 2M + 1 calls, and at least one', async () => {
  const request = { instance: Float32Array.of(1, 1, 1), background: rows([[0, 0, 0]]), seed: 1 };
  const predict = predictWith((x) => x[0]! * x[1]! * x[2]!);
  const calls = async (maxCalls: number) =>
    (await permutationShap(predict, { ...request, maxCalls })).modelCalls;
  // The two ends are computed once; each pair adds M − 1 coalitions on each way.
  expect(await calls(1)).toBe(2 + 4);
  expect(await calls(13)).toBe(2 + 4);
  expect(await calls(14)).toBe(2 + 2 * 4);
});

test('more pairs come closer to the exact values of a third-order function', async () => {
  // x0 x1 x2 + x3 x4 x5 against a background of zeros: each factor of a product gets a third of it, exactly.
  const random = seededRandom(5);
  const errorWith = async (pairs: number) => {
    let error = 0;
    const rounds = 30;
    for (let seed = 0; seed < rounds; seed++) {
      const instance = Float32Array.from({ length: 6 }, () => 1 + random.below(8) / 8);
      const [a, b, c, d, e, f] = [...instance];
      const explained = await permutationShap(
        predictWith((x) => x[0]! * x[1]! * x[2]! + x[3]! * x[4]! * x[5]!),
        { instance, background: rows([[0, 0, 0, 0, 0, 0]]), maxCalls: pairs * 13, seed },
      );
      explained.values.forEach((value, feature) => {
        const product = feature < 3 ? a! * b! * c! : d! * e! * f!;
        error += Math.abs(value - product / 3) / product / 6 / rounds;
      });
    }
    return error;
  };
  const errors = [await errorWith(1), await errorWith(5), await errorWith(50)];
  expect(errors[0]).toBeGreaterThan(0.1);
  // Sampling error falls with the square root of the pairs.
  expect(errors[1]).toBeLessThan(errors[0]! / 1.6);
  expect(errors[2]).toBeLessThan(errors[1]! / 2);
});

test('the same seed gives the same values, another seed others', async () => {
  const request = {
    instance: Float32Array.of(1, 2, 3),
    background: rows([[0, 0, 0]]),
    maxCalls: 1,
  };
  const predict = predictWith((x) => x[0]! * x[1]! * x[2]!);
  const first = await permutationShap(predict, { ...request, seed: 1 });
  expect(await permutationShap(predict, { ...request, seed: 1 })).toEqual(first);
  const others = await Promise.all(
    [2, 3, 4, 5].map((seed) => permutationShap(predict, { ...request, seed })),
  );
  expect(others.some(({ values }) => values[0] !== first.values[0])).toBe(true);
});
