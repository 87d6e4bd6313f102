import { joulesOf, percent, quantity, shareOf } from '../format.ts';
import { QualityBadge } from '../parts/quality-badge.tsx';
import type { Impact } from '../server/shapes.ts';

/** What one answer used, with its joules, and what share of it paid for being ready. */
export function Footprint({ impact }: { impact: Impact | null }) {
  if (!impact) return <p className="quiet">The answer carried no footprint.</p>;
  // A figure that is shown as unknown is named; what is merely not included speaks for itself.
  const reasons = Object.entries(impact.unknown).map(([field, reason]): [string, string] => [
    field,
    Reflect.get(impact, field) === null ? `${nameOf(field)} is unknown: ${reason}` : reason,
  ]);
  return (
    <div className="footprint">
      <dl>
        <div>
          <dt>Energy</dt>
          <dd>
            {quantity(impact.energyWh, 'Wh')}{' '}
            <span className="quiet">{quantity(joulesOf(impact.energyWh), 'J')}</span>
          </dd>
        </div>
        <div>
          <dt>Carbon</dt>
          <dd>{quantity(impact.carbonGCo2e, 'gCO₂e')}</dd>
        </div>
        <div>
          <dt>Idle share</dt>
          <dd>{percent(shareOf(impact.idleShareWh, impact.energyWh))}</dd>
        </div>
      </dl>
      <p>
        <QualityBadge quality={impact.quality} method={impact.method} />{' '}
        <span className="badge" title="Settled figures follow in the report when the meter's interval closes">
          {impact.settled ? 'settled' : 'provisional'}
        </span>
      </p>
      {reasons.map(([field, reason]) => (
        <p className="quiet" key={field}>
          {reason}
        </p>
      ))}
    </div>
  );
}

/** `waterL` is water: the unit is no part of what is unknown. */
function nameOf(field: string): string {
  return field.replace(/(L|Wh|GCo2e)$/, '');
}
