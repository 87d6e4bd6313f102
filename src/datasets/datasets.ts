/**
 * The datasets room: data that models are trained and judged on; encrypted at rest like models.
 *
 * In: CSV with a header. Out: a profiled, checked, split data set. Promise: the same bytes and seed give the
 * same split, and nothing trains on data whose checks failed.
 */
export interface DatasetSplit {
  seed: number;
  train: number;
  validation: number;
  test: number;
}

export type SplitName = 'train' | 'validation' | 'test';

export interface DataCheck {
  name: string;
  passed: boolean;
  severity: 'error' | 'warning';
  message: string;
  value: number | null;
}

export interface ColumnProfile {
  name: string;
  missing: number;
  min: number | null;
  max: number | null;
  mean: number | null;
  distinct: number;
}

export interface DataReport {
  /** False when a check of severity `error` failed. */
  passed: boolean;
  checks: DataCheck[];
  columns: ColumnProfile[];
}

export interface DatasetRecord {
  id: string;
  organisationId: string;
  name: string;
  rows: number;
  label: string;
  features: string[];
  split: DatasetSplit & { rows: Record<SplitName, number> };
  report: DataReport;
  sha256: string;
  createdAt: string;
  createdBy: string;
}

/** A data set in memory. `x` is row-major, rows × features; split lists row indices. */
export interface LoadedDataset {
  record: DatasetRecord;
  x: Float32Array;
  y: Float32Array;
  split: Record<SplitName, Uint32Array>;
}

/** What training, evaluation and explanation need of this room. */
export interface DatasetReader {
  /** Throws NOT_FOUND. */
  load(organisationId: string, nameOrId: string): Promise<LoadedDataset>;
}
