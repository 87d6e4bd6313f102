import type { NewBudget } from '../server/shapes.ts';
import { chosen, kindTexts, modeTexts, periodTexts, unitTexts } from './budget-words.ts';

/** What is sent, by the names of the fields; the server judges it. */
export function budgetOf(form: Pick<FormData, 'get'>): NewBudget {
  const text = (name: string) => String(form.get(name) ?? '').trim();
  const unit = chosen(unitTexts, text('unit'));
  const warnPercent = text('warnPercent');
  return {
    subject: { kind: chosen(kindTexts, text('kind')), name: text('name') },
    unit,
    amount: Number(text('amount')),
    period: chosen(periodTexts, text('period')),
    mode: chosen(modeTexts, text('mode')),
    warnAt: warnPercent === '' ? null : Number(warnPercent) / 100,
    ...(form.get('stopsJobs') === null ? {} : { stopsJobs: true }),
    ...(unit === 'money'
      ? {
          currency: text('currency'),
          prices: [
            {
              perRequest: Number(text('perRequest')),
              perRow: Number(text('perRow')),
              perWh: Number(text('perWh')),
            },
          ],
        }
      : {}),
  };
}
