/**
 * One footprint in the words and units of each form. Energy is that of the IT equipment: whoever includes the building
 * (GreenJoules does) multiplies it by the PUE. 1 kWh = 3.6e6 J; 1 Wms = 1e-3 J; 1 g = 1e6 µg = 1e3 mg.
 * Example: 36 J and .5 gCO2e in .4 s → 1e-5 kWh, 90 W, 36,000 Wms, 500,000 ugCO2e.
 */
import type { Footprint } from '../energy.ts';
import { impactJson, meteringIsOff } from '../footprint.ts';
import type { Answered } from './forms.ts';

const joulesPerKwh = 3.6e6;

type Figure = number | null;
type Reasons = Record<string, string>;

/** What is unknown says why; where all is known there is no such field. */
function withReasons<T extends object>(form: T, unknown: Reasons): T & { unknown?: Reasons } {
  return Object.keys(unknown).length === 0 ? form : { ...form, unknown };
}

/** The figures that most forms have, and the reasons of those that nobody knows. */
export function knownFigures(footprint: Footprint): {
  energyJ: Figure;
  carbonG: Figure;
  why: { energy: string; carbon: string };
} {
  const energyJ = Number.isFinite(footprint.energyJ) ? footprint.energyJ : null;
  const carbonG = Number.isFinite(footprint.carbonGCo2e) ? footprint.carbonGCo2e : null;
  if (energyJ !== null && carbonG !== null) return { energyJ, carbonG, why: { energy: '', carbon: '' } };
  const { unknown } = impactJson(footprint);
  return {
    energyJ,
    carbonG,
    why: { energy: unknown.energyWh ?? meteringIsOff, carbon: unknown.carbonGCo2e ?? meteringIsOff },
  };
}

/** Time between its arrival at the queue and its answer, s. */
function durationS({ queueMs, batchMs, computeMs }: Answered): number {
  return (queueMs + batchMs + computeMs) / 1000;
}

/** As the ledger has it: computed alone, as a part of a batch, or only passed on by the gateway. */
export function attributionMethodOf({
  source,
  batchRequests,
}: Pick<Answered, 'source' | 'batchRequests'>): 'direct' | 'shared step' | 'proportional' {
  if (source !== 'computed') return 'proportional';
  return batchRequests > 1 ? 'shared step' : 'direct';
}

/** `energy` of Neuralwatt, as PyPI `llm-neuralwatt` keeps it. */
export function neuralwattEnergy(answered: Answered) {
  const { energyJ, why } = knownFigures(answered.footprint);
  const seconds = durationS(answered);
  const unknown: Reasons = {};
  if (energyJ === null) unknown.energy_joules = unknown.energy_kwh = unknown.avg_power_watts = why.energy;
  else if (seconds <= 0) unknown.avg_power_watts = 'it took no time that was measured';
  if (answered.share === null)
    unknown.attribution_ratio =
      answered.source === 'computed'
        ? 'it was computed in several steps'
        : `its answer was another's (${answered.source}): nothing was computed for it`;
  return withReasons(
    {
      energy_joules: energyJ as Figure,
      energy_kwh: energyJ === null ? null : energyJ / joulesPerKwh,
      avg_power_watts: energyJ === null || seconds <= 0 ? null : energyJ / seconds,
      duration_seconds: seconds,
      attribution_method: attributionMethodOf(answered),
      attribution_ratio: answered.share,
    },
    unknown,
  );
}

/** `usage.impacts` of OpenGateLLM. Its readers take numbers only: what is unknown is left out. */
export function openGateImpacts({ footprint }: Answered) {
  const { energyJ, carbonG, why } = knownFigures(footprint);
  return withReasons(
    {
      ...(energyJ === null ? {} : { kWh: energyJ / joulesPerKwh }),
      ...(carbonG === null ? {} : { kgCO2eq: carbonG / 1000 }),
    },
    {
      ...(energyJ === null ? { kWh: why.energy } : {}),
      ...(carbonG === null ? { kgCO2eq: why.carbon } : {}),
    },
  );
}

/** `impact` of GreenPT. */
export function greenPtImpact({ footprint, computeMs }: Answered) {
  const { energyJ, carbonG, why } = knownFigures(footprint);
  return withReasons(
    {
      version: footprint.methodVersion,
      inferenceTime: { total: computeMs, unit: 'ms' },
      energy: { total: energyJ === null ? null : energyJ * 1000, unit: 'Wms' },
      emissions: { total: carbonG === null ? null : carbonG * 1e6, unit: 'ugCO2e' },
    },
    {
      ...(energyJ === null ? { energy: why.energy } : {}),
      ...(carbonG === null ? { emissions: why.carbon } : {}),
    },
  );
}

let last = { batchMs: 0, computeMs: 0, text: ', batch;dur=0.000, compute;dur=0.000' };

/** `Server-Timing` (W3C): ms. Callers of one batch differ in the queue only: the rest is put into digits once. */
export function serverTiming({ queueMs, batchMs, computeMs }: Answered): string {
  if (last.batchMs !== batchMs || last.computeMs !== computeMs)
    last = {
      batchMs,
      computeMs,
      text: `, batch;dur=${batchMs.toFixed(3)}, compute;dur=${computeMs.toFixed(3)}`,
    };
  return `queue;dur=${queueMs.toFixed(3)}${last.text}`;
}

/**
 * Attributes of a request's span, in the words of the draft `gen_ai.infrastructure.*` for OpenTelemetry: J, J per
 * output token (none where there are no tokens), W. The draft measures idleness in the time of a window; a request has
 * no window of its own, so here it is the part of its energy that is idle power.
 */
export function infrastructureAttributes(answered: Answered): Record<string, number | undefined> {
  const { energyJ } = knownFigures(answered.footprint);
  if (energyJ === null) return {};
  const seconds = durationS(answered);
  const { outputTokens = 0, footprint } = answered;
  return {
    'gen_ai.infrastructure.energy': energyJ,
    'gen_ai.infrastructure.energy.per_token': outputTokens > 0 ? energyJ / outputTokens : undefined,
    'gen_ai.infrastructure.power': seconds > 0 ? energyJ / seconds : undefined,
    'gen_ai.infrastructure.idle_ratio': energyJ > 0 ? footprint.idleShareJ / energyJ : undefined,
  };
}
