import { useAction } from '../deployments/use-action.ts';
import { moment, percent, plain, quantity, signedPoints, signedQuantity, whole } from '../format.ts';
import { ProblemNote } from '../parts/problem-note.tsx';
import type { Server } from '../server/server.ts';
import type { ConsolidationState } from '../server/shapes.ts';
import { usePolled } from '../use-polled.ts';
import { change, stepText } from './consolidation-words.ts';

/** What could be fewer and fuller, for the operator: proposed with what it would change, performed, taken back. */
export function Consolidation({ server }: { server: Server }) {
  const state = usePolled(server.consolidation, 15_000);
  const action = useAction(state.reload);
  const { data } = state;
  return (
    <div className="consolidation">
      <h3>Fewer, fuller runners</h3>
      {state.problem?.code === 'NOT_SUPPORTED' ? (
        <p className="quiet">{`${state.problem.message}: ${state.problem.hint ?? ''}`}</p>
      ) : (
        state.problem && <ProblemNote problem={state.problem} onRetry={state.reload} />
      )}
      {action.problem && <ProblemNote problem={action.problem} />}
      <p role="status" className="quiet">
        {action.busy ?? action.done}
      </p>
      {data && <Proposal state={data} />}
      {data && data.steps.length > 0 && (
        <p>
          <button
            type="button"
            aria-disabled={action.busy !== null}
            onClick={() =>
              action.start({ busy: 'Consolidating…', done: 'Done. No request failed for it.' }, () =>
                server.consolidate(),
              )
            }
          >
            Do it
          </button>
        </p>
      )}
      {data?.performed && <Performed performed={data.performed} />}
      {data?.performed && data.performed.undoneAt === null && (
        <p>
          <button
            type="button"
            className="secondary"
            aria-disabled={action.busy !== null}
            onClick={() =>
              action.start({ busy: 'Taking it back…', done: 'It is as it was.' }, () =>
                server.undoConsolidation(),
              )
            }
          >
            Take back what was done
          </button>
        </p>
      )}
    </div>
  );
}

function Proposal({ state }: { state: ConsolidationState }) {
  const { steps, before, after, windowS } = state;
  if (steps.length === 0) return <p className="quiet">{nothingText(windowS)}</p>;
  return (
    <>
      <ul className="steps">
        {steps.map((step) => (
          <li key={stepText(step)}>
            {stepText(step)} <span className="quiet">{step.why}</span>
          </li>
        ))}
      </ul>
      <section className="scroll" aria-label="What consolidation would change">
        <table className="figures">
          <thead>
            <tr>
              <th scope="col">{`Predicted, ${seenIn(windowS)}`}</th>
              <th scope="col">Now</th>
              <th scope="col">Then</th>
              <th scope="col">Change</th>
            </tr>
          </thead>
          <tbody>
            <Change name="Processes" before={before.runners} after={after.runners} show={whole} />
            <Change name="Copies" before={before.copies} after={after.copies} show={whole} />
            <Change
              name="Reserved memory"
              before={before.reservedBytes}
              after={after.reservedBytes}
              show={(bytes) => quantity(bytes, 'B')}
              signed={(bytes) => signedQuantity(bytes, 'B')}
            />
            <Change
              name="RUR of processes"
              before={before.rur}
              after={after.rur}
              show={percent}
              signed={signedPoints}
            />
          </tbody>
        </table>
      </section>
      <p className="quiet">
        What is freed becomes a saving when it carries other work or the machine shrinks; gCO₂e is told once
        it was measured.
      </p>
    </>
  );
}

const watchedAtLeastS = 300;

function nothingText(windowS: number): string {
  return windowS < watchedAtLeastS
    ? 'Nothing to propose yet: what is served is watched for five minutes first.'
    : `Nothing to make fewer or fuller, ${seenIn(windowS)}.`;
}

function seenIn(windowS: number): string {
  return `by what was seen in ${whole(Math.round(windowS / 60))} min`;
}

function Performed({ performed }: { performed: NonNullable<ConsolidationState['performed']> }) {
  const { at, by, steps, skipped, undoneAt, before, after, afterUnknown } = performed;
  return (
    <>
      <p>{`Done last: ${steps.map(stepText).join('; ') || 'no step'} (${by}, ${moment(at)}${undoneAt ? `; taken back ${moment(undoneAt)}` : ''}).`}</p>
      {skipped.length > 0 && (
        <ul className="steps">
          {skipped.map(({ step, why }) => (
            <li key={stepText(step)}>{`Not done: ${stepText(step)}: ${why}`}</li>
          ))}
        </ul>
      )}
      <section className="scroll" aria-label="What consolidation changed">
        <table className="figures">
          <thead>
            <tr>
              <th scope="col">By the ledger</th>
              <th scope="col">Before</th>
              <th scope="col">After</th>
              <th scope="col">Change</th>
            </tr>
          </thead>
          <tbody>
            <Change
              name="CO₂e in an hour"
              before={before?.gCo2ePerHour ?? null}
              after={after?.gCo2ePerHour ?? null}
              show={(grams) => quantity(grams, 'g')}
              signed={(grams) => signedQuantity(grams, 'g')}
            />
            <Change
              name="Energy in an hour"
              before={before?.energyWhPerHour ?? null}
              after={after?.energyWhPerHour ?? null}
              show={(wattHours) => quantity(wattHours, 'Wh')}
              signed={(wattHours) => signedQuantity(wattHours, 'Wh')}
            />
            <Change
              name="RUR"
              before={before?.rur ?? null}
              after={after?.rur ?? null}
              show={percent}
              signed={signedPoints}
            />
            <Change
              name="Requests a second"
              before={before?.requestsPerS ?? null}
              after={after?.requestsPerS ?? null}
              show={plain}
            />
          </tbody>
        </table>
      </section>
      {!before && <p className="quiet">Nothing was metered before it.</p>}
      {!after && <p className="quiet">{`After it: ${afterUnknown ?? 'not measured yet'}.`}</p>}
    </>
  );
}

function Change(props: {
  name: string;
  before: number | null;
  after: number | null;
  show: (value: number | null) => string;
  signed?: (value: number) => string;
}) {
  const { name, before, after, show, signed = signedPlain } = props;
  const difference = change(before, after);
  return (
    <tr>
      <th scope="row">{name}</th>
      <td>{show(before)}</td>
      <td>{show(after)}</td>
      <td>{difference === null ? 'not known' : signed(difference)}</td>
    </tr>
  );
}

function signedPlain(value: number): string {
  return value > 0 ? `+${plain(value)}` : plain(value);
}
