/**
 * How latency grows with use, and up to which use an objective is kept. A queue's p95 is modelled as p95(u) = α + β ·
 * u/(1 − u): a request's own time and its wait (Pollaczek and Khinchine: the mean wait grows with u/(1 − u)).
 * Calibrated by what was observed: with windows of different use by least squares, with one kind of window as M/M/1,
 * where α = β = p95 · (1 − u). An estimate either way. Pure.
 */
import { linearRegression } from 'simple-statistics';

/** What one model's requests waited in a stretch of time. */
export interface LatencyWindow {
  /** Of all CPUs, whoever used them. */
  utilisation: number;
  p95Ms: number;
  requests: number;
}

export interface LatencyModel {
  ownMs: number;
  waitMs: number;
  method: 'fitted to windows of different use' | 'M/M/1 at the use that was observed';
}

/** Use must differ so much between windows for a fit. */
const leastSpread = 0.1;

/** Null without any window. Example: p95 20 ms at u = .5 → α = β = 10 ms, so 40 ms at .75. */
export function latencyModel(windows: readonly LatencyWindow[]): LatencyModel | null {
  const usable = windows.filter(({ utilisation, requests }) => requests > 0 && utilisation < 0.99);
  if (usable.length === 0) return null;
  const uses = usable.map(({ utilisation }) => utilisation);
  if (usable.length >= 3 && Math.max(...uses) - Math.min(...uses) >= leastSpread) {
    const { m, b } = linearRegression(usable.map(({ utilisation, p95Ms }) => [odds(utilisation), p95Ms]));
    if (m > 0 && b > 0) return { ownMs: b, waitMs: m, method: 'fitted to windows of different use' };
  }
  const count = usable.reduce((sum, { requests }) => sum + requests, 0);
  const ownMs =
    usable.reduce((sum, window) => sum + window.p95Ms * (1 - window.utilisation) * window.requests, 0) /
    count;
  return { ownMs, waitMs: ownMs, method: 'M/M/1 at the use that was observed' };
}

export function p95At({ ownMs, waitMs }: LatencyModel, utilisation: number): number {
  return ownMs + waitMs * odds(utilisation);
}

/** The largest use whose p95 is within the objective; 0: not even without any other request. */
export function safeUse({ ownMs, waitMs }: LatencyModel, objectiveMs: number): number {
  const spare = objectiveMs - ownMs;
  return spare <= 0 ? 0 : spare / (spare + waitMs);
}

const odds = (u: number) => u / (1 - u);

/** 95th percentile of a histogram, straight within a bucket; null: nothing was counted, Infinity: beyond all bounds. */
export function p95Of(counts: readonly number[], boundsS: readonly number[]): number | null {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total === 0) return null;
  let before = 0;
  for (const [at, count] of counts.entries()) {
    if (before + count < 0.95 * total) {
      before += count;
      continue;
    }
    const [low, high] = [at === 0 ? 0 : (boundsS[at - 1] ?? 0), boundsS[at]];
    if (high === undefined) return Number.POSITIVE_INFINITY;
    return (low + ((high - low) * (0.95 * total - before)) / count) * 1000;
  }
  return null;
}

/** A model's latencies since the start, as the serve room keeps them. */
interface LatencyReading {
  model: string;
  /** p95 that its deployment promises; null: none. */
  objectiveMs: number | null;
  /** How many took up to each bound, and, last, longer. */
  counts: readonly number[];
}

export type LatencySource = () => { boundsS: readonly number[]; models: readonly LatencyReading[] };

export interface WatchedModel {
  model: string;
  objectiveMs: number | null;
  windows: readonly LatencyWindow[];
}

const windowS = 60;
const windowsKept = 120;
const leastRequests = 20;

/** Gathers windows of a minute while the server runs: use from the meter's intervals, latencies from the serve room. */
export class LatencyWatch {
  readonly #read: LatencySource;
  readonly #models = new Map<
    string,
    { objectiveMs: number | null; counts: readonly number[]; windows: LatencyWindow[] }
  >();
  #suppliedS = 0;
  #busyS = 0;
  #lengthS = 0;

  constructor(read: LatencySource) {
    this.#read = read;
  }

  interval(durationS: number, busyS: number, suppliedS: number): void {
    this.#lengthS += durationS;
    this.#busyS += busyS;
    this.#suppliedS += suppliedS;
    if (this.#lengthS >= windowS) this.#close();
  }

  /** Models with an objective or with requests. What is left of the last minute counts when there is nothing else yet. */
  models(): WatchedModel[] {
    if (this.#lengthS > 0 && [...this.#models.values()].every(({ windows }) => windows.length === 0))
      this.#close();
    return [...this.#models].map(([model, { objectiveMs, windows }]) => ({
      model,
      objectiveMs,
      windows: [...windows],
    }));
  }

  #close(): void {
    const utilisation = this.#suppliedS > 0 ? Math.min(1, this.#busyS / this.#suppliedS) : 0;
    [this.#lengthS, this.#busyS, this.#suppliedS] = [0, 0, 0];
    const { boundsS, models } = this.#read();
    for (const { model, objectiveMs, counts } of models) {
      const known = this.#models.get(model);
      // A deployment that was taken back and made again counts from 0.
      const fresh = counts.map((count, at) => count - (known?.counts[at] ?? 0));
      const own = fresh.some((count) => count < 0) ? counts : fresh;
      const requests = own.reduce((sum, count) => sum + count, 0);
      if (requests === 0 && objectiveMs === null && !known) continue;
      const p95Ms = requests >= leastRequests ? p95Of(own, boundsS) : null;
      const windows = known?.windows ?? [];
      if (p95Ms !== null && Number.isFinite(p95Ms)) windows.push({ utilisation, p95Ms, requests });
      if (windows.length > windowsKept) windows.shift();
      this.#models.set(model, { objectiveMs, counts: [...counts], windows });
    }
    const served = new Set(models.map(({ model }) => model));
    for (const model of this.#models.keys()) if (!served.has(model)) this.#models.delete(model);
  }
}
