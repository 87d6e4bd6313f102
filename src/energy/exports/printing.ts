/** Numbers and names on a printed page. */

/** Also inside attributes. */
export function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}

/** So many significant digits, without an exponent. */
export function fixed(value: number, significant: number): string {
  return value.toFixed(decimalsFor(value, significant));
}

/** Digits behind the point that show a value with so many significant digits; toFixed takes at most 100. */
function decimalsFor(value: number, significant: number): number {
  if (value === 0 || !Number.isFinite(value)) return 0;
  return Math.min(30, Math.max(0, significant - 1 - Math.floor(Math.log10(Math.abs(value)))));
}

const significantDigits = 6;

/**
 * Rounds parts to the digits of their total so that what is printed adds up: those that lost most in rounding down get
 * what is left (largest remainder), so that none is off by more than one in its last digit.
 * Example: 1/3, 1/3, 1/3 of 1 with 2 digits: 0.34, 0.33, 0.33.
 */
export function roundedToSum(
  parts: readonly (number | null)[],
  total: number | null,
  significant = significantDigits,
): { parts: string[]; total: string } {
  if (total === null || parts.includes(null))
    return {
      parts: parts.map((part) => (part === null ? 'not known' : fixed(part, 4))),
      total: total === null ? 'not known' : fixed(total, 4),
    };
  const decimals = decimalsFor(total, significant);
  const unit = 10 ** -decimals;
  const exact = parts.map((part) => (part ?? 0) / unit);
  const units = exact.map(Math.floor);
  let left = Math.round(total / unit) - units.reduce((sum, value) => sum + value, 0);
  const byRemainder = exact
    .map((value, index) => ({ index, rest: value - Math.floor(value) }))
    .sort((a, b) => b.rest - a.rest);
  for (const { index } of byRemainder) {
    if (left <= 0) break;
    units[index] = (units[index] ?? 0) + 1;
    left--;
  }
  return { parts: units.map((value) => (value * unit).toFixed(decimals)), total: total.toFixed(decimals) };
}
