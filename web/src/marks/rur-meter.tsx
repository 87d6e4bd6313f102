import { scaleLinear } from 'd3-scale';
import { percent } from '../format.ts';
import type { ImpactReport, Utilisation } from '../server/shapes.ts';
import { useWidth } from '../use-width.ts';

const height = 40;

/** The resource utilization rate as a bar from 0 to 100 %, with CPU and memory apart. */
export function RurMeter(props: {
  headline: number | null;
  rur: ImpactReport['rur'] | null;
  /** Why there is no headline. */
  unknown: string | undefined;
}) {
  const [frame, width] = useWidth(600);
  const x = scaleLinear([0, 1], [0, width]);
  const share = props.headline ?? 0;
  return (
    <div className="rur">
      <p className="rur-figure">
        <span className="figure">{percent(props.headline)}</span>
        <abbr title="Resource utilization rate: what was used of what was supplied">RUR</abbr>
      </p>
      <div ref={frame} className="rur-bar">
        <meter className="heard" min={0} max={1} value={share} aria-label="Resource utilization rate">
          {percent(props.headline)}
        </meter>
        <svg width={width} height={height} aria-hidden="true">
          <rect className="track" width={width} height={16} rx={8} />
          {share > 0 && (
            <rect className="fill" width={Math.max(4, x(Math.min(1, share)))} height={16} rx={8} />
          )}
          {x.ticks(5).map((tick) => (
            <text
              key={tick}
              x={x(tick)}
              y={34}
              textAnchor={tick === 0 ? 'start' : tick === 1 ? 'end' : 'middle'}
            >
              {x.tickFormat(5, '.0%')(tick)}
            </text>
          ))}
        </svg>
      </div>
      {props.headline === null && props.unknown && (
        <p className="quiet rur-parts">{`Not known: ${props.unknown}.`}</p>
      )}
      {props.rur && props.headline !== null && (
        <dl className="rur-parts">
          <ResourceRur name="CPU" rur={props.rur.cpu} />
          <ResourceRur name="Memory" rur={props.rur.memory} />
          {props.rur.accelerator && <ResourceRur name="Accelerators" rur={props.rur.accelerator} />}
          {props.rur.goodput.partOfUsed !== null && (
            <div>
              <dt>Goodput</dt>
              <dd>{`${percent(props.rur.goodput.partOfUsed)} of what was used came to something`}</dd>
            </div>
          )}
        </dl>
      )}
    </div>
  );
}

function ResourceRur({ name, rur }: { name: string; rur: Utilisation }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        {`${percent(rur.usedOverSupplied)} used of supplied · ${percent(rur.usedOverReserved)} used of reserved · ${percent(rur.reservedOverSupplied)} reserved of supplied`}
      </dd>
    </div>
  );
}
