/** Sums of ledger lines under the names of their columns, so that they go between lines, roll-ups and reports as they are. */
import type { Selectable } from 'kysely';
import type { Schema } from '../../storage/db.ts';
import { Histogram } from './histogram.ts';

export const hourMs = 3_600_000;

const counted = ['entries', 'requests', 'rows', 'reused', 'water_unknown', 'allocated_unknown'] as const;
export const summed = [
  'cpu_s',
  'energy_j',
  'idle_share_j',
  'carbon_g',
  'embodied_g',
  'water_l',
  'avoided_j',
  'avoided_g',
  'allocated_j',
  'allocated_g',
  'allocated_embodied_g',
] as const;
export const sumNames = [...counted, ...summed] as const;
export type Sums = Record<(typeof sumNames)[number], number>;

export type Line = Selectable<Schema['ledger_lines']>;
export type Interval = Selectable<Schema['ledger_intervals']>;

export const noFigures: Readonly<Record<(typeof summed)[number], number>> = {
  cpu_s: 0,
  energy_j: 0,
  idle_share_j: 0,
  carbon_g: 0,
  embodied_g: 0,
  water_l: 0,
  avoided_j: 0,
  avoided_g: 0,
  allocated_j: 0,
  allocated_g: 0,
  allocated_embodied_g: 0,
};

export function emptySums(): Sums {
  return {
    entries: 0,
    requests: 0,
    rows: 0,
    reused: 0,
    water_unknown: 0,
    allocated_unknown: 0,
    ...noFigures,
  };
}

export function addSums(to: Sums, more: Sums): void {
  for (const name of sumNames) to[name] += more[name];
}

/** Everything but `requests`, of `count` lines alike. */
export function addLines(
  to: Sums,
  line: Omit<Line, 'id' | 'interval_id' | 'head' | 'at_ms'>,
  count = 1,
): void {
  to.entries += count;
  to.rows += count * line.rows;
  to.reused += line.avoided_j > 0 ? count : 0;
  to.water_unknown += line.water_l === null ? count : 0;
  to.allocated_unknown += line.allocated_j === null ? count : 0;
  for (const name of summed) to[name] += count * (line[name] ?? 0);
}

/** What one head had in one stretch of time. */
export interface Tally {
  sums: Sums;
  /** Of single inferences, J. */
  histogram: Histogram;
  /** Requests that may have several lines: explanations and evaluations. */
  calls: Set<string>;
}

export function emptyTally(): Tally {
  return { sums: emptySums(), histogram: new Histogram(), calls: new Set() };
}

export function isCall(kind: string): boolean {
  return kind === 'explanation' || kind === 'evaluation';
}

/** Lines of what makes many model calls are `request~interval`, one in each interval. */
export function requestOfLine(id: string): string {
  return id.split('~', 1)[0] ?? id;
}

export function hourOf(ms: number): number {
  return Math.floor(ms / hourMs);
}
