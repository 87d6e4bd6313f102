import { quantity, signedQuantity, times } from '../format.ts';
import { ImpactCurve, onCurveText } from '../marks/impact-curve.tsx';
import type { ImpactReport } from '../server/shapes.ts';

/** f(RUR): where the platform is on it, how low it goes, and how far one may go without answering late. */
export function Operating({ impact, unknown }: Pick<ImpactReport, 'impact' | 'unknown'>) {
  const { operatingPoint: now, sloSafe: safe, atFullUtilisationGCo2e: floor } = impact;
  return (
    <>
      <h3>What a request costs at each utilisation</h3>
      <ImpactCurve impact={impact} />
      <dl className="on-curve">
        <div>
          <dt>
            <span className="key now" aria-hidden="true" />
            Now
          </dt>
          <dd>
            {now ? onCurveText(now) : <Reason unknown={unknown} of="operatingPoint" />}
            {now && floor ? `, ${times(now.gCo2ePerRequest / floor)} times the floor` : ''}
          </dd>
        </div>
        <div>
          <dt>
            <span className="key safe" aria-hidden="true" />
            Best that keeps the latency
          </dt>
          <dd>
            {safe ? (
              <>
                {`${onCurveText(safe)}: `}
                {`${safe.model} answers 95 % within ${quantity(safe.objectiveMs / 1000, 's')} up to ${percentOf(safe.mostUtilisation)} (${safe.method}). The same requests would cause ${signedQuantity(-safe.savingGCo2ePerHour, 'gCO₂e')} an hour on a supply used so well.`}
              </>
            ) : (
              <Reason unknown={unknown} of="sloSafe" />
            )}
          </dd>
        </div>
        <div>
          <dt>
            <span className="key least" aria-hidden="true" />
            Floor, at full use
          </dt>
          <dd>
            {floor === null ? <Reason unknown={unknown} of="operatingPoint" /> : quantity(floor, 'gCO₂e')}
          </dd>
        </div>
      </dl>
      <p className="quiet">
        {'The curve spreads the whole machine, waiting included, over its requests. '}
        {impact.perRequestGCo2e !== null &&
          `Booked to your requests is what each used and reserved: ${quantity(impact.perRequestGCo2e, 'gCO₂e')}. `}
        {`In use: ${impact.function.kind}, ${impact.function.formula}.`}
      </p>
    </>
  );
}

/** Why a figure is not known. */
export function Reason({ unknown, of }: { unknown: Record<string, string>; of: string }) {
  return <span className="quiet">{`not known: ${unknown[of] ?? 'the report has no figure'}`}</span>;
}

function percentOf(share: number): string {
  return `${(share * 100).toFixed(0)}\u00a0%`;
}
