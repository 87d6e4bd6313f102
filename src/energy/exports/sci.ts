/**
 * The SCI score (ISO/IEC 21031:2024) of what the ledger holds, SCI = (E · I + M) / R, computed by the calculator's own
 * formula. E is energy with PUE and all that was reserved; I the mean over that energy, so that E · I is the carbon
 * that was booked; M the embodied carbon that was booked.
 */
import { sci } from '../calc/carbon.ts';
import { joulesPerKwh } from '../grid.ts';
import type { BookedWindow, Boundary } from './windows.ts';

export const functionalUnits = ['request', 'row', 'job'] as const;
export type FunctionalUnit = (typeof functionalUnits)[number];

export interface SciReport {
  from: string;
  to: string;
  functionalUnit: FunctionalUnit;
  /** E: kWh with PUE. */
  energyKwh: number;
  pue: number;
  /** I; null: there was no energy. */
  gPerKwh: number | null;
  /** M */
  embodiedG: number;
  /** R */
  functionalUnits: number;
  operationalG: number;
  sciG: number | null;
  basis: BookedWindow['basis'];
  quality: string;
  method: string;
  /** Of the ledger's figures, and of the formula. */
  methodVersion: string;
  formulaVersion: string;
  zone: string;
  formula: string;
  source: string;
  unknown: Record<string, string>;
  notes: string[];
}

export function boundaryOf(unit: FunctionalUnit): Boundary {
  return unit === 'job' ? 'jobs' : 'work';
}

export function sciReport(window: BookedWindow, unit: FunctionalUnit): SciReport {
  const { booked, pue, knownAs } = window;
  const units = window.counts[`${unit}s`];
  const energyKwh = (booked.energyJ / joulesPerKwh) * pue;
  const scored =
    units > 0
      ? sci({
          energyKwh,
          gPerKwh: window.gPerKwh ?? 0,
          embodiedG: booked.embodiedG,
          functionalUnits: units,
        }).result
      : null;
  return {
    from: new Date(window.fromMs).toISOString(),
    to: new Date(window.toMs).toISOString(),
    functionalUnit: unit,
    energyKwh,
    pue,
    gPerKwh: window.gPerKwh,
    embodiedG: booked.embodiedG,
    functionalUnits: units,
    operationalG: scored?.operationalG ?? booked.carbonG,
    sciG: scored?.sciG ?? null,
    basis: window.basis,
    quality: knownAs.qualities.join(' + ') || 'nothing was metered',
    method: knownAs.methods.join(' + ') || 'none',
    methodVersion: knownAs.methodVersions.join(' + ') || 'none',
    formulaVersion: sci.version,
    zone: knownAs.zones.join(' + ') || 'none',
    formula: sci.formula,
    source: sci.source,
    unknown: {
      ...(units > 0 ? {} : { sciG: `there was no ${unit} in this window` }),
      ...(window.gPerKwh === null ? { gPerKwh: 'no energy was booked in this window' } : {}),
    },
    notes: [
      unit === 'job'
        ? 'boundary: trainings, with what was reserved for them'
        : 'boundary: everything but trainings: requests, what stands ready for them, the gateway and idle power',
      ...(window.basis === 'usage'
        ? ['what was reserved is not known of all of this window: E and M are what was used']
        : []),
      'aborted and failed requests count in E and in R, as they were computed',
    ],
  };
}
