/**
 * A power curve from measured points: rising by isotonic regression (pool adjacent violators; Ayer et al. 1955,
 * Barlow et al. 1972), straight between points, with an error that is tried on points left out.
 */
import { readFileSync } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { CommonwattError } from '../../errors.ts';
import { curveFault, wattsAt } from './curves.ts';
import type { Coverage, PowerCurve } from './meter.ts';

export interface MeasuredPoint {
  /** Part of all CPUs that were busy, 0 to 1. */
  utilisation: number;
  watts: number;
  /** For how long; 1 where nobody tells. */
  seconds: number;
}

/** Two points were seen to be off by 12 to 37 % on average (three measured processors); one cannot try them out. */
const twoPointError = 0.37;
/** A host is calibrated when it was seen nearly idle and nearly full. */
export const endsAt = { low: 0.1, high: 0.9 } as const;
/** Loads so near to each other say nothing of how steep the curve is. */
const sameLoad = 0.02;
/** Loads differ in what they compute, which no calibration with one load can see. */
const smallestError = 0.05;

/**
 * The rising curve with the smallest sum of seconds × (watts − curve)². Example: 10, 30, 20, 40 W at 0, ⅓, ⅔, 1 for
 * equal times → 10, 25, 25, 40 W.
 */
export function isotonic(points: readonly MeasuredPoint[]): PowerCurve {
  const sorted = joined(points, 0);
  const blocks: { sum: number; weight: number; members: number[] }[] = [];
  for (const { utilisation, watts, seconds } of sorted) {
    let block = { sum: watts * seconds, weight: seconds, members: [utilisation] };
    for (
      let before = blocks.at(-1);
      before && before.sum / before.weight >= block.sum / block.weight;
      before = blocks.at(-1)
    ) {
      blocks.pop();
      block = {
        sum: before.sum + block.sum,
        weight: before.weight + block.weight,
        members: [...before.members, ...block.members],
      };
    }
    blocks.push(block);
  }
  return blocks.flatMap(({ sum, weight, members }) =>
    members.map((utilisation) => [utilisation, sum / weight] as const),
  );
}

/** In order of load; loads no further apart than that are one, weighted by time. */
function joined(points: readonly MeasuredPoint[], apart: number): MeasuredPoint[] {
  const result: MeasuredPoint[] = [];
  for (const point of [...points].sort((a, b) => a.utilisation - b.utilisation)) {
    const last = result.at(-1);
    if (!last || point.utilisation - last.utilisation > apart) {
      result.push(point);
      continue;
    }
    const seconds = last.seconds + point.seconds;
    const mean = (a: number, b: number) => (a * last.seconds + b * point.seconds) / seconds;
    result[result.length - 1] = {
      utilisation: mean(last.utilisation, point.utilisation),
      watts: mean(last.watts, point.watts),
      seconds,
    };
  }
  return result;
}

/** The curve over all of 0 to 1: beyond its ends it goes on as steeply as next to them, never below half its lowest. */
export function fitCurve(points: readonly MeasuredPoint[]): PowerCurve {
  const fitted = isotonic(joined(points, sameLoad));
  const [first, second] = fitted;
  const [last, beforeLast] = [fitted.at(-1), fitted.at(-2)];
  if (!first || !second || !last || !beforeLast)
    throw new CommonwattError('INVALID_REQUEST', 'a calibration takes two loads or more', {
      where: 'points',
      hint: 'give the watts when idle and at full load: --watts idle=12,max=55',
    });
  const start = Math.max(first[1] / 2, first[1] - slope(first, second) * first[0]);
  const end = last[1] + slope(beforeLast, last) * (1 - last[0]);
  return [
    ...(first[0] > 0 ? [[0, start] as const] : []),
    ...fitted,
    ...(last[0] < 1 ? [[1, end] as const] : []),
  ];
}

function slope(from: readonly [number, number], to: readonly [number, number]): number {
  return (to[1] - from[1]) / (to[0] - from[0]);
}

/** Σ |predicted − measured| / Σ measured: the error of energy over equal times at each load. */
export function relativeError(
  points: readonly { utilisation: number; watts: number }[],
  predict: (utilisation: number) => number,
): number {
  const off = points.reduce((sum, { utilisation, watts }) => sum + Math.abs(predict(utilisation) - watts), 0);
  return off / points.reduce((sum, { watts }) => sum + watts, 0);
}

/**
 * Each inner point is told from all others, and the errors are summed as `relativeError` does. The ends stay: a
 * calibration always has them. Null: there are none between them.
 */
export function leaveOneOutError(points: readonly MeasuredPoint[]): number | null {
  const sorted = [...points].sort((a, b) => a.utilisation - b.utilisation);
  const inner = sorted.slice(1, -1);
  if (inner.length === 0) return null;
  const told = inner.map((left) =>
    wattsAt(fitCurve(sorted.filter((point) => point !== left)), left.utilisation),
  );
  const off = inner.reduce((sum, { watts }, index) => sum + Math.abs((told[index] ?? 0) - watts), 0);
  return off / inner.reduce((sum, { watts }) => sum + watts, 0);
}

/** What a calibrated estimate states: the tried error and the sensor's own. Ends that were not measured are guesses. */
export function statedError(points: readonly MeasuredPoint[], sensorUncertainty: number): number {
  const measured = points.map(({ utilisation }) => utilisation);
  const whole = Math.min(...measured) <= endsAt.low && Math.max(...measured) >= endsAt.high;
  const inner = leaveOneOutError(points) ?? twoPointError;
  const tried = whole ? inner : Math.max(inner, twoPointError);
  return Math.max(smallestError, tried) + sensorUncertainty;
}

const calibrationShape = z.strictObject({
  /** Raised whenever the fit gives other numbers. */
  version: z.literal(1),
  at: z.string(),
  processor: z.string().nullable(),
  cpuCount: z.number(),
  /** The meter that was read, or `typed`. */
  sensor: z.string(),
  covers: z.enum(['cpu', 'machine', 'wall', 'accelerators']),
  error: z.number().min(0),
  curve: z.array(z.tuple([z.number(), z.number()])),
});

export interface Calibration extends z.infer<typeof calibrationShape> {
  covers: Coverage;
}

const fileName = 'calibration.json';

export async function saveCalibration(dataFolder: string, calibration: Calibration): Promise<string> {
  await mkdir(dataFolder, { recursive: true });
  const file = join(dataFolder, fileName);
  await writeFile(`${file}.new`, `${JSON.stringify(calibration, null, 2)}\n`, { mode: 0o600 });
  await rename(`${file}.new`, file);
  return file;
}

/** Of this host, or why there is none. Throws INVALID_CONFIG for a file that is not one. */
export function readCalibration(
  dataFolder: string,
  host: { processor: string | null; cpuCount: number },
): Calibration | { none: string } {
  const file = join(dataFolder, fileName);
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return { none: 'this host has not been calibrated' };
  }
  const parsed = calibrationShape.safeParse(parseJson(text));
  const fault = parsed.success
    ? curveFault(parsed.data.curve)
    : (parsed.error.issues[0]?.message ?? 'not valid');
  if (!parsed.success || fault !== null)
    throw new CommonwattError('INVALID_CONFIG', `${file} is no calibration: ${fault}`, {
      where: file,
      hint: 'remove it, or calibrate again: commonwatt calibrate',
    });
  const { processor, cpuCount } = parsed.data;
  if (processor !== host.processor || cpuCount !== host.cpuCount)
    return {
      none: `the calibration is of another host (${processor}, ${cpuCount} CPUs): run commonwatt calibrate here`,
    };
  return parsed.data;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
