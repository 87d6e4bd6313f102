/** Budgets: how much of what a key, a person, an organisation, a grant or a model may use in a period. */
import type { CallOptions, Transport } from './transport.ts';

export type BudgetSubjectKind = 'key' | 'member' | 'organisation' | 'grant' | 'model';
export type BudgetUnit = 'requests' | 'rows' | 'energyWh' | 'carbonGCo2e' | 'money';

/** In the budget's currency. */
export interface BudgetPrice {
  /** A model (`org/model`), all models of an organisation (`org`), or absent: everything else. */
  of?: string;
  perRequest?: number;
  perRow?: number;
  perWh?: number;
}

export interface NewBudget {
  /** Keys and grants by id, members, organisations and models by name. */
  subject: { kind: BudgetSubjectKind; name: string };
  unit: BudgetUnit;
  amount: number;
  /** Calendar periods, UTC. */
  period: 'hour' | 'day' | 'month';
  /** hard (the default) refuses, soft warns, shadow only counts. */
  mode?: 'hard' | 'soft' | 'shadow';
  /** The part used from which callers are warned, by default 0.8; null: never. */
  warnAt?: number | null;
  /** Hard budgets of keys, members and organisations: jobs that run are ended, too. */
  stopsJobs?: boolean;
  /** Of money. */
  currency?: string | null;
  prices?: BudgetPrice[] | null;
}

export type BudgetChange = Partial<Pick<NewBudget, 'amount' | 'mode' | 'warnAt' | 'stopsJobs'>> & {
  prices?: BudgetPrice[];
};

export interface Budget extends Required<Omit<NewBudget, 'subject'>> {
  id: string;
  subject: { kind: BudgetSubjectKind; id: string; name: string };
  /** In its unit, by what the ledger has booked in this period; null: why stands in `unknown`. */
  used: number | null;
  /** Of requests in flight, estimated. */
  reserved: number;
  refused: number;
  /** Under a shadow budget. */
  wouldHaveRefused: number;
  periodEnd: string;
  unknown: Record<string, string>;
  createdAt: string;
  createdBy: string;
}

export type BudgetResource = ReturnType<typeof budgetResource>;

export function budgetResource(transport: Transport) {
  const path = (id: string) => `/api/v1/budgets/${encodeURIComponent(id)}`;
  return {
    /** Oldest first. */
    async list(options?: CallOptions): Promise<Budget[]> {
      return (await transport.json<{ budgets: Budget[] }>('GET', '/api/v1/budgets', options)).budgets;
    },
    set(budget: NewBudget, options?: CallOptions): Promise<Budget> {
      return transport.json('POST', '/api/v1/budgets', { ...options, json: budget });
    },
    change(id: string, change: BudgetChange, options?: CallOptions): Promise<Budget> {
      return transport.json('PATCH', path(id), { ...options, json: change });
    },
    remove(id: string, options?: CallOptions): Promise<void> {
      return transport.nothing('DELETE', path(id), options);
    },
  };
}
