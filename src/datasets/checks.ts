/**
 * What a data set is examined for before anything trains on it. Pure calculations over the table and its split;
 * thresholds are below. Every check runs on every data set, and says so.
 */
import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import type { Table } from './csv.ts';
import type { ColumnProfile, DataCheck, DataReport, SplitName } from './datasets.ts';

/**
 * Share of validation or test rows that may also be training rows. A model that only remembers gains at most
 * this share of accuracy; data with few distinct values repeats itself by chance, so it is not 0.
 */
const maxOverlap = 0.01;
/** Below this share of rows the rarer label is called rare. */
const minLabelShare = 0.1;
/** A single feature that separates the labels this well (|2·AUC − 1|) probably gives the answer away. */
const maxPredictivePower = 0.8;
/** Rows of each label in each split: fewer than 2 cannot be judged, fewer than 30 give wide intervals. */
const rowsPerClass = { needed: 2, wanted: 30 };

export async function checkData(
  table: Table,
  label: string,
  split: Record<SplitName, Uint32Array>,
): Promise<DataReport> {
  const columns: (ColumnProfile & { power: number | null })[] = [];
  for (let column = 0; column < table.features.length; column++) {
    columns.push(profile(table, column));
    await setImmediate(); // others get their turn between columns of a large table
  }
  const keys = rowKeys(table);
  const checks = [
    schema(table, label),
    missingValues(table),
    constantColumns(columns),
    duplicateRows(table, keys),
    conflictingLabels(table, keys),
    overlap(keys, split),
    labelBalance(table),
    classesInSplits(table, split),
    predictiveFeatures(columns),
  ];
  return {
    passed: checks.every((check) => check.passed || check.severity === 'warning'),
    checks,
    columns: [...columns.map(({ power: _, ...rest }) => rest), labelProfile(table, label)],
  };
}

function schema(table: Table, label: string): DataCheck {
  const { length } = table.features;
  return {
    name: 'schema',
    passed: true,
    severity: 'error',
    message: `${table.y.length} rows, ${length} numeric feature${length === 1 ? '' : 's'}, binary label ${label}`,
    value: length,
  };
}

function missingValues(table: Table): DataCheck {
  const value = count(table.x, Number.isNaN) + count(table.y, Number.isNaN);
  return {
    name: 'missing_values',
    passed: value === 0,
    severity: 'error',
    message: value === 0 ? 'no value is missing' : `${value} values are missing`,
    value,
  };
}

function constantColumns(columns: ColumnProfile[]): DataCheck {
  const constant = columns.filter((column) => column.distinct <= 1).map((column) => column.name);
  return {
    name: 'constant_columns',
    passed: constant.length === 0,
    severity: 'warning',
    message:
      constant.length === 0 ? 'every column varies' : `always the same value, so useless: ${some(constant)}`,
    value: constant.length,
  };
}

function duplicateRows(table: Table, keys: string[]): DataCheck {
  const distinct = new Set(keys.map((key, row) => `${key}${table.y[row]}`)).size;
  const value = keys.length - distinct;
  return {
    name: 'duplicate_rows',
    passed: value === 0,
    severity: 'warning',
    message: value === 0 ? 'no row is repeated' : `${value} rows repeat an earlier row, label included`,
    value,
  };
}

function conflictingLabels(table: Table, keys: string[]): DataCheck {
  const first = new Map<string, number>();
  const conflicting = new Set<string>();
  keys.forEach((key, row) => {
    const label = table.y[row] ?? Number.NaN;
    const earlier = first.get(key);
    if (earlier === undefined) first.set(key, label);
    else if (!Object.is(earlier, label)) conflicting.add(key);
  });
  const value = keys.filter((key) => conflicting.has(key)).length;
  return {
    name: 'conflicting_labels',
    passed: value === 0,
    severity: 'warning',
    message:
      value === 0
        ? 'equal rows have equal labels'
        : `${value} rows have the same features but different labels`,
    value,
  };
}

function overlap(keys: string[], split: Record<SplitName, Uint32Array>): DataCheck {
  const trained = new Set(Array.from(split.train, (row) => keys[row]));
  const held = ([split.validation, split.test] as const).map((rows) => {
    const shared = Array.from(rows).filter((row) => trained.has(keys[row])).length;
    return { shared, share: rows.length === 0 ? 0 : shared / rows.length };
  });
  const shared = held.reduce((sum, part) => sum + part.shared, 0);
  const value = Math.max(...held.map((part) => part.share));
  return {
    name: 'train_test_overlap',
    passed: value <= maxOverlap,
    severity: 'error',
    message:
      shared === 0
        ? 'no validation or test row is a training row'
        : `${shared} validation or test rows are also training rows (${percent(value)} of a split, at most ${percent(maxOverlap)} may be)`,
    value,
  };
}

function labelBalance(table: Table): DataCheck {
  const ones = count(table.y, (label) => label === 1);
  const zeros = count(table.y, (label) => label === 0);
  const value = ones + zeros === 0 ? 0 : Math.min(ones, zeros) / (ones + zeros);
  return {
    name: 'label_balance',
    passed: value >= minLabelShare,
    severity: value === 0 ? 'error' : 'warning',
    message:
      value === 0
        ? `every label is ${ones > 0 ? 1 : 0}: there is nothing to learn`
        : `${zeros} rows are labelled 0 and ${ones} are labelled 1 (the rarer is ${percent(value)})`,
    value,
  };
}

function classesInSplits(table: Table, split: Record<SplitName, Uint32Array>): DataCheck {
  let value = Number.POSITIVE_INFINITY;
  let fewest = '';
  for (const name of ['train', 'validation', 'test'] as const)
    for (const label of [0, 1]) {
      const rows = count(split[name], (row) => table.y[row] === label);
      if (rows >= value) continue;
      value = rows;
      fewest = `the ${name} split has ${rows} row${rows === 1 ? '' : 's'} labelled ${label}`;
    }
  const needed = `at least ${rowsPerClass.needed} are needed and ${rowsPerClass.wanted} wanted`;
  return {
    name: 'rows_per_class',
    passed: value >= rowsPerClass.wanted,
    severity: value < rowsPerClass.needed ? 'error' : 'warning',
    message:
      value >= rowsPerClass.wanted
        ? `at least ${value} rows of each label in each split`
        : `${fewest}; ${needed}`,
    value,
  };
}

function predictiveFeatures(columns: { name: string; power: number | null }[]): DataCheck {
  const value = Math.max(0, ...columns.map((column) => column.power ?? 0));
  const leaking = columns.filter((column) => (column.power ?? 0) > maxPredictivePower);
  return {
    name: 'predictive_feature',
    passed: leaking.length === 0,
    severity: 'warning',
    message:
      leaking.length === 0
        ? `no feature alone gives the label away (highest |2·AUC − 1| is ${value.toFixed(2)})`
        : `alone nearly enough to tell the label, perhaps a leak: ${some(leaking.map((column) => column.name))}`,
    value,
  };
}

/**
 * Profile of one feature, and its predictive power |2·AUC − 1| (Somers' D between feature and label): 0 for a
 * feature that knows nothing of the label, 1 for one that separates both labels. AUC = U / (n₀·n₁) with U the
 * Mann–Whitney statistic, ties counted half. Null when a label has no value of this feature.
 * Example: label 0 has 1, 2 and label 1 has 2, 3: U = 3.5 of 4, AUC = .875, power = .75.
 */
function profile(table: Table, column: number): ColumnProfile & { power: number | null } {
  const width = table.features.length;
  const values: number[][] = [[], []];
  const unlabelled: number[] = [];
  for (let row = 0; row < table.y.length; row++) {
    const value = table.x[row * width + column] ?? Number.NaN;
    if (!Number.isNaN(value)) (values[table.y[row] ?? -1] ?? unlabelled).push(value);
  }
  // Typed arrays sort numerically without a comparison function.
  const zeros = Float32Array.from(values[0] ?? []).sort();
  const ones = Float32Array.from(values[1] ?? []).sort();
  const all = Float32Array.from([...zeros, ...ones, ...unlabelled]).sort();
  return {
    name: table.features[column] ?? '',
    missing: table.y.length - all.length,
    ...spread(all),
    power: zeros.length === 0 || ones.length === 0 ? null : Math.abs(2 * auc(zeros, ones) - 1),
  };
}

function labelProfile(table: Table, name: string): ColumnProfile {
  const known = table.y.filter((label) => !Number.isNaN(label)).sort();
  return { name, missing: table.y.length - known.length, ...spread(known) };
}

function spread(sorted: Float32Array): Pick<ColumnProfile, 'min' | 'max' | 'mean' | 'distinct'> {
  let sum = 0;
  let distinct = 0;
  sorted.forEach((value, i) => {
    sum += value;
    if (i === 0 || value !== sorted[i - 1]) distinct++;
  });
  const known = sorted.length > 0;
  return {
    min: sorted[0] ?? null,
    max: sorted.at(-1) ?? null,
    mean: known ? sum / sorted.length : null,
    distinct,
  };
}

/** Probability that a value of `ones` is above one of `zeros`, ties half; both sorted. */
function auc(zeros: Float32Array, ones: Float32Array): number {
  let below = 0;
  let notAbove = 0;
  let u = 0;
  for (const value of ones) {
    while (below < zeros.length && (zeros[below] ?? 0) < value) below++;
    while (notAbove < zeros.length && (zeros[notAbove] ?? 0) <= value) notAbove++;
    u += (below + notAbove) / 2;
  }
  return u / (zeros.length * ones.length);
}

/** Equal features, equal key: a hash of the row's bytes, so that keys stay short however wide the row. */
function rowKeys(table: Table): string[] {
  const width = table.features.length * 4;
  const bytes = new Uint8Array(table.x.buffer, table.x.byteOffset, table.x.byteLength);
  return Array.from(table.y, (_, row) =>
    createHash('sha256')
      .update(bytes.subarray(row * width, (row + 1) * width))
      .digest('base64'),
  );
}

function count(values: Float32Array | Uint32Array, matches: (value: number) => boolean): number {
  let n = 0;
  for (const value of values) if (matches(value)) n++;
  return n;
}

function some(names: string[]): string {
  return names.length > 10
    ? `${names.slice(0, 10).join(', ')} and ${names.length - 10} more`
    : names.join(', ');
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}
