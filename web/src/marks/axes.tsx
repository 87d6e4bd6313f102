export interface Tick {
  value: number;
  /** Position in CSS pixels along the axis. */
  at: number;
  text: string;
}

/** Ticks below a plot; the label stands under them. */
export function BottomAxis(props: { ticks: Tick[]; y: number; from: number; to: number; label: string }) {
  return (
    <g className="axis" transform={`translate(0,${props.y})`}>
      <line x1={props.from} x2={props.to} />
      {props.ticks.map(({ value, at, text }) => (
        <g key={value} transform={`translate(${at},0)`}>
          <line y2={5} />
          <text y={19} textAnchor="middle">
            {text}
          </text>
        </g>
      ))}
      <text className="axis-label" x={props.to} y={38} textAnchor="end">
        {props.label}
      </text>
    </g>
  );
}

/** Ticks left of a plot with thin lines across it; the label stands above. */
export function LeftAxis(props: { ticks: Tick[]; x: number; to: number; label: string }) {
  return (
    <g className="axis">
      {props.ticks.map(({ value, at, text }) => (
        <g key={value} transform={`translate(${props.x},${at})`}>
          <line className="rule" x2={props.to - props.x} />
          <text x={-8} dy="0.32em" textAnchor="end">
            {text}
          </text>
        </g>
      ))}
      <text className="axis-label" x={0} y={12}>
        {props.label}
      </text>
    </g>
  );
}
