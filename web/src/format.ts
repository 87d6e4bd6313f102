/** Figures as text. Unknown is a dash, never 0. */
import { format } from 'd3-format';

const threeDigits = format('.3~s');
const oneDecimal = format('.1~f');
const count = format(',');
const probability = format('.3f');
const factor = format(',.2~r');
const signedSi = format('+.3~s');
const small = format('.3~r');
const twoDecimals = format(',.2~f');
const points = format('+.2~r');

export const unknownFigure = '–';

/**
 * A quantity with an SI prefix and three significant digits: `1.2e-6` and `Wh` give `1.2 µWh`.
 * @param value in the unit given.
 */
export function quantity(value: number | null | undefined, unit: string): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return unknownFigure;
  const [, figure, prefix] = /^(.*?)([a-zA-Zµ]?)$/.exec(threeDigits(value)) ?? [];
  return `${figure}\u00a0${prefix}${unit}`;
}

export function signedQuantity(value: number | null | undefined, unit: string): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return unknownFigure;
  const [, figure, prefix] = /^(.*?)([a-zA-Zµ]?)$/.exec(signedSi(value)) ?? [];
  return `${figure}\u00a0${prefix}${unit}`;
}

/** A share 0 … 1 as per cent; small shares keep a significant digit. */
export function percent(share: number | null | undefined): string {
  return share === null || share === undefined ? unknownFigure : percentValue(share * 100);
}

/** A figure that is already in per cent. */
export function percentValue(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return unknownFigure;
  const small = value !== 0 && Math.abs(value) < 1;
  return `${small ? format('.1~r')(value) : oneDecimal(value)}\u00a0%`;
}

/** A difference of two shares, in percentage points. */
export function signedPoints(difference: number): string {
  return `${points(difference * 100)}\u00a0points`;
}

export function whole(value: number | null | undefined): string {
  return value === null || value === undefined ? unknownFigure : count(value);
}

/** Without a prefix: of money and rates nobody says milli. */
export function plain(value: number | null): string {
  if (value === null) return unknownFigure;
  return Math.abs(value) < 1 ? small(value) : twoDecimals(value);
}

/** How many times as much, with two significant digits. */
export function times(value: number): string {
  return factor(value);
}

export function chance(value: number): string {
  return probability(value);
}

/** 1 Wh = 3600 J. */
export function joulesOf(wattHours: number | null): number | null {
  return wattHours === null ? null : wattHours * 3600;
}

/** A share that is undefined when its whole is 0 or unknown. */
export function shareOf(part: number | null, total: number | null): number | null {
  return part === null || total === null || total <= 0 ? null : part / total;
}

/** Day of the week and time, where the date is clear. */
export function hourOf(iso: string): string {
  return new Date(iso).toLocaleString('en-GB', { weekday: 'short', hour: '2-digit', minute: '2-digit' });
}

/** When, in the reader's own time. */
export function moment(iso: string): string {
  return new Date(iso).toLocaleString('en-GB', { dateStyle: 'medium', timeStyle: 'short' });
}
