/**
 * Branded units, so that joules, watt-hours, grams and litres cannot be mixed by accident.
 * Inside the product energy is in joules; on the wire it is in watt-hours (field names end in `Wh`).
 */
declare const unit: unique symbol;
type Unit<Name extends string> = number & { readonly [unit]: Name };

export type Joules = Unit<'J'>;
export type WattHours = Unit<'Wh'>;
export type CpuSeconds = Unit<'CPU·s'>;
export type GramsCo2e = Unit<'gCO2e'>;
export type Litres = Unit<'L'>;

export const joules = (value: number) => value as Joules;
export const cpuSeconds = (value: number) => value as CpuSeconds;
export const gramsCo2e = (value: number) => value as GramsCo2e;
export const litres = (value: number) => value as Litres;
/** 1 Wh = 3,600 J. */
export const toWattHours = (value: Joules) => (value / 3600) as WattHours;

/** The international avoirdupois pound is .45359237 kg by definition. */
const gramsPerPound = 453.59237;

/** lbs/MWh → g/kWh. Example: 1,000 lbs/MWh → 453.59237 g/kWh. */
export const gPerKwhOf = (lbsPerMwh: number) => (lbsPerMwh * gramsPerPound) / 1000;
