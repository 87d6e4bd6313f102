import { scaleLinear, scaleLog } from 'd3-scale';
import { area, curveMonotoneX, line } from 'd3-shape';
import { useId } from 'react';
import { percent, quantity } from '../format.ts';
import type { CurvePoint } from '../server/shapes.ts';
import { useWidth } from '../use-width.ts';
import { BottomAxis, LeftAxis } from './axes.tsx';
import { type PlottedPoint, plottedCurve, pointAt } from './curve-points.ts';

const height = 280;
const left = 76;
const right = 18;
const top = 26;
const bottom = 46;

/**
 * Impact per request against utilisation, f(RUR) = (a + b/u)/W. The vertical axis is logarithmic: on an idle
 * machine the operating point lies a hundred times above the floor, and both must be readable.
 */
export function ImpactCurve(props: {
  curve: CurvePoint[];
  /** Utilisation, 0 … 1. */
  operatingPoint: number | null;
  floor: number | null;
}) {
  const [frame, width] = useWidth(560);
  const title = useId();
  const given = plottedCurve(props.curve);
  const point = pointAt(given, props.operatingPoint);
  const curve = point ? [...given, point].sort((one, other) => one.utilisation - other.utilisation) : given;
  const values = curve.map(({ gCo2e }) => gCo2e);
  const plottable = curve.length >= 2;
  const x = scaleLinear([0, 1], [left, width - right]);
  const y = scaleLog(plottable ? [Math.min(...values), Math.max(...values)] : [1, 10], [
    height - bottom,
    top,
  ]).nice();
  const pathOf = line<PlottedPoint>()
    .x(({ utilisation }) => x(utilisation))
    .y(({ gCo2e }) => y(gCo2e))
    .curve(curveMonotoneX);
  const areaOf = area<PlottedPoint>()
    .x(({ utilisation }) => x(utilisation))
    .y0(height - bottom)
    .y1(({ gCo2e }) => y(gCo2e))
    .curve(curveMonotoneX);
  const xTicks = x.ticks(5).map((value) => ({ value, at: x(value), text: x.tickFormat(5, '.0%')(value) }));
  const yTicks = logTicks(y.ticks()).map((value) => ({ value, at: y(value), text: quantity(value, 'g') }));
  const labelLeft = point !== null && x(point.utilisation) > width - 190;
  return (
    <div ref={frame} className="plot">
      {plottable ? (
        <svg width={width} height={height} role="img" aria-labelledby={title}>
          <title id={title}>
            {`Carbon of a request against utilisation: it falls from ${describe(curve[0])} to ${describe(curve.at(-1))}. ${point ? `Now: ${describe(point)}.` : 'No operating point yet.'}`}
          </title>
          <LeftAxis ticks={yTicks} x={left} to={width - right} label="gCO₂e per request" />
          <BottomAxis
            ticks={xTicks}
            y={height - bottom}
            from={left}
            to={width - right}
            label="utilisation (RUR)"
          />
          <path className="curve-area" d={areaOf(curve) ?? ''} />
          {props.floor !== null && props.floor > 0 && (
            <line className="floor" x1={left} x2={width - right} y1={y(props.floor)} y2={y(props.floor)} />
          )}
          <path className="curve" d={pathOf(curve) ?? ''} />
          {point && (
            <g transform={`translate(${x(point.utilisation)},${y(point.gCo2e)})`}>
              <circle className="point-halo" r={11} />
              <circle className="point" r={6} />
              <text
                className="point-label"
                x={labelLeft ? -16 : 16}
                dy="0.32em"
                textAnchor={labelLeft ? 'end' : 'start'}
              >
                {`now: ${quantity(point.gCo2e, 'g')} at ${percent(point.utilisation)}`}
              </text>
            </g>
          )}
        </svg>
      ) : (
        <p className="quiet">The curve appears after the first request.</p>
      )}
      {plottable && <CurveTable curve={given} />}
    </div>
  );
}

function CurveTable({ curve }: { curve: PlottedPoint[] }) {
  const step = Math.max(1, Math.floor(curve.length / 10));
  return (
    <details>
      <summary>The curve as a table</summary>
      <table>
        <thead>
          <tr>
            <th scope="col">Utilisation</th>
            <th scope="col">Carbon of a request</th>
          </tr>
        </thead>
        <tbody>
          {curve
            .filter((_, index) => index % step === 0 || index === curve.length - 1)
            .map(({ utilisation, gCo2e }) => (
              <tr key={utilisation}>
                <th scope="row">{percent(utilisation)}</th>
                <td>{quantity(gCo2e, 'gCO₂e')}</td>
              </tr>
            ))}
        </tbody>
      </table>
    </details>
  );
}

/** Powers of ten and, where those are few, their halves and doubles: a logarithmic scale proposes far too many. */
function logTicks(proposed: number[]): number[] {
  const isStep = (steps: number[]) => (value: number) =>
    steps.some((step) => Math.abs(value / 10 ** Math.floor(Math.log10(value) + 1e-9) - step) < 1e-6);
  const tens = proposed.filter(isStep([1]));
  return tens.length >= 3 ? tens : proposed.filter(isStep([1, 2, 5]));
}

function describe(point: PlottedPoint | undefined): string {
  return point ? `${quantity(point.gCo2e, 'g')} at ${percent(point.utilisation)}` : 'unknown';
}
