import { useState } from 'react';
import { ProblemNote } from '../parts/problem-note.tsx';
import type { Server } from '../server/server.ts';
import type { NewBudget } from '../server/shapes.ts';
import { usePolled } from '../use-polled.ts';
import { budgetOf } from './budget-of.ts';
import { chosen, kindTexts, modeTexts, periodTexts, unitTexts } from './budget-words.ts';
import { Dialog, Field } from './dialog.tsx';
import { suggestedSubjects } from './subjects.ts';
import { useSubmit } from './use-submit.ts';

type Kind = NewBudget['subject']['kind'];
type Unit = NewBudget['unit'];

export function NewBudgetDialog(props: { server: Server; onDone: () => void; onClose: () => void }) {
  const { server, onDone, onClose } = props;
  const [kind, setKind] = useState<Kind>('organisation');
  const [unit, setUnit] = useState<Unit>('energyWh');
  const [mode, setMode] = useState('hard');
  const { busy, problem, submit } = useSubmit((form) => server.setBudget(budgetOf(form)), onDone);
  const mayStopJobs = mode === 'hard' && kind !== 'grant' && kind !== 'model';
  return (
    <Dialog title="Set a budget" onClose={onClose}>
      <form className="fields" onSubmit={submit}>
        <Field label="Of">
          <select
            name="kind"
            value={kind}
            onChange={({ target }) => setKind(chosen(kindTexts, target.value))}
          >
            <Options texts={kindTexts} />
          </select>
        </Field>
        <Field label={kind === 'key' || kind === 'grant' ? 'Its id' : 'Its name'}>
          <input name="name" list="budget-subjects" autoComplete="off" required />
        </Field>
        <Suggestions key={kind} server={server} kind={kind} />
        <Field label="At most">
          <input name="amount" type="number" min="0" step="any" required />
        </Field>
        <Field label="Unit">
          <select
            name="unit"
            value={unit}
            onChange={({ target }) => setUnit(chosen(unitTexts, target.value))}
          >
            <Options texts={unitTexts} />
          </select>
        </Field>
        {unit === 'money' && <Money />}
        <Field label="Each (UTC)">
          <select name="period" defaultValue="day">
            <Options texts={periodTexts} />
          </select>
        </Field>
        <Field label="Warn at, %">
          <input name="warnPercent" type="number" min="1" max="100" step="any" defaultValue="80" />
        </Field>
        <div className="whole">
          <Field label="What it does">
            <select name="mode" value={mode} onChange={({ target }) => setMode(target.value)}>
              <Options texts={modeTexts} />
            </select>
          </Field>
        </div>
        {mayStopJobs && (
          <label className="whole check">
            <input name="stopsJobs" type="checkbox" />
            Ends jobs that run, too
          </label>
        )}
        <div className="whole">
          {problem && <ProblemNote problem={problem} />}
          <div className="row">
            <button type="button" className="secondary" onClick={onClose}>
              Set none
            </button>
            <button type="submit" aria-disabled={busy}>
              Set the budget
            </button>
          </div>
        </div>
      </form>
    </Dialog>
  );
}

/** One price for everything; the command line sets others for single models. */
function Money() {
  return (
    <>
      <Field label="Currency">
        <input name="currency" maxLength={10} defaultValue="EUR" required />
      </Field>
      <Field label="Price of a request">
        <input name="perRequest" type="number" min="0" step="any" defaultValue="0" required />
      </Field>
      <Field label="Price of a row">
        <input name="perRow" type="number" min="0" step="any" defaultValue="0" required />
      </Field>
      <Field label="Price of a Wh">
        <input name="perWh" type="number" min="0" step="any" defaultValue="0" required />
      </Field>
    </>
  );
}

/** What one may name, as far as one sees it; the operator may name others. */
function Suggestions({ server, kind }: { server: Server; kind: Kind }) {
  const [load] = useState(() => (signal: AbortSignal) => suggestedSubjects(server, kind, signal));
  const subjects = usePolled(load, null);
  return (
    <datalist id="budget-subjects">
      {subjects.data?.map(({ name, text }) => (
        <option key={name} value={name}>
          {text}
        </option>
      ))}
    </datalist>
  );
}

function Options({ texts }: { texts: Readonly<Record<string, string>> }) {
  return Object.entries(texts).map(([value, text]) => (
    <option key={value} value={value}>
      {text}
    </option>
  ));
}
