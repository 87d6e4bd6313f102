import { expect, it } from 'vitest';
import { budgetOf } from './budget-of.ts';

function form(fields: Record<string, string>): FormData {
  const data = new FormData();
  const usual = { kind: 'model', name: ' acme/digits ', unit: 'energyWh', amount: '20', period: 'day' };
  const all = { ...usual, mode: 'hard', warnPercent: '80', ...fields };
  for (const [name, value] of Object.entries(all)) data.set(name, value);
  return data;
}

it('reads a budget off its form', () => {
  expect(budgetOf(form({}))).toEqual({
    subject: { kind: 'model', name: 'acme/digits' },
    unit: 'energyWh',
    amount: 20,
    period: 'day',
    mode: 'hard',
    warnAt: 0.8,
  });
});

it('warns never where nothing is written, and ends jobs only when told', () => {
  expect(budgetOf(form({ warnPercent: '' })).warnAt).toBeNull();
  expect(budgetOf(form({ kind: 'key', stopsJobs: 'on' })).stopsJobs).toBe(true);
});

it('has prices when it is of money, and of nothing else', () => {
  const prices = { currency: 'EUR', perRequest: '0.001', perRow: '0', perWh: '0.25' };
  expect(budgetOf(form({ unit: 'money', ...prices }))).toMatchObject({
    currency: 'EUR',
    prices: [{ perRequest: 0.001, perRow: 0, perWh: 0.25 }],
  });
  expect(budgetOf(form(prices))).not.toHaveProperty('prices');
});

it('refuses what no list offers', () => {
  expect(() => budgetOf(form({ unit: 'tokens' }))).toThrow(/tokens is none of requests, rows/);
});
