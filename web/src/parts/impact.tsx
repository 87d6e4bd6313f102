import { percent, quantity, shareOf, times, whole } from '../format.ts';
import { plottedCurve, pointAt } from '../marks/curve-points.ts';
import { ImpactCurve } from '../marks/impact-curve.tsx';
import type { GridState, ImpactReport } from '../server/shapes.ts';
import type { Polled } from '../use-polled.ts';
import { Bases, Groups } from './bases.tsx';
import { Grid } from './grid.tsx';
import { QualityBadge } from './quality-badge.tsx';
import { Sharing } from './sharing.tsx';

export function ImpactSection(props: { report: Polled<ImpactReport>; grid: Polled<GridState> }) {
  const { report, grid } = props;
  const data = report.data;
  return (
    <section className="card" aria-labelledby="impact-title">
      <div className="section-head">
        <h2 id="impact-title">Impact</h2>
        {data && <QualityBadge quality={data.quality} method={data.method} />}
      </div>
      {!data && <p className="quiet">{report.problem ? 'No report.' : 'Loading the report…'}</p>}
      {data && (
        <div className="two">
          <div>
            <h3>What a request costs at each utilisation</h3>
            <ImpactCurve
              curve={data.impact.curve}
              operatingPoint={data.impact.operatingPoint?.utilisation ?? null}
              floor={data.impact.atFullUtilisationGCo2e}
            />
            <p className="quiet">{curveText(data)}</p>
            <Split split={data.split} />
            <Avoided avoided={data.avoided} />
            <Grid grid={grid} />
          </div>
          <div>
            <Sharing sharing={data.sharing} />
            <Bases consumption={data.consumption} unknown={data.unknown} />
            <Groups groups={data.groups} />
          </div>
          {data.notes.length > 0 && (
            <details className="notes">
              <summary>Notes to these figures</summary>
              <ul>
                {data.notes.map((note) => (
                  <li key={note}>{note}</li>
                ))}
              </ul>
            </details>
          )}
        </div>
      )}
    </section>
  );
}

function curveText({ impact }: ImpactReport): string {
  const { operatingPoint, atFullUtilisationGCo2e: floor, perRequestGCo2e: booked } = impact;
  const now = pointAt(plottedCurve(impact.curve), operatingPoint?.utilisation ?? null);
  const sentences = ['The curve spreads the whole machine, waiting included, over its requests.'];
  if (booked !== null)
    sentences.push(`Booked to your requests is what each used and reserved: ${quantity(booked, 'gCO₂e')}.`);
  if (floor !== null) sentences.push(`The floor, at full use, is ${quantity(floor, 'gCO₂e')}.`);
  if (now && floor)
    sentences.push(
      `At ${percent(now.utilisation)} a request carries ${times(now.gCo2e / floor)} times that: the rest pays for machines that wait.`,
    );
  return sentences.join(' ');
}

function Split({ split }: { split: ImpactReport['split'] }) {
  const parts = [
    ['requests', split.requestsWh],
    ['jobs', split.jobsWh],
    ['idle', split.idleWh],
    ['overhead', split.overheadWh],
    ['unattributed', split.unattributedWh],
  ] as const;
  const total = parts.reduce((sum, [, wattHours]) => sum + (wattHours ?? 0), 0);
  if (total <= 0) return null;
  return (
    <>
      <h3>Where the platform’s energy went</h3>
      <div className="split" aria-hidden="true">
        {parts.map(([name, wattHours]) => (
          <span key={name} className={name} style={{ flexGrow: (wattHours ?? 0) / total }} />
        ))}
      </div>
      <ul className="split-legend">
        {parts.map(([name, wattHours]) => (
          <li key={name}>
            <span className={`swatch ${name}`} aria-hidden="true" />
            {`${name} ${percent(shareOf(wattHours, total))}`}
          </li>
        ))}
      </ul>
    </>
  );
}

/** Beside what was used, never subtracted from it. */
function Avoided({ avoided }: { avoided: ImpactReport['avoided'] }) {
  const { requests, energyWh, carbonGCo2e, quality } = avoided;
  return (
    <>
      <h3>Not computed twice</h3>
      {requests === 0 ? (
        <p className="quiet">No answer was used again in this time.</p>
      ) : (
        <p data-testid="avoided">
          <strong>{whole(requests)}</strong>
          {` ${requests === 1 ? 'request was' : 'requests were'} answered with an answer that was there already. That spared about `}
          <strong>{quantity(energyWh, 'Wh')}</strong>
          {` and ${quantity(carbonGCo2e, 'gCO₂e')}: ${quality}, and not subtracted from any figure here.`}
        </p>
      )}
    </>
  );
}
