/**
 * What a limit limits, and how much of it a use is. Amounts are finite and never below 0, whatever is told: nothing
 * can be charged that gives room back.
 */
import type { Period } from './periods.ts';

export type Unit = 'requests' | 'rows' | 'energyWh' | 'carbonGCo2e' | 'money';
export type SubjectKind = 'key' | 'member' | 'organisation' | 'grant' | 'model';
export type Mode = 'soft' | 'hard' | 'shadow';

/** What a model, all models of an organisation, or everything else costs. */
export interface Price {
  /** `org/model`, `org`, or absent: whatever no other price names. */
  of?: string | undefined;
  /** Their ids, as they were when the price was set. */
  modelId?: string | undefined;
  ownerId?: string | undefined;
  perRequest: number;
  perRow: number;
  perWh: number;
}

/** Something of which no more than `amount` may be used in a period. */
export interface Limit {
  id: string;
  subject: { kind: SubjectKind; id: string };
  unit: Unit;
  amount: number;
  period: Period;
  mode: Mode;
  /** The part of the amount from which on callers are warned; null: never. */
  warnAt: number | null;
  /** Once it is exhausted, jobs that run are stopped, too. */
  stopsJobs: boolean;
  /** Of money. */
  prices?: readonly Price[];
  /** What it says when it refuses; `used` in its unit. */
  refusal(used: number): { message: string; hint: string };
}

export interface Amounts {
  requests: number;
  rows: number;
  energyJ: number;
  carbonG: number;
}

/** Whose computing it is: what prices depend on. Null: no model's (a training). */
export interface Of {
  modelId: string | null;
  ownerId: string | null;
}

const joulesPerWh = 3600;

/** Of a use, in the limit's unit. A correction may be negative, a sum never is. */
export function amountOf({ unit, prices = [] }: Limit, amounts: Amounts, of: Of): number {
  const { requests, rows, energyJ, carbonG } = amounts;
  switch (unit) {
    case 'requests':
      return finite(requests);
    case 'rows':
      return finite(rows);
    case 'energyWh':
      return finite(energyJ / joulesPerWh);
    case 'carbonGCo2e':
      return finite(carbonG);
    case 'money': {
      const price = priceOf(prices, of);
      if (!price) return 0;
      const { perRequest, perRow, perWh } = price;
      return finite(
        finite(requests * perRequest) + finite(rows * perRow) + finite((energyJ / joulesPerWh) * perWh),
      );
    }
  }
}

/** The model's own before its owner's before everybody's. */
function priceOf(prices: readonly Price[], { modelId, ownerId }: Of): Price | undefined {
  return (
    (modelId === null ? undefined : prices.find((price) => price.modelId === modelId)) ??
    (ownerId === null ? undefined : prices.find((price) => price.ownerId === ownerId)) ??
    prices.find((price) => price.modelId === undefined && price.ownerId === undefined)
  );
}

/** What is not known (NaN, where nothing is metered) or beyond any meter counts as nothing. */
function finite(value: number): number {
  return Number.isFinite(value) ? value : 0;
}
