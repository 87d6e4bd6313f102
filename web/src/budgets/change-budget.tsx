import { ProblemNote } from '../parts/problem-note.tsx';
import type { Server } from '../server/server.ts';
import type { Budget } from '../server/shapes.ts';
import { chosen, modeTexts, subjectText } from './budget-words.ts';
import { Dialog, Field } from './dialog.tsx';
import { useSubmit } from './use-submit.ts';

interface Props {
  server: Server;
  budget: Budget;
  onDone: () => void;
  onClose: () => void;
}

export function ChangeBudgetDialog({ server, budget, onDone, onClose }: Props) {
  const { busy, problem, submit } = useSubmit((form) => {
    const warnPercent = String(form.get('warnPercent'));
    return server.changeBudget(budget.id, {
      amount: Number(form.get('amount')),
      mode: chosen(modeTexts, form.get('mode')),
      warnAt: warnPercent === '' ? null : Number(warnPercent) / 100,
    });
  }, onDone);
  return (
    <Dialog title={`Budget of the ${subjectText(budget.subject)}`} onClose={onClose}>
      <form className="fields" onSubmit={submit}>
        <Field label={`At most, ${budget.currency ?? budget.unit} each ${budget.period}`}>
          <input name="amount" type="number" min="0" step="any" defaultValue={budget.amount} required />
        </Field>
        <Field label="Warn at, %">
          <input
            name="warnPercent"
            type="number"
            min="1"
            max="100"
            step="any"
            defaultValue={budget.warnAt === null ? '' : budget.warnAt * 100}
          />
        </Field>
        <div className="whole">
          <Field label="What it does">
            <select name="mode" defaultValue={budget.mode}>
              {Object.entries(modeTexts).map(([mode, text]) => (
                <option key={mode} value={mode}>
                  {text}
                </option>
              ))}
            </select>
          </Field>
        </div>
        <div className="whole">
          {problem && <ProblemNote problem={problem} />}
          <div className="row">
            <button type="button" className="secondary" onClick={onClose}>
              Leave it
            </button>
            <button type="submit" aria-disabled={busy}>
              Change it
            </button>
          </div>
        </div>
      </form>
    </Dialog>
  );
}

export function RemoveBudgetDialog({ server, budget, onDone, onClose }: Props) {
  const { busy, problem, submit } = useSubmit(() => server.removeBudget(budget.id), onDone);
  return (
    <Dialog title={`Remove the budget of the ${subjectText(budget.subject)}?`} onClose={onClose}>
      <form className="fields" onSubmit={submit}>
        <p className="whole">
          Nothing is refused or warned of by it from then on. The ledger stays as it is.
        </p>
        <div className="whole">
          {problem && <ProblemNote problem={problem} />}
          <div className="row">
            <button type="button" className="secondary" onClick={onClose}>
              Keep it
            </button>
            <button type="submit" aria-disabled={busy}>
              Remove it
            </button>
          </div>
        </div>
      </form>
    </Dialog>
  );
}
