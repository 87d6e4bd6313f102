/** Train, validation and test: disjoint, complete, stratified by label, and the same for the same rows and seed. */
import { CommonwattError } from '../errors.ts';
import { seededRandom, shuffle } from '../quality/seeded.ts';
import type { DatasetSplit, SplitName } from './datasets.ts';

export const splitNames = ['train', 'validation', 'test'] as const satisfies readonly SplitName[];

export const defaultSplit: DatasetSplit = { seed: 42, train: 0.7, validation: 0.15, test: 0.15 };

/** Throws INVALID_DATASET when the fractions do not sum to 1 (to 1e-9) or the seed is not a whole number. */
export function checkSplit(split: DatasetSplit): DatasetSplit {
  for (const name of splitNames) {
    const fraction = split[name];
    if (!(fraction > 0 && fraction < 1))
      throw invalid(
        `the ${name} fraction is ${fraction}`,
        name,
        'each fraction is above 0 and below 1, e.g. 0.15',
      );
  }
  const sum = split.train + split.validation + split.test;
  if (Math.abs(sum - 1) > 1e-9)
    throw invalid(
      `the fractions of train, validation and test sum to ${Number(sum.toFixed(9))}`,
      'train, validation, test',
      'they must sum to 1, e.g. train=0.7, validation=0.15, test=0.15',
    );
  if (!Number.isSafeInteger(split.seed) || split.seed < 0)
    throw invalid(
      `the seed ${split.seed} is not a whole number`,
      'seed',
      'use a whole number of at least 0, e.g. 42',
    );
  return { seed: split.seed, train: split.train, validation: split.validation, test: split.test };
}

/**
 * Row indices of each split, ascending. The rows of each label are shuffled (Fisher–Yates) and cut at the rounded
 * cumulative fractions, so that each split's share of a label differs from the fraction by at most one row.
 * Rows without a label are a class of their own.
 */
export function splitRows(labels: Float32Array, split: DatasetSplit): Record<SplitName, Uint32Array> {
  const random = seededRandom(split.seed);
  const parts: Record<SplitName, number[]> = { train: [], validation: [], test: [] };
  for (const label of [0, 1, Number.NaN]) {
    const rows: number[] = [];
    labels.forEach((value, row) => {
      if (Object.is(value, label)) rows.push(row);
    });
    const order = Uint32Array.from(rows);
    shuffle(order, random);
    const trainEnd = Math.round(order.length * split.train);
    const validationEnd = Math.round(order.length * (split.train + split.validation));
    order.forEach((row, place) => {
      parts[place < trainEnd ? 'train' : place < validationEnd ? 'validation' : 'test'].push(row);
    });
  }
  return {
    train: Uint32Array.from(parts.train).sort(),
    validation: Uint32Array.from(parts.validation).sort(),
    test: Uint32Array.from(parts.test).sort(),
  };
}

function invalid(message: string, where: string, hint: string): CommonwattError {
  return new CommonwattError('INVALID_DATASET', message, { where, hint });
}
