import { format } from 'd3-format';
import { scaleLinear } from 'd3-scale';
import { useId } from 'react';
import { cellsByRow, type Drawing, side } from './brush.ts';

const cell = 26;
const size = cell * side;
const legendHeight = 44;
const signed = format('+.4f');
const tickText = format('+.2~g');

/** Blue, white, orange: told apart with every common colour blindness, and by position in the legend. */
const towardsOdd = '#1d5fa6';
const neither = '#f7f7f4';
const towardsEven = '#d9650b';

/** The attribution of each cell as colour, the drawing on it as dots, a legend, and a table with the numbers. */
export function HeatMap(props: { drawing: Drawing; attributions: { feature: string; value: number }[] }) {
  const title = useId();
  const gradient = useId();
  const strongest = Math.max(...props.attributions.map(({ value }) => Math.abs(value))) || 1;
  const colour = scaleLinear<string>([-strongest, 0, strongest], [towardsOdd, neither, towardsEven]);
  const x = scaleLinear([-strongest, strongest], [0, size]);
  return (
    <>
      <svg
        className="heat-map"
        viewBox={`-1 -1 ${size + 2} ${size + legendHeight + 2}`}
        role="img"
        aria-labelledby={title}
      >
        <title id={title}>{summary(props.attributions)}</title>
        {props.attributions.map(({ feature, value }, index) => (
          <g
            key={feature}
            transform={`translate(${(index % side) * cell},${Math.floor(index / side) * cell})`}
          >
            <rect
              className="heat-cell"
              data-feature={feature}
              width={cell}
              height={cell}
              fill={colour(value)}
            >
              <title>{`row ${Math.floor(index / side) + 1}, column ${(index % side) + 1}: ${signed(value)}`}</title>
            </rect>
            <circle
              className="heat-ink"
              cx={cell / 2}
              cy={cell / 2}
              r={5 * Math.sqrt(props.drawing[index] ?? 0)}
            />
          </g>
        ))}
        <g transform={`translate(0,${size + 12})`}>
          <linearGradient id={gradient}>
            <stop offset="0" stopColor={towardsOdd} />
            <stop offset="0.5" stopColor={neither} />
            <stop offset="1" stopColor={towardsEven} />
          </linearGradient>
          <rect className="heat-legend" width={size} height={10} fill={`url(#${gradient})`} />
          {[-strongest, 0, strongest].map((value, at) => (
            <text key={value} x={x(value)} y={26} textAnchor={(['start', 'middle', 'end'] as const)[at]}>
              {at === 0 ? `${tickText(value)} odd` : at === 1 ? '0' : `${tickText(value)} even`}
            </text>
          ))}
        </g>
      </svg>
      <details>
        <summary>The explanation as a table</summary>
        <section className="scroll" aria-label="Attributions of the cells">
          <table className="heat-table">
            <thead>
              <tr>
                <th scope="col">row</th>
                {cellsByRow.map(({ row: column }) => (
                  <th scope="col" key={column}>
                    {column}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {cellsByRow.map(({ row, cells }) => (
                <tr key={row}>
                  <th scope="row">{row}</th>
                  {cells.map(({ index }) => (
                    <td key={index}>{signed(props.attributions[index]?.value ?? Number.NaN)}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      </details>
    </>
  );
}

function summary(attributions: { feature: string; value: number }[]): string {
  const strongest = attributions
    .map(({ value }, index) => ({ value, row: Math.floor(index / side) + 1, column: (index % side) + 1 }))
    .sort((one, other) => Math.abs(other.value) - Math.abs(one.value))
    .slice(0, 3)
    .map(({ value, row, column }) => `row ${row}, column ${column} (${signed(value)})`);
  return `Attribution of each of the ${attributions.length} cells to the probability of even. The strongest: ${strongest.join('; ')}.`;
}
