/** Budgets that one may see: what is used and held of each, when it begins anew; set, changed and removed by whoever may. */
import { useState } from 'react';
import { moment, whole } from '../format.ts';
import { ProblemNote } from '../parts/problem-note.tsx';
import type { Server } from '../server/server.ts';
import type { Budget, WhoAmI } from '../server/shapes.ts';
import { usePolled } from '../use-polled.ts';
import { amountText, levelText, mayChange, modeTexts, subjectText } from './budget-words.ts';
import { ChangeBudgetDialog, RemoveBudgetDialog } from './change-budget.tsx';
import { NewBudgetDialog } from './new-budget.tsx';

type Open = { what: 'new' } | { what: 'change' | 'remove'; budget: Budget } | null;

export function BudgetsSection({ server, who }: { server: Server; who: WhoAmI }) {
  const budgets = usePolled(server.budgets, 5_000);
  const [open, setOpen] = useState<Open>(null);
  const [done, setDone] = useState('');
  const close = () => setOpen(null);
  const finish = (words: string) => () => {
    close();
    setDone(words);
    budgets.reload();
  };
  const list = budgets.data;
  return (
    <section className="card" aria-labelledby="budgets-title">
      <div className="section-head">
        <h2 id="budgets-title">Budgets</h2>
        {who.role !== 'member' && (
          <button type="button" className="secondary" onClick={() => setOpen({ what: 'new' })}>
            Set a budget…
          </button>
        )}
      </div>
      {budgets.problem && <ProblemNote problem={budgets.problem} onRetry={budgets.reload} />}
      <p role="status" className="quiet">
        {done}
      </p>
      {list?.length === 0 && (
        <p className="quiet">No budget yet: nothing but the limits of grants holds anybody back.</p>
      )}
      {list && list.length > 0 && (
        <section className="scroll" aria-label="List of budgets">
          <table className="figures stacked">
            <thead>
              <tr>
                <th scope="col">Of</th>
                <th scope="col">Used in this period</th>
                <th scope="col">Mode</th>
                <th scope="col">Ends</th>
                <th scope="col">Refused</th>
                {who.role !== 'member' && <th scope="col">Change it</th>}
              </tr>
            </thead>
            <tbody>
              {list.map((budget) => (
                <BudgetRow key={budget.id} budget={budget} who={who} onOpen={setOpen} />
              ))}
            </tbody>
          </table>
        </section>
      )}
      {open?.what === 'new' && (
        <NewBudgetDialog server={server} onDone={finish('The budget is set.')} onClose={close} />
      )}
      {open?.what === 'change' && (
        <ChangeBudgetDialog
          server={server}
          budget={open.budget}
          onDone={finish(`The budget of the ${subjectText(open.budget.subject)} is changed.`)}
          onClose={close}
        />
      )}
      {open?.what === 'remove' && (
        <RemoveBudgetDialog
          server={server}
          budget={open.budget}
          onDone={finish(`The budget of the ${subjectText(open.budget.subject)} is removed.`)}
          onClose={close}
        />
      )}
    </section>
  );
}

function BudgetRow(props: { budget: Budget; who: WhoAmI; onOpen: (open: Open) => void }) {
  const { budget, who, onOpen } = props;
  const { mode, warnAt, refused, wouldHaveRefused, periodEnd } = budget;
  const of = subjectText(budget.subject);
  return (
    <tr>
      <th scope="row">{of}</th>
      <td data-label="Used">
        <Level budget={budget} of={of} />
      </td>
      <td data-label="Mode">
        <span title={modeTexts[mode]}>{mode}</span>
        <span className="quiet line">
          {warnAt === null ? 'no warning' : `warns at ${(warnAt * 100).toFixed(0)}\u00a0%`}
          {budget.stopsJobs && ', ends jobs'}
        </span>
      </td>
      <td data-label="Ends">{moment(periodEnd)}</td>
      <td data-label="Refused">
        {whole(refused)}
        {mode === 'shadow' && (
          <span className="quiet line">{`${whole(wouldHaveRefused)} would have been`}</span>
        )}
      </td>
      {who.role !== 'member' && (
        <td>
          {mayChange(who, budget) ? (
            <div className="row changes">
              {(['change', 'remove'] as const).map((what) => (
                <button
                  key={what}
                  type="button"
                  className="secondary small"
                  onClick={() => onOpen({ what, budget })}
                >
                  {what === 'change' ? 'Change' : 'Remove'}
                  <span className="heard">{` the budget of the ${of}`}</span>
                </button>
              ))}
            </div>
          ) : (
            <span className="quiet">{`set by ${budget.createdBy}`}</span>
          )}
        </td>
      )}
    </tr>
  );
}

function Level({ budget, of }: { budget: Budget; of: string }) {
  const { used, reserved, amount, warnAt, period } = budget;
  const { text, warn } = levelText(budget);
  const most = `${amountText(amount, budget)} each ${period}`;
  if (used === null)
    return (
      <>
        {most} <span className="quiet line">{text}</span>
      </>
    );
  return (
    <>
      <meter
        min={0}
        max={amount}
        high={amount * (warnAt ?? 1)}
        optimum={0}
        value={Math.min(amount, used + reserved)}
        aria-label={`Used of the budget of the ${of}`}
      />{' '}
      <span className={`badge ${warn ? 'warn' : ''}`}>{text}</span>
      <span className="quiet line">
        {`${amountText(used, budget)} of ${most}${reserved > 0 ? `, ${amountText(reserved, budget)} held (estimated)` : ''}`}
      </span>
    </>
  );
}
