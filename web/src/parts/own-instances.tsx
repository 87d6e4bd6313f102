import { percent, quantity } from '../format.ts';
import type { Range, SharingReport } from '../server/shapes.ts';

/** What everyone's own instances are predicted to take, beside what this one took: to be checked by experiment. */
export function OwnInstances({ sharing }: { sharing: SharingReport }) {
  const { own, shared, rebound } = sharing;
  const rows: [string, number | null, Range | null, string][] = [
    ['CPU time', shared.cpuSeconds, own.cpuSeconds, 's'],
    ['Energy', shared.energyWh, own.energyWh, 'Wh'],
    ['Memory', shared.memoryBytes, own.memoryBytes, 'B'],
  ];
  return (
    <>
      <h3>Shared, and as own instances</h3>
      {own.instances === 0 ? (
        <p className="quiet">No organisation asked in this time: there would be no own instance.</p>
      ) : (
        <table aria-label="Shared, and as own instances">
          <thead>
            <tr>
              <th scope="col">Taken by</th>
              <th scope="col">Shared, metered</th>
              <th scope="col">{`${own.instances} own, predicted (5–95 %)`}</th>
            </tr>
          </thead>
          <tbody>
            {rows.map(([name, here, predicted, unit]) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                <td>{here === null ? notKnown : quantity(here, unit)}</td>
                <td>
                  {predicted === null ? (
                    notKnown
                  ) : (
                    <>
                      {quantity(predicted.value, unit)}{' '}
                      <span className="quiet">{`${quantity(predicted.low, unit)} to ${quantity(predicted.high, unit)}`}</span>
                    </>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      <p className="quiet" data-testid="rebound">
        {`Rebound: ${percent(rebound.assumedPart)} of the demand is assumed to be there only because of sharing (declared, not measured). `}
        {rebound.breakEvenPart === null
          ? 'Nothing is saved that it could take back.'
          : `From ${percent(rebound.breakEvenPart)} on nothing would be saved.`}
      </p>
    </>
  );
}

const notKnown = <span className="quiet">not known: this server has not measured itself yet</span>;
