/**
 * What stands in for "feature unknown": a small sample of the rows the version was trained on, or zeros where
 * they are not known. Background rows are private to the owner of the data: only means over them leave.
 */
import type { LoadedDataset } from '../datasets/datasets.ts';
import { seededRandom, shuffle } from '../quality/seeded.ts';

export interface Background {
  /** Row-major, rows × features. */
  x: Float32Array;
  rows: number;
  /** Said with every explanation: `training sample of 20 rows` or `zeros`. */
  description: string;
}

/** Twenty rows: with 100 features that is at most 4,000 model rows for one pair of passes. */
const backgroundRowsByDefault = 20;

/**
 * A sample without replacement of the training split, the same for the same seed.
 * Falls back to zeros when the split has no rows or the features do not fit the model.
 */
export function trainingBackground(
  dataset: LoadedDataset,
  features: number,
  { rows = backgroundRowsByDefault, seed = 42 }: { rows?: number; seed?: number } = {},
): Background {
  const width = dataset.record.features.length;
  const candidates = Uint32Array.from(dataset.split.train);
  if (candidates.length === 0 || width !== features) return zeroBackground(features);
  shuffle(candidates, seededRandom(seed));
  const chosen = candidates.subarray(0, rows);
  const x = new Float32Array(chosen.length * width);
  chosen.forEach((row, place) => {
    x.set(dataset.x.subarray(row * width, (row + 1) * width), place * width);
  });
  return { x, rows: chosen.length, description: `training sample of ${chosen.length} rows` };
}

export function zeroBackground(features: number): Background {
  return { x: new Float32Array(features), rows: 1, description: 'zeros' };
}
