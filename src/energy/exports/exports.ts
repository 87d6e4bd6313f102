/**
 * What the ledger is told to others as: SCI scores, manifests of the Impact Framework, impact cards of models, monthly
 * statements. Sums come from the ledger's own queries and formulas from the calculator: nothing is computed here twice.
 *
 * In: a window, a version or a month, and whose. Out: plain data, and the text of the formats. Promise: everything that
 * was computed up to now is settled first, and every figure names its method's version.
 */
import type { Db } from '../../storage/db.ts';
import type { Basis } from '../basis.ts';
import type { Scope } from '../report-queries.ts';
import type { ImpactReport, ReportQuery } from '../reports.ts';
import { inSnapshot } from '../store/snapshot.ts';
import type { Window } from '../store/window.ts';
import { type CardSubject, type ImpactCard, impactCard } from './card.ts';
import { manifestYaml } from './manifest.ts';
import { boundaryOf, type FunctionalUnit, type SciReport, sciReport } from './sci.ts';
import { type Statement, type StatementQuery, statement } from './statement.ts';
import { readBooked, readWindows, type WindowQuery } from './windows.ts';

export interface ExportsOptions {
  db: Db;
  energy: {
    settle(): Promise<void>;
    report(query: ReportQuery): Promise<ImpactReport>;
    settling(): Record<string, { settled: boolean }>;
    basis(): Basis;
  };
  now?: () => Date;
}

export class Exports {
  readonly #options: ExportsOptions;
  readonly #now: () => Date;

  constructor(options: ExportsOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => new Date());
  }

  async sci(window: Window, scope: Scope, unit: FunctionalUnit): Promise<SciReport> {
    await this.#options.energy.settle();
    return sciReport(await this.#read(window, this.#query(scope, boundaryOf(unit))), unit);
  }

  /** Throws INVALID_REQUEST for too many parts. `of`: whose figures they are. */
  async manifest(window: Window, step: 'hour' | 'day', scope: Scope, of: string): Promise<string> {
    await this.#options.energy.settle();
    const query = this.#query(scope, 'work');
    const windows = await readWindows(this.#options.db, window, step, (part) => this.#read(part, query));
    const whole = await this.#read(window, query);
    return manifestYaml({ windows, whole, embodied: this.#options.energy.basis().embodied, of });
  }

  async card(subject: CardSubject): Promise<ImpactCard> {
    const { db, energy } = this.#options;
    await energy.settle();
    const settled = energy.settling()[subject.modelId]?.settled ?? null;
    const facts = { nowMs: this.#now().getTime(), settled };
    return inSnapshot(db, (snapshot) => impactCard(snapshot, subject, facts));
  }

  /** Throws INVALID_REQUEST for what is no month, or one to come. */
  statement(query: StatementQuery): Promise<Statement> {
    return statement((asked) => this.#options.energy.report(asked), query, this.#now());
  }

  #query(scope: Scope, boundary: WindowQuery['boundary']): WindowQuery {
    return { scope, boundary, pueNow: this.#options.energy.basis().pue.value };
  }

  #read(window: Window, query: WindowQuery) {
    return inSnapshot(this.#options.db, (snapshot) => readBooked(snapshot, window, query));
  }
}
