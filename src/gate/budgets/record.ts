/** A budget as it is kept, and what it says when it refuses. */
import type { Selectable } from 'kysely';
import type { Schema } from '../../storage/db.ts';
import { shortened } from '../limits-place.ts';
import type { Limit, Price, SubjectKind } from '../limits-use.ts';

export interface Budget extends Omit<Limit, 'subject' | 'refusal' | 'prices'> {
  subject: {
    kind: SubjectKind;
    id: string;
    /** As it was when the budget was set. */
    name: string;
    /** Whose it is: the organisation, and the person of a key or person; that of a grant is who was granted. */
    organisationId: string;
    memberId: string | null;
  };
  /** Who set it, and may change it. */
  organisationId: string;
  /** Of money. */
  currency: string | null;
  prices: Price[] | null;
  createdAt: string;
  createdBy: string;
  changedAt: string;
}

type Row = Selectable<Schema['budgets']>;

export function budgetOf(row: Row): Budget {
  return {
    id: row.id,
    subject: {
      kind: row.subject_kind,
      id: row.subject_id,
      name: row.subject_name,
      organisationId: row.subject_organisation_id,
      memberId: row.subject_member_id,
    },
    organisationId: row.organisation_id,
    unit: row.unit,
    amount: row.amount,
    currency: row.currency,
    prices: row.prices === null ? null : (JSON.parse(row.prices) as Price[]),
    period: row.period,
    mode: row.mode,
    warnAt: row.warn_at,
    stopsJobs: row.stops_jobs === 1,
    createdAt: row.created_at,
    createdBy: row.created_by,
    changedAt: row.changed_at,
  };
}

export function rowOf(budget: Budget): Row {
  const { subject, prices } = budget;
  return {
    id: budget.id,
    organisation_id: budget.organisationId,
    subject_kind: subject.kind,
    subject_id: subject.id,
    subject_name: subject.name,
    subject_organisation_id: subject.organisationId,
    subject_member_id: subject.memberId,
    unit: budget.unit,
    amount: budget.amount,
    currency: budget.currency,
    prices: prices === null ? null : JSON.stringify(prices),
    period: budget.period,
    mode: budget.mode,
    warn_at: budget.warnAt,
    stops_jobs: budget.stopsJobs ? 1 : 0,
    created_at: budget.createdAt,
    created_by: budget.createdBy,
    changed_at: budget.changedAt,
  };
}

export function limitOf(budget: Budget): Limit {
  const { id, subject, unit, amount, period, mode, warnAt, stopsJobs, prices } = budget;
  return {
    id,
    subject: { kind: subject.kind, id: subject.id },
    unit,
    amount,
    period,
    mode,
    warnAt,
    stopsJobs,
    ...(prices ? { prices } : {}),
    refusal: (used) => refusal(budget, used),
  };
}

function refusal(budget: Budget, used: number) {
  const { id, subject, amount, period } = budget;
  const hint = 'whoever set the budget can raise it';
  // What others use of their model is not the caller's business.
  if (subject.kind === 'model')
    return { message: `budget ${id} of the model ${subject.name} is used up for this ${period}`, hint };
  return {
    message: `budget ${id} of the ${subject.kind} ${subject.name} allows ${shortened(amount)} ${wordOf(budget)} a ${period}: ${shortened(used)} are used, and no more fits`,
    hint,
  };
}

function wordOf({ unit, currency }: Budget): string {
  const words = {
    requests: 'requests',
    rows: 'rows',
    energyWh: 'Wh',
    carbonGCo2e: 'gCO2e',
    money: currency ?? '',
  };
  return words[unit];
}
