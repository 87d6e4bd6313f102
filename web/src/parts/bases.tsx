import { quantity, whole } from '../format.ts';
import type { Burden, ImpactReport } from '../server/shapes.ts';

/** What was used beside what was reserved: both add up to the meter, and the difference is waste. */
export function Bases({ consumption, unknown }: Pick<ImpactReport, 'consumption' | 'unknown'>) {
  const { allocated, waste } = consumption;
  const rows: [string, Burden | null][] = [
    ['Used by requests and jobs', allocated && waste ? less(allocated, waste) : null],
    ['Reserved for it', allocated],
    ['Reserved, not used', waste],
  ];
  return (
    <>
      <h3>Used and reserved</h3>
      <section className="scroll" aria-label="Used and reserved">
        <table>
          <thead>
            <tr>
              <th scope="col">Basis</th>
              <th scope="col">Energy</th>
              <th scope="col">CO₂e</th>
              <th scope="col">Hardware</th>
            </tr>
          </thead>
          <tbody>
            {rows.map(([name, burden]) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                <td>{quantity(burden?.energyWh, 'Wh')}</td>
                <td>{quantity(burden?.carbonGCo2e, 'g')}</td>
                <td>{quantity(burden?.embodiedGCo2e, 'g')}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
      {allocated === null && unknown.allocated && <p className="quiet">{unknown.allocated}</p>}
    </>
  );
}

/** The operator's consumption has idle and overhead in it, too, which are waste: so what is used is told by the other two. */
function less(allocated: Burden, waste: Burden): Burden {
  const of = (name: keyof Burden) => {
    const [all, lost] = [allocated[name], waste[name]];
    return all === null || lost === null ? null : Math.max(0, all - lost);
  };
  return { energyWh: of('energyWh'), carbonGCo2e: of('carbonGCo2e'), embodiedGCo2e: of('embodiedGCo2e') };
}

/** Each model with how much its requests differ, and whether its figure is to be trusted yet. */
export function Groups({ groups }: Pick<ImpactReport, 'groups'>) {
  const asked = groups.filter(({ requests }) => requests > 0);
  return (
    <>
      <h3>By model</h3>
      {asked.length === 0 && <p className="quiet">No request in this time.</p>}
      {asked.length > 0 && (
        <section className="scroll" aria-label="By model">
          <table>
            <thead>
              <tr>
                <th scope="col">Model</th>
                <th scope="col">Requests</th>
                <th scope="col">Energy</th>
                <th scope="col">Median</th>
                <th scope="col">99 % below</th>
                <th scope="col">Figure</th>
              </tr>
            </thead>
            <tbody>
              {asked.map(({ key, requests, energyWh, whPerRequest, settled }) => (
                <tr key={key}>
                  <th scope="row">{key}</th>
                  <td>{whole(requests)}</td>
                  <td>{quantity(energyWh, 'Wh')}</td>
                  <td>{quantity(whPerRequest?.p50, 'Wh')}</td>
                  <td>{quantity(whPerRequest?.p99, 'Wh')}</td>
                  <td>{settled === null ? 'not known' : settled ? 'settled' : 'not settled yet'}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      )}
    </>
  );
}
