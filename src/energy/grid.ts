/**
 * From joules to grams and litres: how much carbon a kilowatt-hour of the grid carries, and how much water.
 * Yearly averages are Ember's (CC BY-SA 4.0, https://ember-energy.org), packaged in @tgwf/co2; values that follow
 * the hours come from the sources of `grid/`.
 */
import { CommonwattError } from '../errors.ts';
import { quote } from '../models/names.ts';
import { type GramsCo2e, gramsCo2e, type Joules, type Litres, litres } from './units.ts';

export const joulesPerKwh = 3_600_000;

export interface Intensity {
  zone: string;
  /** gCO2e per kWh. */
  value: number;
  source: string;
  /** Average: of all electricity generated; a marginal one tells what one more kWh causes. */
  kind: 'average' | 'marginal';
  /** Life-cycle: with building and fuelling the power stations; direct: what leaves their chimneys. */
  scope: 'life-cycle' | 'direct';
  /** True: a model's output, not a measurement at the time of use. A yearly average always is. */
  estimated: boolean;
  /** True: no newer value was known; an older one was carried on. */
  stale: boolean;
  /** Since when its newest value has held, epoch ms; null: it is of a year. */
  atMs: number | null;
  /** Why it is not the first source's own value; null: it is. */
  instead: string | null;
}

/** How dirty the electricity of a zone is over time. */
export interface GridSignal {
  /** Of the yearly average that stands in where no source has a value. */
  readonly zone: string;
  /** The mean over a time: each value weighs as long as it held, whatever the steps of the source are. */
  over(startMs: number, endMs: number): Intensity;
}

/**
 * The yearly average of a zone: an ISO 3166 alpha-3 code (DEU 342.06, FRA 44.18 g/kWh) or WORLD (472.94).
 * Throws INVALID_CONFIG for a zone that is not in the data, or that the data gives as 0 (no figure, not no carbon).
 */
export async function gridIntensity(zone: string): Promise<Intensity> {
  const { averageIntensity } = await import('@tgwf/co2/data');
  const { data } = averageIntensity;
  const name = zone.toUpperCase();
  const value = Object.hasOwn(data, name) ? data[name] : undefined;
  if (value === undefined || value <= 0) {
    throw new CommonwattError('INVALID_CONFIG', `no grid intensity is known for the zone ${quote(zone)}`, {
      where: 'COMMONWATT_ZONE',
      hint: 'use an ISO 3166 alpha-3 country code such as DEU, FRA, GBR, USA or CHN, or WORLD',
    });
  }
  return {
    zone: name,
    value,
    source: 'Ember, yearly average, CC BY-SA 4.0, through @tgwf/co2',
    kind: 'average',
    scope: 'life-cycle',
    estimated: true,
    stale: false,
    atMs: null,
    instead: null,
  };
}

/**
 * Litres behind a kWh of electricity where nobody has given a figure: the world average that EcoLogits 0.11.3
 * ships in its electricity mixes ("WOR").
 */
const assumedWueOffSite = {
  value: 3.908,
  source: 'world average of EcoLogits 0.11.3, electricity mix WOR',
} as const;

export interface WaterRate {
  /** Litres per kWh of IT energy; null when neither part is known. */
  litresPerKwh: number | null;
  assumed: boolean;
  source: string;
  /** What the figure leaves out or why there is none; empty when it is whole. */
  unknown: Readonly<Record<string, string>>;
}

/**
 * Water = E_IT · (WUE on site + PUE · WUE off site); PUE multiplies the part of the grid once.
 * Example: on site 1.8, PUE 1.2, off site 3 L/kWh → 1.8 + 3.6 = 5.4 L per kWh of IT energy.
 * A part that is not known is left out and named, never counted as 0.
 */
export function waterRate(
  pue: number,
  wue: { onSite: number | null; offSite: number | null },
  assumedOffSite: { value: number; source: string } | null = assumedWueOffSite,
): WaterRate {
  const offSite = wue.offSite ?? assumedOffSite?.value ?? null;
  const assumed = wue.offSite === null && offSite !== null;
  const source = wue.offSite !== null ? 'configured' : (assumedOffSite?.source ?? 'none');
  if (wue.onSite === null && offSite === null) {
    return {
      litresPerKwh: null,
      assumed: false,
      source: 'none',
      unknown: {
        waterL: 'neither the water use of the building (wueOnSite) nor of the grid (wueOffSite) is known',
      },
    };
  }
  const missing = [
    ...(wue.onSite === null ? ['the cooling water of the building (wueOnSite)'] : []),
    ...(offSite === null ? ['the water behind the electricity (wueOffSite)'] : []),
  ];
  return {
    litresPerKwh: (wue.onSite ?? 0) + (offSite === null ? 0 : pue * offSite),
    assumed,
    source,
    unknown: missing.length === 0 ? {} : { waterPart: `not included: ${missing.join(' and ')}` },
  };
}

/** Carbon = E · PUE · I. Example: 3.6 MJ (1 kWh), PUE 1.2, 400 g/kWh → 480 g. */
export function carbonOf(energyJ: Joules | number, pue: number, gPerKwh: number): GramsCo2e {
  return gramsCo2e((energyJ / joulesPerKwh) * pue * gPerKwh);
}

export function waterOf(energyJ: Joules | number, rate: WaterRate): Litres | null {
  return rate.litresPerKwh === null ? null : litres((energyJ / joulesPerKwh) * rate.litresPerKwh);
}
