/**
 * What everyone's own instances would use, from how the shared one behaves. Pure. Of intervals of about a second:
 *
 *   CPU·s = standing · Δt + perActive · [there were requests] + perRequest · requests
 *
 * Work that is done once for all requests of a moment (waking, batches, booking) is `perActive`: who is alone pays it
 * alone. Own_i = standing · T + perActive · (intervals with requests of i) + perRequest · (requests of i). The
 * interval has the fit's own error (bootstrap), the error it makes where it was not fitted (the quiet half of the
 * intervals, predicted from the busy half), and at least 10 %: the same work never costs quite the same twice.
 */
import { linearRegression, quantile, standardDeviation } from 'simple-statistics';
import { seededRandom } from './counterfactual.ts';

/** A metered interval. */
export interface ServingInterval {
  durationS: number;
  /** CPU·s of everything that serves: requests, the gateway's and the runners' own. */
  servingS: number;
  /** By organisation. */
  tenants: ReadonlyMap<string, { requests: number; cpuS: number }>;
}

export interface ServingModel {
  /** CPU·s per second without any request. */
  standing: number;
  perActiveS: number;
  perRequestS: number;
  /** Relative standard deviation of what it predicts. */
  spread: number;
  intervals: number;
}

const leastIntervals = 8;
const leastSpread = 0.1;
const draws = 200;
/** Shorter ones without requests are tails of work: settling, reports. */
const quietFromS = 5;

/** Null: too few intervals with requests to tell. */
export function servingModel(intervals: readonly ServingInterval[]): ServingModel | null {
  const standing = standingOf(intervals);
  const points = intervals.flatMap(({ durationS, servingS, tenants }): Point[] => {
    const requests = total([...tenants.values()].map((tenant) => tenant.requests));
    return requests > 0 ? [{ requests, cpuS: Math.max(0, servingS - standing * durationS) }] : [];
  });
  if (points.length < leastIntervals) return null;
  const fit = fitted(points);
  const random = seededRandom(7);
  const again = Array.from({ length: draws }, () =>
    fitted(points.map(() => points[Math.floor(random() * points.length)] ?? { requests: 0, cpuS: 0 })),
  );
  // What a typical tenant's interval would cost, a half of a typical interval's requests.
  const typical =
    quantile(
      points.map(({ requests }) => requests),
      0.5,
    ) / 2;
  const at = ({ perActiveS, perRequestS }: Costs) => perActiveS + perRequestS * typical;
  const ofFit = at(fit) > 0 ? standardDeviation(again.map(at)) / at(fit) : 1;
  const spread = Math.hypot(ofFit, transferError(points), leastSpread);
  return { standing, ...fit, spread, intervals: points.length };
}

/** CPU time of an organisation alone ÷ what was booked on it here; 1 where nothing is known of it. */
export function alone(
  model: ServingModel,
  intervals: readonly ServingInterval[],
  organisationId: string,
): number {
  let cpuS = 0;
  let bookedS = 0;
  for (const { tenants } of intervals) {
    const own = tenants.get(organisationId);
    if (!own) continue;
    cpuS += model.perActiveS + model.perRequestS * own.requests;
    bookedS += own.cpuS;
  }
  return bookedS > 0 && cpuS > 0 ? cpuS / bookedS : 1;
}

interface Point {
  requests: number;
  cpuS: number;
}

type Costs = Pick<ServingModel, 'perActiveS' | 'perRequestS'>;

/** Least squares, neither cost below 0. */
function fitted(points: readonly Point[]): Costs {
  const requests = total(points.map((point) => point.requests));
  const cpuS = total(points.map((point) => point.cpuS));
  const perEach = { perActiveS: 0, perRequestS: requests > 0 ? cpuS / requests : 0 };
  if (new Set(points.map((point) => point.requests)).size < 2) return perEach;
  const { m, b } = linearRegression(points.map((point) => [point.requests, point.cpuS]));
  if (b < 0) return perEach;
  return m < 0 ? { perActiveS: cpuS / points.length, perRequestS: 0 } : { perActiveS: b, perRequestS: m };
}

function transferError(points: readonly Point[]): number {
  const sorted = [...points].sort((a, b) => a.requests - b.requests);
  const half = Math.floor(sorted.length / 2);
  const [quiet, busy] = [sorted.slice(0, half), sorted.slice(half)];
  const { perActiveS, perRequestS } = fitted(busy);
  const seen = total(quiet.map(({ cpuS }) => cpuS));
  const predicted = total(quiet.map(({ requests }) => perActiveS + perRequestS * requests));
  return seen > 0 && predicted > 0 ? Math.abs(Math.log(predicted / seen)) : 1;
}

function standingOf(intervals: readonly ServingInterval[]): number {
  const quiet = intervals.filter(({ durationS, tenants }) => tenants.size === 0 && durationS >= quietFromS);
  const lengthS = total(quiet.map(({ durationS }) => durationS));
  return lengthS > 0 ? total(quiet.map(({ servingS }) => servingS)) / lengthS : 0;
}

const total = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0);
