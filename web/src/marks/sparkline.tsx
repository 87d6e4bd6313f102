import { scaleLinear } from 'd3-scale';
import { line } from 'd3-shape';
import { quantity } from '../format.ts';

const width = 150;
const height = 32;

/** A small curve of the newest values, from 0; gaps where a value is unknown. */
export function Sparkline({
  values,
  label,
  unit,
}: {
  values: (number | null)[];
  label: string;
  unit: string;
}) {
  const known = values.filter((value) => value !== null);
  if (known.length < 2) return <>waiting for the meter</>;
  const top = Math.max(...known);
  const x = scaleLinear([0, Math.max(1, values.length - 1)], [2, width - 2]);
  const y = scaleLinear([0, top || 1], [height - 2, 2]);
  const path = line<number | null>()
    .defined((value) => value !== null)
    .x((_, index) => x(index))
    .y((value) => y(value ?? 0))(values);
  return (
    <svg
      className="sparkline"
      width={width}
      height={height}
      role="img"
      aria-label={`${label}: between ${quantity(Math.min(...known), unit)} and ${quantity(top, unit)}`}
    >
      <path d={path ?? ''} />
    </svg>
  );
}
