import { scaleLinear, scaleLog } from 'd3-scale';
import { area, curveMonotoneX, line, type SymbolType, symbol, symbolCircle, symbolDiamond } from 'd3-shape';
import { useId } from 'react';
import { percent, quantity } from '../format.ts';
import type { CurvePoint, ImpactReport } from '../server/shapes.ts';
import { useWidth } from '../use-width.ts';
import { BottomAxis, LeftAxis } from './axes.tsx';
import { plottedCurve } from './curve-points.ts';

const height = 280;
const left = 76;
const right = 18;
const top = 26;
const bottom = 46;

type OnCurve = Pick<
  ImpactReport['impact'],
  'curve' | 'operatingPoint' | 'sloSafe' | 'best' | 'atFullUtilisationGCo2e'
>;

/**
 * Impact per request against utilisation, f(RUR). The vertical axis is logarithmic: on an idle
 * machine the operating point lies a hundred times above the floor, and both must be readable.
 */
export function ImpactCurve({ impact }: { impact: OnCurve }) {
  const [frame, width] = useWidth(560);
  const title = useId();
  const { operatingPoint: now, sloSafe: safe, best, atFullUtilisationGCo2e: floor } = impact;
  const given = plottedCurve(impact.curve);
  const curve = plottedCurve([...given, now, safe, best]);
  const values = curve.map(({ gCo2ePerRequest }) => gCo2ePerRequest);
  if (given.length < 2)
    return (
      <div ref={frame} className="plot">
        <p className="quiet">The curve appears after the first request.</p>
      </div>
    );
  const x = scaleLinear([0, 1], [left, width - right]);
  const y = scaleLog([Math.min(...values), Math.max(...values)], [height - bottom, top]).nice();
  const pathOf = line<CurvePoint>()
    .x(({ utilisation }) => x(utilisation))
    .y(({ gCo2ePerRequest }) => y(gCo2ePerRequest))
    .curve(curveMonotoneX);
  const areaOf = area<CurvePoint>()
    .x(({ utilisation }) => x(utilisation))
    .y0(height - bottom)
    .y1(({ gCo2ePerRequest }) => y(gCo2ePerRequest))
    .curve(curveMonotoneX);
  const xTicks = x.ticks(5).map((value) => ({ value, at: x(value), text: x.tickFormat(5, '.0%')(value) }));
  const yTicks = logTicks(y.ticks()).map((value) => ({ value, at: y(value), text: quantity(value, 'g') }));
  const mark = (point: CurvePoint | null, className: string, shape: SymbolType) =>
    plottedCurve([point]).map(({ utilisation, gCo2ePerRequest }) => (
      <path
        key={className}
        className={className}
        d={symbol(shape, 130)() ?? ''}
        transform={`translate(${x(utilisation)},${y(gCo2ePerRequest)})`}
      />
    ));
  return (
    <div ref={frame} className="plot">
      <svg width={width} height={height} role="img" aria-labelledby={title}>
        <title id={title}>
          {`Carbon of a request against utilisation: it goes from ${onCurveText(given[0])} to ${onCurveText(given.at(-1))}. ${now ? `Now: ${onCurveText(now)}.` : 'No operating point yet.'}${safe ? ` The best use that keeps the latency: ${onCurveText(safe)}.` : ''}`}
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
        {floor !== null && floor > 0 && (
          <line className="floor" x1={left} x2={width - right} y1={y(floor)} y2={y(floor)} />
        )}
        <path className="curve" d={pathOf(curve) ?? ''} />
        {mark(safe, 'safe-point', symbolDiamond)}
        {mark(now, 'point', symbolCircle)}
      </svg>
      <CurveTable curve={given} />
    </div>
  );
}

function CurveTable({ curve }: { curve: CurvePoint[] }) {
  return (
    <details>
      <summary>The curve as a table</summary>
      <table>
        <thead>
          <tr>
            <th scope="col">Utilisation</th>
            <th scope="col">Carbon of a request</th>
            <th scope="col">Of an hour</th>
          </tr>
        </thead>
        <tbody>
          {curve.map(({ utilisation, gCo2ePerRequest, gCo2ePerHour }) => (
            <tr key={utilisation}>
              <th scope="row">{percent(utilisation)}</th>
              <td>{quantity(gCo2ePerRequest, 'gCO₂e')}</td>
              <td>{quantity(gCo2ePerHour, 'gCO₂e')}</td>
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

export function onCurveText(point: CurvePoint | undefined): string {
  return point ? `${quantity(point.gCo2ePerRequest, 'g')} at ${percent(point.utilisation)}` : 'unknown';
}
