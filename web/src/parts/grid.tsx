import { hourOf, moment } from '../format.ts';
import { Sparkline } from '../marks/sparkline.tsx';
import type { GridState } from '../server/shapes.ts';
import type { Polled } from '../use-polled.ts';
import { ProblemNote } from './problem-note.tsx';

/** How dirty the electricity is now, where the value is from, and what is to come. */
export function Grid({ grid }: { grid: Polled<GridState> }) {
  return (
    <>
      <h3>Electricity now</h3>
      {grid.problem && <ProblemNote problem={grid.problem} onRetry={grid.reload} />}
      {grid.data && <Now {...grid.data} />}
    </>
  );
}

function Now({ current, forecast }: GridState) {
  const words = [current.kind, current.scope, current.at ? `since ${moment(current.at)}` : 'of a year'];
  if (current.estimated) words.push('estimated');
  return (
    <>
      <p data-testid="grid">
        <strong className="figure">{`${current.gPerKwh.toFixed(0)}\u00a0gCO₂e/kWh`}</strong>
        {` in ${current.zone}, ${words.join(', ')} `}
        {current.stale && <span className="badge warn">an older value, carried on</span>}
      </p>
      <p className="quiet">{`Source: ${current.source}.${current.instead ? ` ${current.instead}` : ''}`}</p>
      {forecast.length < 2 ? (
        <p className="quiet">No forecast: nothing is known of the coming hours.</p>
      ) : (
        <Forecast forecast={forecast} />
      )}
    </>
  );
}

function Forecast({ forecast }: Pick<GridState, 'forecast'>) {
  const [first, last] = [forecast[0], forecast.at(-1)];
  if (!first || !last) return null;
  return (
    <>
      <Sparkline
        values={forecast.map(({ gPerKwh }) => gPerKwh)}
        label="Forecast"
        unit="g/kWh"
        from={hourOf(first.start)}
        to={hourOf(last.end)}
      />
      <details>
        <summary>The forecast as a table</summary>
        <table>
          <thead>
            <tr>
              <th scope="col">From</th>
              <th scope="col">gCO₂e/kWh</th>
            </tr>
          </thead>
          <tbody>
            {forecast.map(({ start, gPerKwh }) => (
              <tr key={start}>
                <th scope="row">{moment(start)}</th>
                <td>{gPerKwh.toFixed(0)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </details>
    </>
  );
}
