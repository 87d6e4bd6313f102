import { describe, expect, test } from 'vitest';
import { checkData } from './checks.ts';
import type { DataReport } from './datasets.ts';
import { defaultSplit, splitRows } from './split.ts';

async function report(rows: readonly (readonly number[])[], split = defaultSplit): Promise<DataReport> {
  const width = (rows[0]?.length ?? 1) - 1;
  const y = Float32Array.from(rows, (row) => row[width] ?? Number.NaN);
  const table = {
    features: Array.from({ length: width }, (_, i) => `f${i}`),
    x: Float32Array.from(rows.flatMap((row) => row.slice(0, width))),
    y,
  };
  return checkData(table, 'y', splitRows(y, split));
}

const check = (of: DataReport, name: string) => of.checks.find((one) => one.name === name);

/** Two features that know little of the label, every row different. */
const good = Array.from({ length: 600 }, (_, i) => [i * 0.37, (i * 7919) % 601, i % 2]);

describe('the report on a data set', () => {
  test('passes on good data, and every check has run', async () => {
    const of = await report(good);
    expect(of.passed).toBe(true);
    expect(of.checks.filter((one) => !one.passed)).toEqual([]);
    expect(of.checks.map((one) => one.name)).toEqual([
      'schema',
      'missing_values',
      'constant_columns',
      'duplicate_rows',
      'conflicting_labels',
      'train_test_overlap',
      'label_balance',
      'rows_per_class',
      'predictive_feature',
    ]);
  });

  test('profiles every column, the label last', async () => {
    const of = await report([
      [1, 0, 0],
      [2, 0, 1],
      [Number.NaN, 0, 1],
      [4, 0, 1],
    ]);
    expect(of.columns).toEqual([
      { name: 'f0', missing: 1, min: 1, max: 4, mean: 7 / 3, distinct: 3 },
      { name: 'f1', missing: 0, min: 0, max: 0, mean: 0, distinct: 1 },
      { name: 'y', missing: 0, min: 0, max: 1, mean: 0.75, distinct: 2 },
    ]);
  });

  test('fails on a missing value', async () => {
    const of = await report([...good, [Number.NaN, 3, 0], [1, 2, Number.NaN]]);
    expect(of.passed).toBe(false);
    expect(check(of, 'missing_values')).toMatchObject({ passed: false, severity: 'error', value: 2 });
  });

  test('warns of a constant column and of repeated rows', async () => {
    const of = await report([...good.map(([a = 0, , y = 0]) => [a, 5, y]), [0, 5, 0]]);
    expect(of.passed).toBe(true);
    expect(check(of, 'constant_columns')).toMatchObject({
      passed: false,
      value: 1,
      message: expect.stringContaining('f1'),
    });
    expect(check(of, 'duplicate_rows')).toMatchObject({ passed: false, severity: 'warning', value: 1 });
  });

  test('fails when training rows are also test rows', async () => {
    const of = await report([...good.slice(0, 300), ...good.slice(0, 300)]);
    expect(of.passed).toBe(false);
    expect(check(of, 'train_test_overlap')).toMatchObject({ passed: false, severity: 'error' });
    expect(check(of, 'train_test_overlap')?.value).toBeGreaterThan(0.3);
  });

  test('warns when equal features have different labels', async () => {
    const of = await report([...good, [0, 0, 1]]);
    expect(check(of, 'conflicting_labels')).toMatchObject({ passed: false, severity: 'warning', value: 2 });
  });

  test('warns of a rare label, fails when there is only one', async () => {
    const rare = await report(good.map(([a = 0, b = 0], i) => [a, b, i % 20 === 0 ? 1 : 0]));
    expect(check(rare, 'label_balance')).toMatchObject({ passed: false, severity: 'warning', value: 0.05 });
    expect(rare.passed).toBe(true);
    const single = await report(good.map(([a = 0, b = 0]) => [a, b, 1]));
    expect(check(single, 'label_balance')).toMatchObject({ passed: false, severity: 'error', value: 0 });
    expect(single.passed).toBe(false);
  });

  test('warns of few rows of a label in a split, fails on too few', async () => {
    const few = await report(good.slice(0, 100));
    expect(check(few, 'rows_per_class')).toMatchObject({ passed: false, severity: 'warning' });
    expect(few.passed).toBe(true);
    const tooFew = await report(good.slice(0, 10));
    expect(check(tooFew, 'rows_per_class')).toMatchObject({ passed: false, severity: 'error' });
  });

  test('warns of a feature that gives the label away', async () => {
    const of = await report(good.map(([a = 0, , y = 0], i) => [a, y * 10 + (i % 7), y]));
    expect(check(of, 'predictive_feature')).toMatchObject({
      passed: false,
      value: 1,
      message: expect.stringContaining('f1'),
    });
  });

  test('computes predictive power as |2·AUC − 1| with ties counted half', async () => {
    // scikit-learn: roc_auc_score([0, 0, 1, 1], [1, 2, 2, 3]) = .875
    const of = await report([
      [1, 0],
      [2, 0],
      [2, 1],
      [3, 1],
    ]);
    expect(check(of, 'predictive_feature')?.value).toBe(0.75);
  });
});
