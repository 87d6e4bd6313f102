import { quantity } from '../format.ts';
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
