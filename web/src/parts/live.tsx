import type { ReactNode } from 'react';
import { percent, quantity, shareOf, whole } from '../format.ts';
import { RurMeter } from '../marks/rur-meter.tsx';
import { Sparkline } from '../marks/sparkline.tsx';
import type { Server } from '../server/server.ts';
import type { ImpactReport } from '../server/shapes.ts';
import { useLive } from '../use-live.ts';
import type { Polled } from '../use-polled.ts';
import { ProblemNote } from './problem-note.tsx';
import { QualityBadge } from './quality-badge.tsx';

export function LiveSection({ server, report }: { server: Server; report: Polled<ImpactReport> }) {
  const { history, problem } = useLive(server);
  const latest = history.at(-1);
  const data = report.data;
  const quality = data?.quality ?? latest?.quality;
  return (
    <section className="card live" aria-labelledby="live-title">
      <div className="section-head">
        <h2 id="live-title">Live</h2>
        {quality && <QualityBadge quality={quality} {...(data ? { method: data.method } : {})} />}
      </div>
      {report.problem && <ProblemNote problem={report.problem} onRetry={report.reload} />}
      {!report.problem && problem && <ProblemNote problem={problem} />}
      <RurMeter
        headline={data ? data.rur.headline : (latest?.rur ?? null)}
        rur={data?.rur ?? null}
        unknown={data?.unknown.rur}
      />
      <dl className="tiles">
        <Tile name="Power now" value={quantity(latest?.powerW, 'W')}>
          <Sparkline
            values={history.map(({ powerW }) => powerW)}
            label="Power in the last two minutes"
            unit="W"
            from={`${Math.round((history.length * 2) / 60) || '< 1'} min ago`}
            to="now"
          />
        </Tile>
        <Tile name="Energy so far" value={quantity(data?.consumption.energyWh, 'Wh')}>
          {data &&
            `${hoursOf(data)}, as far as settled; ${percent(shareOf(data.split.idleWh, data.split.meterWh))} of the platform’s energy idles`}
        </Tile>
        <Tile name="Carbon" value={quantity(data?.consumption.carbonGCo2e, 'gCO₂e')}>
          {data && <CarbonBasis report={data} />}
        </Tile>
        <Tile name="Requests" value={whole(data?.consumption.requests)}>
          {data && perRequest(data)}
        </Tile>
      </dl>
    </section>
  );
}

function Tile({ name, value, children }: { name: string; value: string; children: ReactNode }) {
  return (
    <div className="tile">
      <dt>{name}</dt>
      <dd className="figure">{value}</dd>
      <dd className="quiet">{children}</dd>
    </div>
  );
}

function CarbonBasis({ report }: { report: ImpactReport }) {
  const { intensityGPerKwh: intensity, pue, zone, consumption } = report;
  return (
    <span title={intensity.source}>
      {`+ ${quantity(consumption.embodiedGCo2e, 'g')} embodied · ${zone} ${quantity(intensity.value, 'g/kWh')} (${intensity.kind}), PUE ${pue.value}${pue.assumed ? ' assumed' : ''}`}
    </span>
  );
}

function hoursOf({ from, to }: ImpactReport): string {
  return `last ${whole(Math.round((Date.parse(to) - Date.parse(from)) / 3_600_000))} hours`;
}

function perRequest({ consumption, impact, unknown }: ImpactReport): string {
  const jobs = `${whole(consumption.jobs)} ${consumption.jobs === 1 ? 'job' : 'jobs'}`;
  const each = impact.perRequestGCo2e;
  return each === null
    ? `${jobs} · ${unknown.perRequestGCo2e ?? 'nothing per request yet'}`
    : `${jobs} · ${quantity(each, 'gCO₂e')} a request, embodied included`;
}
