import { scaleLinear } from 'd3-scale';
import { line } from 'd3-shape';
import { quantity } from '../format.ts';

const width = 190;
const height = 58;
const left = 4;
const plotTop = 16;
const plotBottom = 40;

interface Props {
  values: (number | null)[];
  label: string;
  unit: string;
  /** What stands below its ends. */
  from: string;
  to: string;
}

/** A small curve of values one after another, from 0 to their highest; gaps where a value is unknown. */
export function Sparkline({ values, label, unit, from, to }: Props) {
  const known = values.filter((value) => value !== null);
  if (known.length < 2) return <>waiting for the meter</>;
  const most = Math.max(...known);
  const x = scaleLinear([0, Math.max(1, values.length - 1)], [left, width - left]);
  const y = scaleLinear([0, most || 1], [plotBottom, plotTop]);
  const path = line<number | null>()
    .defined((value) => value !== null)
    .x((_, index) => x(index))
    .y((value) => y(value ?? 0))(values);
  return (
    <svg
      className="sparkline axis"
      width={width}
      height={height}
      role="img"
      aria-label={`${label}: between ${quantity(Math.min(...known), unit)} and ${quantity(most, unit)}`}
    >
      <line className="rule" x1={left} x2={width - left} y1={plotTop} y2={plotTop} />
      <line x1={left} x2={width - left} y1={plotBottom} y2={plotBottom} />
      <text x={left} y={plotTop - 4}>{`highest ${quantity(most, unit)}`}</text>
      <text x={left} y={plotBottom + 14}>
        {from}
      </text>
      <text x={width - left} y={plotBottom + 14} textAnchor="end">
        {to}
      </text>
      <path d={path ?? ''} />
    </svg>
  );
}
