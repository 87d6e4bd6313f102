/** Quantities for people: SI prefixes, three significant digits. */
import type { Impact } from '@commonwatt/client';
import { format } from 'd3-format';

const si = format('.3~s');

function quantity(value: number, unit: string): string {
  const [, digits = '', prefix = ''] = /^(.*?)([a-zA-Zµ]?)$/.exec(si(value)) ?? [];
  return `${digits} ${prefix}${unit}`;
}

/** 1 Wh = 3,600 J. An answer is some millijoules and a training some hundred joules; from 1 Wh on, Wh. */
export function showEnergy(wh: number): string {
  return Math.abs(wh) < 1 ? quantity(wh * 3600, 'J') : quantity(wh, 'Wh');
}

export const showCarbon = (grams: number) => quantity(grams, 'gCO2e');
export const showWater = (litres: number | null) => (litres === null ? 'unknown' : quantity(litres, 'L'));
export const showBytes = (bytes: number) => quantity(bytes, 'B');
export const showPercent = (ratio: number, digits = 1) => `${(ratio * 100).toFixed(digits)} %`;
export const significant = format('.3~r');

/** What an answer used, in one line that says how it is known. */
export function showImpact(impact: Impact): string {
  return `${showEnergy(impact.energyWh)} (of it idle ${showEnergy(impact.idleShareWh)}), ${showCarbon(impact.carbonGCo2e)}, ${impact.quality} by ${impact.method}`;
}
