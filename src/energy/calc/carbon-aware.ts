/** When to run what can wait. Pure: intensities in equal steps from now to the deadline. */

/**
 * Start = argmin of the mean over the job's length (Let's Wait Awhile, Wiesner 2021). Of equals the earliest.
 * Example: [5, 1, 1, 9], two steps → step 1, mean 1.
 */
export function bestStart(gPerKwh: readonly number[], steps: number): { start: number; mean: number } {
  let sum = 0;
  for (let step = 0; step < steps; step++) sum += gPerKwh[step] ?? Number.NaN;
  let best = { start: 0, mean: sum / steps };
  for (let start = 1; start + steps <= gPerKwh.length; start++) {
    sum += (gPerKwh[start + steps - 1] ?? Number.NaN) - (gPerKwh[start - 1] ?? Number.NaN);
    // Rounding of the running sum must not make a later start look better.
    if (sum / steps < best.mean - 1e-9) best = { start, mean: sum / steps };
  }
  return best;
}

export interface Interruptible {
  gPerKwh: readonly number[];
  steps: number;
  /** Once begun it runs at least so long (or to its end). */
  minRunSteps: number;
  /** Energy of one interruption, checkpoint and restart, in steps of running. */
  interruptionSteps: number;
}

export interface Runs {
  /** Which steps it runs in. */
  chosen: number[];
  interruptions: number;
  /** Σ of intensities, interruptions included, per step of work. */
  mean: number;
}

/**
 * The set of steps with the least carbon in which each run is long enough; exact, by dynamic programming. What an
 * interruption costs is used when it goes on, at the intensity of that time.
 * Example: [9, 1, 9, 1], two steps, no cost → steps 1 and 3, mean 1.
 */
export function bestRuns({ gPerKwh, steps, minRunSteps, interruptionSteps }: Interruptible): Runs {
  const longest = Math.max(1, minRunSteps);
  // By work done and length of the run (0: paused, `longest`: may pause).
  const width = longest + 1;
  let costs = new Float64Array((steps + 1) * width).fill(Number.POSITIVE_INFINITY);
  costs[0] = 0;
  const came: Int32Array[] = [];
  for (const intensity of gPerKwh) {
    const next = new Float64Array(costs.length).fill(Number.POSITIVE_INFINITY);
    const from = new Int32Array(costs.length).fill(-1);
    const reach = (to: number, cost: number, state: number) => {
      if (cost >= (next[to] ?? 0)) return;
      next[to] = cost;
      from[to] = state;
    };
    for (let state = 0; state < costs.length; state++) {
      const cost = costs[state] ?? Number.POSITIVE_INFINITY;
      if (cost === Number.POSITIVE_INFINITY) continue;
      const done = Math.floor(state / width);
      const run = state % width;
      if (run === 0 || run === longest || done === steps) reach(done * width, cost, state);
      if (done === steps) continue;
      const restart = run === 0 && done > 0 ? interruptionSteps : 0;
      reach((done + 1) * width + Math.min(longest, run + 1), cost + intensity * (1 + restart), state);
    }
    costs = next;
    came.push(from);
  }
  return traced(costs, came, steps, width);
}

function traced(costs: Float64Array, came: readonly Int32Array[], steps: number, width: number): Runs {
  let state = steps * width;
  for (let run = 1; run < width; run++)
    if ((costs[steps * width + run] ?? 0) < (costs[state] ?? 0)) state = steps * width + run;
  const cost = costs[state] ?? Number.POSITIVE_INFINITY;
  const chosen: number[] = [];
  for (let step = came.length - 1; step >= 0; step--) {
    const before = came[step]?.[state] ?? 0;
    if (Math.floor(before / width) < Math.floor(state / width)) chosen.unshift(step);
    state = before;
  }
  const interruptions = chosen.filter(
    (step, index) => index > 0 && step !== (chosen[index - 1] ?? 0) + 1,
  ).length;
  return { chosen, interruptions, mean: cost / steps };
}

export interface Elastic {
  gPerKwh: readonly number[];
  stepHours: number;
  /** Units of work to be done. */
  work: number;
  /** What the first, second, … replica adds: units per hour and watts. */
  replicas: readonly { unitsPerHour: number; watts: number }[];
}

export interface Scale {
  /** Replicas in each step; a part: the last one runs for that part of the step. */
  replicas: number[];
  done: number;
  energyKwh: number;
  carbonG: number;
}

/**
 * CarbonScaler (arXiv 2302.08681): (step, replica) by marginal throughput / (marginal power · I), replica j only after
 * j − 1, until the work is done; the last one is trimmed (the published loop does up to 10 % too much).
 * Example: [400, 100], 1 h steps, 3 units, replicas of 2 and 1 unit/h at 100 W → both replicas in step 1.
 */
export function scaleOut({ gPerKwh, stepHours, work, replicas }: Elastic): Scale {
  const counts: number[] = gPerKwh.map(() => 0);
  let left = work;
  let energyKwh = 0;
  let carbonG = 0;
  const most = gPerKwh.length * replicas.length;
  for (let taken = 0; taken < most && left > 0; taken++) {
    const step = mostForItsCarbon(gPerKwh, counts, replicas);
    const replica = replicas[counts[step] ?? 0];
    if (!replica) break;
    const units = replica.unitsPerHour * stepHours;
    const part = Math.min(1, left / units);
    const kwh = (replica.watts * stepHours * part) / 1000;
    counts[step] = (counts[step] ?? 0) + part;
    left -= units * part;
    energyKwh += kwh;
    carbonG += kwh * (gPerKwh[step] ?? 0);
    if (part < 1) break;
  }
  return { replicas: counts, done: work - Math.max(0, left), energyKwh, carbonG };
}

/** The step whose next replica does most work for its carbon; of equals the earliest. */
function mostForItsCarbon(
  gPerKwh: readonly number[],
  counts: readonly number[],
  replicas: Elastic['replicas'],
): number {
  let best = -1;
  let bestRank = Number.NEGATIVE_INFINITY;
  for (const [step, intensity] of gPerKwh.entries()) {
    const replica = replicas[counts[step] ?? 0];
    if (!replica) continue;
    const carbon = replica.watts * intensity;
    const rank = carbon > 0 ? replica.unitsPerHour / carbon : Number.MAX_VALUE;
    if (rank <= bestRank) continue;
    best = step;
    bestRank = rank;
  }
  return best;
}
