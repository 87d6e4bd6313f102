import { percent, quantity, shareOf, whole } from '../format.ts';
import type { Server } from '../server/server.ts';
import type { GridState, GroupBy, ImpactReport } from '../server/shapes.ts';
import type { Polled } from '../use-polled.ts';
import { Bases } from './bases.tsx';
import { Grid } from './grid.tsx';
import { Groups } from './groups.tsx';
import { Operating } from './operating.tsx';
import { QualityBadge } from './quality-badge.tsx';
import { Sharing } from './sharing.tsx';

interface Props {
  server: Server;
  report: Polled<ImpactReport>;
  grid: Polled<GridState>;
  groupBy: GroupBy;
  onGroupBy: (groupBy: GroupBy) => void;
}

export function ImpactSection({ server, report, grid, groupBy, onGroupBy }: Props) {
  const data = report.data;
  return (
    <section className="card" aria-labelledby="impact-title">
      <div className="section-head">
        <h2 id="impact-title">Impact</h2>
        {data && <QualityBadge quality={data.quality} method={data.method} />}
      </div>
      {!data && <p className="quiet">{report.problem ? 'No report.' : 'Loading the report…'}</p>}
      {!data && <Grid grid={grid} />}
      {data && (
        <div className="two">
          <div>
            <Operating impact={data.impact} unknown={data.unknown} />
            <Split split={data.split} />
            <Bases consumption={data.consumption} unknown={data.unknown} />
            <Avoided avoided={data.avoided} />
            <Grid grid={grid} />
          </div>
          <Sharing sharing={data.sharing} />
          <div className="wide">
            <Groups server={server} report={data} groupBy={groupBy} onGroupBy={onGroupBy} />
            {data.notes.length > 0 && (
              <details>
                <summary>Notes to these figures</summary>
                <ul>
                  {data.notes.map((note) => (
                    <li key={note}>{note}</li>
                  ))}
                </ul>
              </details>
            )}
          </div>
        </div>
      )}
    </section>
  );
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
