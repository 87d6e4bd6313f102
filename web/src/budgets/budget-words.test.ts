import { expect, it } from 'vitest';
import type { Budget, WhoAmI } from '../server/shapes.ts';
import { amountText, levelText, mayChange } from './budget-words.ts';

const budget: Budget = {
  id: 'b1',
  subject: { kind: 'organisation', id: 'o1', name: 'globex' },
  unit: 'energyWh',
  amount: 50,
  period: 'day',
  mode: 'hard',
  warnAt: 0.8,
  stopsJobs: false,
  currency: null,
  prices: null,
  used: 10,
  reserved: 0,
  refused: 0,
  wouldHaveRefused: 0,
  periodEnd: '2026-11-02T00:00:00Z',
  createdAt: '2026-11-01T00:00:00Z',
  createdBy: 'acme/ada',
  unknown: {},
};
const who = (role: WhoAmI['role'], organisation: string): WhoAmI => ({
  organisation,
  member: 'ada',
  role,
  keyId: 'k',
});

it('says amounts with their units', () => {
  expect(amountText(0.0021, budget)).toBe('2.1\u00a0mWh');
  expect(amountText(12_000, { unit: 'requests', currency: null })).toBe('12,000 requests');
  expect(amountText(0.083, { unit: 'money', currency: 'EUR' })).toBe('0.083 EUR');
});

it('says how near the end is: what is held counts, and only hard ones are used up', () => {
  expect(levelText(budget)).toEqual({ text: '20\u00a0% used', warn: false });
  expect(levelText({ ...budget, used: 45 })).toEqual({ text: 'nearly used: 90\u00a0%', warn: true });
  expect(levelText({ ...budget, used: 45, warnAt: null }).warn).toBe(false);
  expect(levelText({ ...budget, used: 45, reserved: 5 })).toEqual({ text: 'used up: 90\u00a0%', warn: true });
  expect(levelText({ ...budget, used: 60, mode: 'soft' }).text).toBe('passed: 120\u00a0%');
});

it('says why it does not know what is used, instead of 0', () => {
  const unknown = { used: 'nothing is metered' };
  expect(levelText({ ...budget, used: null, unknown }).text).toBe('not known: nothing is metered');
});

it('is changed by administrators of who set it, and by the operator', () => {
  expect(mayChange(who('admin', 'acme'), budget)).toBe(true);
  expect(mayChange(who('member', 'acme'), budget)).toBe(false);
  expect(mayChange(who('admin', 'globex'), budget)).toBe(false);
  expect(mayChange(who('operator', 'platform'), budget)).toBe(true);
});
