import { describe, expect, it } from 'vitest';
import { amountOf, type Limit, type Price } from './limits-use.ts';

const particular: Price = {
  of: 'acme/digits',
  modelId: 'digits',
  perRequest: 0.001,
  perRow: 0.0005,
  perWh: 0.25,
};
const ofOwner: Price = { of: 'acme', ownerId: 'acme', perRequest: 0, perRow: 0, perWh: 2 };
const ofRest: Price = { perRequest: 1, perRow: 0, perWh: 0 };

function money(prices: readonly Price[]): Limit {
  return {
    id: 'b',
    subject: { kind: 'key', id: 'k' },
    unit: 'money',
    amount: 1,
    period: 'day',
    mode: 'hard',
    warnAt: null,
    stopsJobs: false,
    prices,
    refusal: () => ({ message: '', hint: '' }),
  };
}

describe('money', () => {
  const amounts = { requests: 4, rows: 8, energyJ: 0.3 * 3600, carbonG: 0 };

  it('is requests, rows and Wh at their prices: the example of docs/budgets.md', () => {
    const cost = amountOf(money([particular]), amounts, { modelId: 'digits', ownerId: 'acme' });
    expect(cost).toBeCloseTo(0.083, 12);
  });

  it.each([
    ['the model', { modelId: 'digits', ownerId: 'acme' }, 0.083],
    ['its owner', { modelId: 'faces', ownerId: 'acme' }, 0.6],
    ['anything else', { modelId: 'faces', ownerId: 'globex' }, 4],
    ['a training', { modelId: null, ownerId: null }, 4],
  ])('counts by the price of %s, and by no other', (_, of, cost) => {
    expect(amountOf(money([ofRest, ofOwner, particular]), amounts, of)).toBeCloseTo(cost, 12);
  });

  it('is nothing for what has no price, and where energy is not known only the rest', () => {
    expect(amountOf(money([particular]), amounts, { modelId: 'faces', ownerId: 'acme' })).toBe(0);
    const unmetered = { ...amounts, energyJ: Number.NaN };
    const of = { modelId: 'digits', ownerId: 'acme' };
    expect(amountOf(money([particular]), unmetered, of)).toBeCloseTo(0.008, 12);
  });
});
