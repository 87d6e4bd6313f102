/** The part of a report about f(RUR): where the platform is on its curve, the floor, and the best use that keeps latency. */

import type { CurvePoint, Server } from './impact.ts';
import { curvePoints } from './impact.ts';
import {
  bestUse,
  type ImpactFunction,
  type ImpactFunctionSettings,
  impactFunction,
} from './impact-function.ts';
import { latencyModel, p95At, safeUse, type WatchedModel } from './latency.ts';
import type { PowerCurve } from './meters/meter.ts';

export interface OperatingInput {
  server: Server;
  settings: ImpactFunctionSettings;
  /** The host's calibrated curve. */
  calibrated: PowerCurve | null;
  latencies: readonly WatchedModel[];
  /** Useful and other CPU time ÷ supplied. */
  utilisation: number;
  otherUse: number;
  /** Requests of an hour at full use; 0: none was computed. */
  perHourAtFull: number;
}

interface SafePoint extends CurvePoint {
  /** Up to here every objective is kept; the best use may lie below. */
  mostUtilisation: number;
  /** The model whose objective is reached first. */
  model: string;
  objectiveMs: number;
  /** As estimated, at that most. */
  p95Ms: number;
  method: string;
  /** What the same requests would cause less of in an hour on a supply that is used so well; negative: more. */
  savingGCo2ePerHour: number;
}

export interface OperatingReport {
  function: Pick<ImpactFunction, 'kind' | 'formula'>;
  /** c(1): nothing but other hardware or a cleaner grid goes below it, where the power is a straight line. */
  atFullUtilisationGCo2e: number | null;
  curve: CurvePoint[];
  operatingPoint: CurvePoint | null;
  /** The least of f on (0, 1], whatever latency says. */
  best: CurvePoint | null;
  /** What it leaves out stands in `unknown`. */
  sloSafe: SafePoint | null;
  unknown: Record<string, string>;
}

export function operatingReport(input: OperatingInput): OperatingReport {
  const { settings, calibrated, server, perHourAtFull, utilisation: u } = input;
  const f = impactFunction(settings, server, calibrated ?? undefined);
  const about = { kind: f.kind, formula: f.formula };
  if (perHourAtFull <= 0) {
    const why = 'no request was computed in this window';
    return {
      function: about,
      atFullUtilisationGCo2e: null,
      curve: [],
      operatingPoint: null,
      best: null,
      sloSafe: null,
      unknown: { operatingPoint: why, best: why, sloSafe: why },
    };
  }
  const point = (utilisation: number): CurvePoint => ({
    utilisation,
    gCo2ePerRequest: f.perFullHour(utilisation) / perHourAtFull,
    gCo2ePerHour: f.perFullHour(utilisation) * utilisation,
  });
  const { safe, why } = safePoint(input, f, point);
  return {
    function: about,
    atFullUtilisationGCo2e: point(1).gCo2ePerRequest,
    curve: curvePoints.map(point),
    operatingPoint: point(u),
    best: point(bestUse(f).utilisation),
    sloSafe: safe,
    unknown: why === null ? {} : { sloSafe: why },
  };
}

function safePoint(
  { latencies, otherUse, utilisation, perHourAtFull }: OperatingInput,
  f: ImpactFunction,
  point: (u: number) => CurvePoint,
): { safe: SafePoint | null; why: string | null } {
  const without = (why: string) => ({ safe: null, why });
  const bound = latencies.flatMap(({ model, objectiveMs, windows }) => {
    const latency = objectiveMs === null ? null : latencyModel(windows);
    if (objectiveMs === null || latency === null) return [];
    return [{ model, objectiveMs, latency, most: safeUse(latency, objectiveMs) }];
  });
  const [first] = bound.sort((a, b) => a.most - b.most);
  if (!first)
    return without(
      latencies.some(({ objectiveMs }) => objectiveMs !== null)
        ? 'too few requests lately to tell how latency grows with use'
        : 'no deployment has a latency objective (its setting latencyObjectiveMs)',
    );
  const { model, objectiveMs, latency, most } = first;
  const left = latencies.filter(
    (each) => each.objectiveMs !== null && !bound.some((own) => own.model === each.model),
  );
  const names = left.map((each) => each.model).join(', ');
  // Latency is about all that CPUs do; RUR counts only what is of use.
  const mostUtilisation = Math.min(1, most) - otherUse;
  if (mostUtilisation <= 0)
    return without(`the objective of ${model}, ${objectiveMs} ms, is not kept at any use`);
  const best = point(bestUse(f, mostUtilisation).utilisation);
  const demand = perHourAtFull * utilisation;
  return {
    safe: {
      ...best,
      mostUtilisation,
      model,
      objectiveMs,
      p95Ms: p95At(latency, most),
      method: latency.method,
      savingGCo2ePerHour: demand * (point(utilisation).gCo2ePerRequest - best.gCo2ePerRequest),
    },
    why:
      left.length === 0
        ? null
        : `too few requests of ${names} lately: ${left.length > 1 ? 'their objectives are' : 'its objective is'} left out`,
  };
}
