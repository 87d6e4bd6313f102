/** A footprint on the wire, and the sum of several: of the model calls of an explanation, of the parts of a job. */
import type { Footprint } from './energy.ts';
import { gramsCo2e, joules, litres, toWattHours } from './units.ts';

/** `Impact` of docs/api.md. A figure that is null has its reason under its own name in `unknown`. */
export interface ImpactJson {
  energyWh: number | null;
  dynamicWh: number | null;
  idleShareWh: number | null;
  carbonGCo2e: number | null;
  waterL: number | null;
  embodiedGCo2e: number | null;
  quality: Footprint['quality'];
  method: string;
  methodVersion: string;
  settled: boolean;
  unknown: Readonly<Record<string, string>>;
}

/** Joules become watt-hours (1 Wh = 3,600 J); a figure nobody knows becomes null, never 0. */
export function impactJson(footprint: Footprint): ImpactJson {
  const json: ImpactJson = {
    energyWh: knownOrNull(toWattHours(footprint.energyJ)),
    dynamicWh: knownOrNull(toWattHours(footprint.dynamicJ)),
    idleShareWh: knownOrNull(toWattHours(footprint.idleShareJ)),
    carbonGCo2e: knownOrNull(footprint.carbonGCo2e),
    waterL: knownOrNull(footprint.waterL),
    embodiedGCo2e: knownOrNull(footprint.embodiedGCo2e),
    quality: footprint.quality,
    method: footprint.method,
    methodVersion: footprint.methodVersion,
    settled: footprint.settled,
    unknown: footprint.unknown,
  };
  const lacking = figureNames.filter((name) => json[name] === null && footprint.unknown[name] === undefined);
  if (lacking.length === 0) return json;
  const reason = footprint.method === 'off' ? meteringIsOff : 'not known';
  return {
    ...json,
    unknown: { ...footprint.unknown, ...Object.fromEntries(lacking.map((name) => [name, reason])) },
  };
}

const figureNames = [
  'energyWh',
  'dynamicWh',
  'idleShareWh',
  'carbonGCo2e',
  'waterL',
  'embodiedGCo2e',
] as const;

/** An impact as text: JSON, and the two figures of the headers (null: unknown). */
export interface ImpactText {
  json: string;
  energyWh: string | null;
  carbonGCo2e: string | null;
}

const texts = new WeakMap<Footprint, ImpactText>();

/** Callers with equal figures share a footprint: its digits, which cost more than its figures, are found once. */
export function impactText(footprint: Footprint): ImpactText {
  const known = texts.get(footprint);
  if (known) return known;
  const impact = impactJson(footprint);
  const text = {
    json: JSON.stringify(impact),
    energyWh: impact.energyWh === null ? null : String(impact.energyWh),
    carbonGCo2e: impact.carbonGCo2e === null ? null : String(impact.carbonGCo2e),
  };
  texts.set(footprint, text);
  return text;
}

const qualities = ['measured', 'estimated', 'assumed'] as const;

/**
 * The sum of footprints. It is as good as its worst part (measured < estimated < assumed), settled when all are,
 * and what is unknown in one part is unknown in the sum. Throws RangeError for an empty list: the sum of nothing
 * has no method.
 */
export function sumFootprints(parts: readonly Footprint[]): Footprint {
  const first = parts[0];
  if (!first) throw new RangeError('there is no footprint to sum');
  let energyJ = 0;
  let dynamicJ = 0;
  let idleShareJ = 0;
  let carbonGCo2e = 0;
  let embodiedGCo2e = 0;
  let waterL: number | null = 0;
  let worst = 0;
  let settled = true;
  const methods = new Set<string>();
  const versions = new Set<string>();
  const unknown: Record<string, string> = {};
  for (const part of parts) {
    energyJ += part.energyJ;
    dynamicJ += part.dynamicJ;
    idleShareJ += part.idleShareJ;
    carbonGCo2e += part.carbonGCo2e;
    embodiedGCo2e += part.embodiedGCo2e;
    waterL = waterL === null || part.waterL === null ? null : waterL + part.waterL;
    worst = Math.max(worst, qualities.indexOf(part.quality));
    settled &&= part.settled;
    methods.add(part.method);
    versions.add(part.methodVersion);
    Object.assign(unknown, part.unknown);
  }
  return {
    energyJ: joules(energyJ),
    dynamicJ: joules(dynamicJ),
    idleShareJ: joules(idleShareJ),
    carbonGCo2e: gramsCo2e(carbonGCo2e),
    embodiedGCo2e: gramsCo2e(embodiedGCo2e),
    waterL: waterL === null ? null : litres(waterL),
    quality: qualities[worst] ?? first.quality,
    method: [...methods].join(' + '),
    methodVersion: [...versions].join(' + '),
    settled,
    unknown,
  };
}

export const meteringIsOff = 'metering is off';

/** What an answer carries when nothing is metered: no figure at all, which the wire shows as null. */
export const unmetered: Footprint = {
  energyJ: joules(Number.NaN),
  dynamicJ: joules(Number.NaN),
  idleShareJ: joules(Number.NaN),
  carbonGCo2e: gramsCo2e(Number.NaN),
  embodiedGCo2e: gramsCo2e(Number.NaN),
  waterL: null,
  quality: 'assumed',
  method: 'off',
  methodVersion: '1',
  settled: false,
  unknown: Object.fromEntries(
    ['energyWh', 'dynamicWh', 'idleShareWh', 'carbonGCo2e', 'waterL', 'embodiedGCo2e'].map((name) => [
      name,
      meteringIsOff,
    ]),
  ),
};

function known(value: number | null): value is number {
  return value !== null && Number.isFinite(value);
}

function knownOrNull(value: number | null): number | null {
  return known(value) ? value : null;
}
