/** Measures a host at several loads, for a calibration: how busy its CPUs really were, and what the meter told. */
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { CommonwattError } from '../../errors.ts';
import type { HostCpu } from '../host.ts';
import type { MeasuredPoint } from './calibration.ts';
import type { Meter } from './meter.ts';

export const loads = [0, 0.25, 0.5, 0.75, 1] as const;

/** A TypeScript thread cannot be started on Node 20: from the sources (tests), the built one is used. */
const thread = fileURLToPath(
  import.meta.url.endsWith('.ts')
    ? new URL('../../../dist/energy/meters/load-thread.js', import.meta.url)
    : new URL('./load-thread.js', import.meta.url),
);

export interface MeasureOptions {
  meter: Meter;
  /** Read at the same time, to compare; e.g. RAPL beside a plug. */
  beside?: Meter | undefined;
  cpu: () => HostCpu;
  /** For each load. */
  seconds: number;
  progress?: (load: number, step: number) => void;
  /** Tests have a host whose time passes at once. */
  pause?: (ms: number) => Promise<unknown>;
  clock?: () => number;
  startLoad?: (load: number, cpuCount: number) => () => Promise<void>;
}

export interface LoadPoint extends MeasuredPoint {
  /** What the load was to be. */
  load: number;
  /** The other meter's, W; null: it told nothing. */
  besideW: number | null;
}

/** Before a load is measured: clocks and fans settle, and sensors that average forget what was before. */
const settleS = 5;
const longestWaitS = 90;

/** Part of all CPUs that are busy without us, over some seconds. */
export async function quietness(
  cpu: () => HostCpu,
  {
    seconds = 3,
    pause = sleep,
    clock = () => performance.now() / 1000,
  }: Partial<Pick<MeasureOptions, 'seconds' | 'pause' | 'clock'>> = {},
): Promise<number> {
  const [before, began] = [cpu(), clock()];
  await pause(seconds * 1000);
  const after = cpu();
  return (after.busyS - before.busyS) / (after.count * (clock() - began));
}

/** Throws NOT_READY when the meter falls silent. */
export async function measureLoads(options: MeasureOptions): Promise<LoadPoint[]> {
  const { cpu, startLoad = startThreads, progress } = options;
  await firstReading(options);
  const points: LoadPoint[] = [];
  for (const [step, load] of loads.entries()) {
    progress?.(load, step);
    const end = startLoad(load, cpu().count);
    try {
      points.push(await measureLoad(options, load));
    } finally {
      await end();
    }
  }
  return points;
}

async function firstReading({ meter, pause = sleep }: MeasureOptions): Promise<void> {
  let reading = meter.read();
  for (let waited = 0; waited < longestWaitS; waited++) {
    await pause(1000);
    reading = meter.read();
    if ('energyJ' in reading) return;
  }
  throw silent(reading);
}

/** Second by second: those without a sample count for nothing. */
async function measureLoad(options: MeasureOptions, load: number): Promise<LoadPoint> {
  const { meter, beside, cpu, seconds, pause = sleep, clock = () => performance.now() / 1000 } = options;
  await pause(settleS * 1000);
  let reading = meter.read();
  beside?.read();
  const sum = { energyJ: 0, busyS: 0, seconds: 0, besideJ: 0, besideS: 0 };
  let [busyS, at] = [cpu().busyS as number, clock()];
  const { count } = cpu();
  for (let second = 0; second < seconds; second++) {
    await pause(1000);
    reading = meter.read();
    const other = beside?.read();
    const [nowBusyS, now] = [cpu().busyS as number, clock()];
    if ('energyJ' in reading) {
      sum.energyJ += reading.energyJ;
      sum.busyS += nowBusyS - busyS;
      sum.seconds += now - at;
    }
    if (other && 'energyJ' in other) {
      sum.besideJ += other.energyJ;
      sum.besideS += now - at;
    }
    [busyS, at] = [nowBusyS, now];
  }
  if (sum.seconds < seconds / 2) throw silent(reading);
  return {
    load,
    utilisation: Math.min(1, Math.max(0, sum.busyS / (count * sum.seconds))),
    watts: sum.energyJ / sum.seconds,
    seconds: sum.seconds,
    besideW: sum.besideS > 0 ? sum.besideJ / sum.besideS : null,
  };
}

function silent(reading: ReturnType<Meter['read']>): CommonwattError {
  const why = 'missing' in reading ? reading.missing : 'too few samples';
  return new CommonwattError('NOT_READY', `the meter gives no samples: ${why}`, {
    hint: 'look at it with commonwatt doctor, or type what a plug shows: --watts idle=12,max=55',
  });
}

/** Whole CPUs as far as they go, and one for the rest of the load. */
function startThreads(load: number, cpuCount: number): () => Promise<void> {
  const wanted = load * cpuCount;
  const duties = Array.from({ length: Math.ceil(wanted) }, (_, index) => Math.min(1, wanted - index));
  const workers = duties.map((duty) => new Worker(thread, { workerData: { duty } }));
  return async () => {
    await Promise.all(workers.map((worker) => worker.terminate()));
  };
}
