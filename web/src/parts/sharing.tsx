import { scaleLinear } from 'd3-scale';
import { percentValue, quantity, signedQuantity } from '../format.ts';
import type { Baseline, SharingReport } from '../server/shapes.ts';
import { Decomposition } from './decomposition.tsx';
import { OwnInstances } from './own-instances.tsx';

/** Sharing against everyone running their own: every baseline, the headline named, negative savings shown. */
export function Sharing({ sharing }: { sharing: SharingReport }) {
  const carbons = [sharing.shared.carbonGCo2e, ...sharing.baselines.map(({ carbonGCo2e }) => carbonGCo2e)];
  const width = scaleLinear([0, Math.max(...carbons.map((carbon) => carbon ?? 0)) || 1], [0, 100]).clamp(
    true,
  );
  return (
    <div>
      <h3>Sharing against everyone running their own</h3>
      <Headline sharing={sharing} />
      <Decomposition sharing={sharing} />
      <h3>Against each way to run it</h3>
      <section className="scroll" aria-label="Baselines">
        <table className="baselines">
          <thead>
            <tr>
              <th scope="col">Way to run it</th>
              <th scope="col">CO₂e</th>
              <th scope="col">Saved by sharing</th>
            </tr>
          </thead>
          <tbody>
            <tr className="shared">
              <th scope="row">
                Shared, as metered
                <Bar percent={width(sharing.shared.carbonGCo2e ?? 0)} />
              </th>
              <td>{quantity(sharing.shared.carbonGCo2e, 'g')}</td>
              <td />
            </tr>
            {sharing.baselines.map((baseline) => (
              <BaselineRow
                key={baseline.id}
                baseline={baseline}
                headline={baseline.id === sharing.headlineBaseline}
                percent={width(baseline.carbonGCo2e ?? 0)}
              />
            ))}
          </tbody>
        </table>
      </section>
      <OwnInstances sharing={sharing} />
      {sharing.assumptions.length > 0 && (
        <details>
          <summary>Assumptions of the comparison</summary>
          <ul>
            {sharing.assumptions.map((assumption) => (
              <li key={assumption}>{assumption}</li>
            ))}
          </ul>
        </details>
      )}
    </div>
  );
}

function Headline({ sharing }: { sharing: SharingReport }) {
  const { savingGCo2e, savingPercent, low, high, distinguishable, headlineBaseline, baselines } = sharing;
  const name = baselines.find(({ id }) => id === headlineBaseline)?.name ?? '';
  const against = `${savingGCo2e !== null && savingGCo2e < 0 ? 'more than' : 'against'} ${headlineBaseline}${name && ` (${name})`}, the headline baseline`;
  const verdict =
    savingGCo2e === null ? 'Not known yet,' : savingGCo2e >= 0 ? 'Sharing saves' : 'Sharing costs';
  return (
    <div className={`headline ${savingGCo2e !== null && savingGCo2e < 0 ? 'worse' : ''}`}>
      <p>
        {verdict}{' '}
        {savingGCo2e !== null && (
          <strong className="figure">{`${quantity(Math.abs(savingGCo2e), 'gCO₂e')}${savingPercent === null ? '' : ` (${percentValue(Math.abs(savingPercent))})`}`}</strong>
        )}{' '}
        <span>{against}</span>
      </p>
      {savingPercent === null && savingGCo2e !== null && (
        <p className="quiet">
          Not known in per cent, nor how sure it is: the other side is 0, as nobody asked in this time.
        </p>
      )}
      {savingPercent !== null && low !== null && high !== null && (
        <p className="quiet">
          {`5–95 % interval of the saving: ${percentValue(low)} to ${percentValue(high)}. Estimated: what is shared was metered, the other side is computed.`}
        </p>
      )}
      {!distinguishable && <p className="badge warn">not distinguishable from 0</p>}
    </div>
  );
}

function BaselineRow(props: { baseline: Baseline; headline: boolean; percent: number }) {
  const { baseline, headline } = props;
  return (
    <tr className={headline ? 'headline-row' : ''}>
      <th scope="row">
        <span className="baseline-name">{`${baseline.id} ${baseline.name}`}</span>
        {headline && <span className="badge">headline</span>}
        <span className="quiet baseline-description">{baseline.description}</span>
        <Bar percent={props.percent} />
      </th>
      <td>{quantity(baseline.carbonGCo2e, 'g')}</td>
      <td className={baseline.savingGCo2e !== null && baseline.savingGCo2e < 0 ? 'worse' : ''}>
        {signedQuantity(baseline.savingGCo2e, 'g')}
        {baseline.savingPercent !== null && (
          <span className="quiet">{` ${percentValue(baseline.savingPercent)}`}</span>
        )}
      </td>
    </tr>
  );
}

/** The number stands beside it, so the bar itself is decoration. */
function Bar({ percent }: { percent: number }) {
  return (
    <span className="bar" aria-hidden="true">
      <span style={{ inlineSize: `${percent}%` }} />
    </span>
  );
}
