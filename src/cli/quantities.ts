/** Quantities for people: SI prefixes, three significant digits. */
import type { Figure, Impact } from '@commonwatt/client';
import { format } from 'd3-format';

const si = format('.3~s');

function quantity(value: number, unit: string): string {
  const [, digits = '', prefix = ''] = /^(.*?)([a-zA-Zµ]?)$/.exec(si(value)) ?? [];
  return `${digits} ${prefix}${unit}`;
}

/** 1 Wh = 3,600 J. An answer is some millijoules and a training some hundred joules; from 1 Wh on, Wh. */
export function showEnergy(wh: Figure): string {
  if (wh === null) return 'unknown';
  return Math.abs(wh) < 1 ? quantity(wh * 3600, 'J') : quantity(wh, 'Wh');
}

const known = (value: Figure, unit: string) => (value === null ? 'unknown' : quantity(value, unit));
export const showCarbon = (grams: Figure) => known(grams, 'gCO2e');
export const showWater = (litres: Figure) => known(litres, 'L');
export const showBytes = (bytes: number) => quantity(bytes, 'B');
export const showPercent = (ratio: Figure, digits = 1) =>
  ratio === null ? 'unknown' : `${(ratio * 100).toFixed(digits)} %`;
const rounded = format('.3~r');
export const significant = (value: Figure) => (value === null ? 'unknown' : rounded(value));

/** What an answer used, in one line that says how it is known. */
export function showImpact(impact: Impact): string {
  return `${showEnergy(impact.energyWh)} (of it idle ${showEnergy(impact.idleShareWh)}), ${showCarbon(impact.carbonGCo2e)}, ${impact.quality} by ${impact.method}`;
}
