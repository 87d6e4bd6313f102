/** Budgets as a person reads them; docs/budgets.md explains each word. */
import { percent, plain, quantity, whole } from '../format.ts';
import type { Budget, WhoAmI } from '../server/shapes.ts';

export function amountText(amount: number, { unit, currency }: Pick<Budget, 'unit' | 'currency'>): string {
  switch (unit) {
    case 'requests':
    case 'rows':
      return `${whole(amount)} ${unit}`;
    case 'energyWh':
      return quantity(amount, 'Wh');
    case 'carbonGCo2e':
      return quantity(amount, 'gCO₂e');
    case 'money':
      return `${plain(amount)} ${currency ?? ''}`.trim();
  }
}

export function subjectText({ kind, name }: Budget['subject']): string {
  return kind === 'grant' ? `grant ${name}` : `${kindTexts[kind]} ${name}`;
}

export const kindTexts = {
  key: 'API key',
  member: 'person',
  organisation: 'organisation',
  grant: 'grant',
  model: 'model',
} as const;

export const modeTexts = {
  hard: 'hard: refuses what does not fit',
  soft: 'soft: warns, refuses nobody',
  shadow: 'shadow: only counts',
} as const;

export const unitTexts = {
  requests: 'requests',
  rows: 'rows',
  energyWh: 'Wh',
  carbonGCo2e: 'gCO₂e',
  money: 'money',
} as const;

export const periodTexts = { hour: 'hour', day: 'day', month: 'month' } as const;

/** What was chosen of a list. */
export function chosen<K extends string>(texts: Readonly<Record<K, string>>, given: unknown): K {
  const found = (Object.keys(texts) as K[]).find((name) => name === given);
  if (found === undefined)
    throw new RangeError(`${String(given)} is none of ${Object.keys(texts).join(', ')}`);
  return found;
}

/** Whoever set it may change it, as may the operator; the server has the last word. */
export function mayChange({ role, organisation }: WhoAmI, { createdBy }: Budget): boolean {
  return role === 'operator' || (role === 'admin' && createdBy.startsWith(`${organisation}/`));
}

/** What is used of it, in words; a soft or shadow budget may be passed. Null, with its reason, where it is not known. */
export function levelText(budget: Budget): { text: string; warn: boolean } {
  const { used, reserved, amount, warnAt, mode, unknown } = budget;
  if (used === null) return { text: `not known: ${unknown.used ?? 'nothing is counted'}`, warn: false };
  const share = percent(used / amount);
  if (used + reserved >= amount)
    return { text: mode === 'hard' ? `used up: ${share}` : `passed: ${share}`, warn: true };
  if (warnAt !== null && used >= warnAt * amount)
    return { text: `nearly used: ${share}`, warn: mode !== 'shadow' };
  return { text: `${share} used`, warn: false };
}
