import { scaleLinear } from 'd3-scale';
import { percentValue, signedQuantity } from '../format.ts';
import { reachOf, waterfall } from '../marks/waterfall.ts';
import type { SavingByCause, SharingReport } from '../server/shapes.ts';

const words: Record<keyof SavingByCause, [string, string]> = {
  utilisationGCo2e: ['Fewer, fuller servers', 'idle power'],
  batchingGCo2e: ['Common batches', 'CPU time, and one service instead of many'],
  pueGCo2e: ['A better building', 'PUE'],
  gridGCo2e: ['Cleaner electricity', 'grid'],
  embodiedGCo2e: ['Less hardware', 'embodied carbon'],
};

/** What the saving comes from: bars that begin where the one before ended, and sum to it. */
export function Decomposition({ sharing }: { sharing: SharingReport }) {
  const { decomposition, savingGCo2e: saving, savingPercent, low, high } = sharing;
  if (saving === null) return null;
  const falls = waterfall(decomposition);
  const reach = reachOf(falls);
  const x = scaleLinear(reach[0] === reach[1] ? [0, 1] : reach, [0, 100]);
  return (
    <>
      <h3>What the saving comes from</h3>
      <table className="fall" aria-label="What the saving comes from">
        <thead>
          <tr>
            <th scope="col">Cause</th>
            <th scope="col">Saved</th>
          </tr>
        </thead>
        <tbody>
          {falls.map(({ cause, grams, from, to }) => (
            <tr key={cause}>
              <th scope="row">
                {words[cause][0]} <span className="quiet">{words[cause][1]}</span>
                <Bar from={x(from)} to={x(to)} zero={x(0)} grams={grams} />
              </th>
              <td className={grams < 0 ? 'worse' : ''}>{signedQuantity(grams, 'g')}</td>
            </tr>
          ))}
          <tr className="total">
            <th scope="row">
              {`Saved against ${sharing.headlineBaseline}`}{' '}
              {savingPercent !== null && low !== null && high !== null && (
                <span className="quiet">{`${percentValue(low)} to ${percentValue(high)} (5–95 %)`}</span>
              )}
              <Bar from={x(0)} to={x(saving)} zero={x(0)} grams={saving} />
            </th>
            <td className={saving < 0 ? 'worse' : ''}>{signedQuantity(saving, 'g')}</td>
          </tr>
        </tbody>
      </table>
    </>
  );
}

/** The number stands beside it, so the bar itself is decoration. */
function Bar({ from, to, zero, grams }: { from: number; to: number; zero: number; grams: number }) {
  const start = Math.min(from, to);
  return (
    <span className="fall-bar" aria-hidden="true">
      <span className="fall-zero" style={{ insetInlineStart: `${zero}%` }} />
      {grams !== 0 && (
        <span
          className={grams < 0 ? 'costs' : 'saves'}
          style={{ insetInlineStart: `${start}%`, inlineSize: `${Math.abs(to - from)}%` }}
        />
      )}
    </span>
  );
}
