/**
 * Budgets: who may use how much of what in a period. An organisation's admin sets them for its keys, its people and
 * itself, the owner of a model for the model and its grants, the operator for all.
 *
 * In: who asks, what is to be limited. Out: limits for the gate, at hand in memory; every change is in the audit trail.
 */
import { randomUUID } from 'node:crypto';
import { CommonwattError } from '../../errors.ts';
import type { Db } from '../../storage/db.ts';
import { actorOf, recordAudit } from '../audit.ts';
import type { Principal } from '../gate.ts';
import type { Limit, Mode, Price, SubjectKind, Unit } from '../limits-use.ts';
import type { Period } from '../periods.ts';
import { forbidden, isAdmin } from '../policy.ts';
import { BudgetLimits } from './applying.ts';
import { type Budget, budgetOf, limitOf, rowOf } from './record.ts';
import { findSubject, pricesOf } from './subjects.ts';

export interface NewBudget {
  subject: { kind: SubjectKind; name: string };
  unit: Unit;
  amount: number;
  period: Period;
  mode: Mode;
  /** The part from which callers are warned; null: never. */
  warnAt: number | null;
  stopsJobs: boolean;
  currency: string | null;
  prices: readonly GivenPrice[] | null;
}

export type GivenPrice = Pick<Price, 'of' | 'perRequest' | 'perRow' | 'perWh'>;
export type BudgetChange = Partial<Pick<NewBudget, 'amount' | 'mode' | 'warnAt' | 'stopsJobs' | 'prices'>>;

export interface BudgetsOptions {
  db: Db;
  /** Called after each committed change, so that remembered decisions are forgotten. */
  changed(): void;
  /** What was counted under it is of no use any more. */
  forget(id: string): void;
  now?: () => Date;
}

/** Of one organisation: each costs every request of its a look. */
const budgetsAtMost = 1000;

export class Budgets {
  readonly limits = new BudgetLimits();
  readonly #options: BudgetsOptions;
  readonly #now: () => Date;
  readonly #budgets = new Map<string, Budget>();

  private constructor(options: BudgetsOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => new Date());
  }

  static async open(options: BudgetsOptions): Promise<Budgets> {
    const budgets = new Budgets(options);
    const rows = await options.db.selectFrom('budgets').selectAll().orderBy('created_at').execute();
    for (const row of rows) budgets.#budgets.set(row.id, budgetOf(row));
    budgets.#apply();
    return budgets;
  }

  /** Whose use it limits or who set it sees it; members see their own and their organisation's. Oldest first. */
  list(principal: Principal): Budget[] {
    return [...this.#budgets.values()].filter((budget) => maySee(principal, budget));
  }

  /** Throws NOT_FOUND, also for what one may not see. */
  get(principal: Principal, id: string): Budget {
    const budget = this.#budgets.get(id);
    if (budget && maySee(principal, budget)) return budget;
    throw new CommonwattError('NOT_FOUND', `budget ${id.slice(0, 80)} does not exist`, {
      where: 'path.id',
      hint: 'list the budgets to see their ids',
    });
  }

  /** What the gate counts for it. Throws NOT_FOUND. */
  limitOf(id: string): Limit {
    const budget = this.#budgets.get(id);
    if (budget) return limitOf(budget);
    throw new CommonwattError('NOT_FOUND', `budget ${id.slice(0, 80)} does not exist`, { where: 'path.id' });
  }

  /** Throws FORBIDDEN, NOT_FOUND (no such subject), INVALID_REQUEST, CONFLICT (too many). */
  async set(principal: Principal, request: NewBudget): Promise<Budget> {
    if (!isAdmin(principal)) throw forbidden(principal, 'set budgets');
    checkMoney(request);
    checkStopsJobs(request, request.subject.kind);
    const own = [...this.#budgets.values()].filter(
      ({ organisationId }) => organisationId === principal.organisationId,
    );
    if (own.length >= budgetsAtMost)
      throw new CommonwattError(
        'CONFLICT',
        `${principal.organisation} has ${budgetsAtMost} budgets already`,
        {
          hint: 'remove those that are not needed any more',
        },
      );
    const { db } = this.#options;
    const { subject: asked, prices, ...rest } = request;
    const subject = await findSubject(db, principal, asked);
    const now = this.#now().toISOString();
    const budget: Budget = {
      id: randomUUID(),
      organisationId: principal.organisationId,
      subject,
      ...rest,
      prices: prices && (await pricesOf(db, principal, prices)),
      createdAt: now,
      createdBy: actorOf(principal),
      changedAt: now,
    };
    await this.#write(principal, 'budget.set', budget, (tx) =>
      tx.insertInto('budgets').values(rowOf(budget)).execute(),
    );
    this.#budgets.set(budget.id, budget);
    this.#applied();
    return budget;
  }

  /** Throws NOT_FOUND, FORBIDDEN, INVALID_REQUEST. */
  async change(principal: Principal, id: string, change: BudgetChange): Promise<Budget> {
    const before = this.#changeable(principal, id);
    const { prices, ...rest } = change;
    const given = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
    const budget: Budget = { ...before, ...given, changedAt: this.#now().toISOString() };
    checkMoney({ ...budget, prices: prices === undefined ? budget.prices : prices });
    checkStopsJobs(budget, budget.subject.kind);
    if (prices) budget.prices = await pricesOf(this.#options.db, principal, prices);
    await this.#write(principal, 'budget.change', budget, (tx) =>
      tx.updateTable('budgets').set(rowOf(budget)).where('id', '=', id).execute(),
    );
    this.#budgets.set(id, budget);
    // What was used so far is counted at the new prices, too.
    if (prices) this.#options.forget(id);
    this.#applied();
    return budget;
  }

  async remove(principal: Principal, id: string): Promise<void> {
    const budget = this.#changeable(principal, id);
    await this.#write(principal, 'budget.remove', budget, (tx) =>
      tx.deleteFrom('budgets').where('id', '=', id).execute(),
    );
    this.#budgets.delete(id);
    this.#options.forget(id);
    this.#applied();
  }

  #changeable(principal: Principal, id: string): Budget {
    const budget = this.get(principal, id);
    const mayChange = isAdmin(principal) && budget.organisationId === principal.organisationId;
    if (mayChange || principal.role === 'operator') return budget;
    throw forbidden(principal, `change budget ${id}: whoever set it may`);
  }

  async #write(
    principal: Principal,
    action: string,
    budget: Budget,
    work: (tx: Db) => Promise<unknown>,
  ): Promise<void> {
    const { subject, unit, amount, currency, period, mode, warnAt, stopsJobs, prices } = budget;
    await this.#options.db.transaction().execute(async (tx) => {
      await work(tx);
      await recordAudit(
        tx,
        {
          actor: actorOf(principal),
          organisationId: budget.organisationId,
          action,
          subject: budget.id,
          detail: {
            of: `${subject.kind} ${subject.name}`,
            unit,
            amount,
            period,
            mode,
            warnAt,
            stopsJobs,
            ...(prices ? { currency, prices } : {}),
          },
        },
        this.#now(),
      );
    });
  }

  #apply(): void {
    this.limits.replaceAll([...this.#budgets.values()].map(limitOf));
  }

  #applied(): void {
    this.#apply();
    this.#options.changed();
  }
}

function maySee(principal: Principal, { organisationId, subject }: Budget): boolean {
  if (principal.role === 'operator') return true;
  if (isAdmin(principal) && organisationId === principal.organisationId) return true;
  if (subject.organisationId !== principal.organisationId) return false;
  const isPersonal = subject.kind === 'key' || subject.kind === 'member';
  return isAdmin(principal) || !isPersonal || subject.memberId === principal.memberId;
}

/** Jobs are somebody's: of a model and a grant, rows are refused. */
function checkStopsJobs({ stopsJobs, mode }: Pick<NewBudget, 'stopsJobs' | 'mode'>, kind: SubjectKind): void {
  if (!stopsJobs) return;
  const ofSomebody = kind === 'key' || kind === 'member' || kind === 'organisation';
  if (ofSomebody && mode === 'hard') return;
  throw new CommonwattError(
    'INVALID_REQUEST',
    `a ${mode} budget of a ${kind} does not stop jobs: a hard one of a key, a member or an organisation can`,
    { where: 'body.stopsJobs', hint: 'leave it out, or set such a budget' },
  );
}

/** Money needs a currency and what things cost; nothing else has any. */
function checkMoney({ unit, currency, prices }: Pick<NewBudget, 'unit' | 'currency' | 'prices'>): void {
  if (unit === 'money') {
    const missing =
      currency === null ? 'currency' : prices === null || prices.length === 0 ? 'prices' : undefined;
    if (!missing) return;
    throw new CommonwattError('INVALID_REQUEST', `a budget of money needs ${missing}`, {
      where: `body.${missing}`,
      hint: '{"currency": "EUR", "prices": [{"perRequest": 0.001}]} is complete',
    });
  }
  if (currency === null && prices === null) return;
  throw new CommonwattError('INVALID_REQUEST', `a budget of ${unit} has no currency and no prices`, {
    where: 'body.unit',
    hint: 'use the unit "money", or leave them out',
  });
}
