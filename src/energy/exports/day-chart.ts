/** Bars of a month: what was used of what was reserved each day. The table beside it has the numbers. */
import { scaleBand, scaleLinear } from 'd3-scale';
import { escaped, fixed } from './printing.ts';
import type { StatementDay } from './statement.ts';

const width = 720;
const height = 220;
const margin = { top: 22, right: 8, bottom: 26, left: 56 };
const colours = { used: '#2f6b4f', waste: '#c9d8cf', ink: '#16211c', line: '#dde4e0' };

export function dayChart(days: readonly StatementDay[]): string {
  const most = Math.max(...days.map((day) => Math.max(day.energyWh, day.allocated?.energyWh ?? 0)));
  if (days.length === 0 || most <= 0) return '<p>Nothing was booked in this month.</p>';
  const x = scaleBand(
    days.map(({ day }) => day),
    [margin.left, width - margin.right],
  ).padding(0.2);
  const y = scaleLinear([0, most], [height - margin.bottom, margin.top]).nice(4);
  const grid = y.ticks(4).map((tick) => {
    const at = y(tick).toFixed(1);
    return `<line x1="${margin.left}" x2="${width - margin.right}" y1="${at}" y2="${at}" stroke="${colours.line}"/><text x="${margin.left - 6}" y="${at}" text-anchor="end" dominant-baseline="middle">${escaped(y.tickFormat(4)(tick))}</text>`;
  });
  const bar = (day: string, from: number, to: number, colour: string) =>
    to > from
      ? `<rect x="${x(day)?.toFixed(1)}" width="${x.bandwidth().toFixed(1)}" y="${y(to).toFixed(1)}" height="${(y(from) - y(to)).toFixed(1)}" fill="${colour}"/>`
      : '';
  const bars = days.map(({ day, energyWh, allocated, waste }) => {
    const reserved = allocated?.energyWh ?? energyWh;
    const worked = waste ? Math.min(reserved, reserved - waste.energyWh) : energyWh;
    return bar(day, 0, worked, colours.used) + bar(day, worked, reserved, colours.waste);
  });
  const labels = days.map(
    ({ day }) =>
      `<text x="${((x(day) ?? 0) + x.bandwidth() / 2).toFixed(1)}" y="${height - margin.bottom + 14}" text-anchor="middle">${Number(day.slice(8))}</text>`,
  );
  const about = `Energy by day, Wh. The most was ${fixed(most, 3)} Wh. Dark: requests and trainings; light: reserved besides.`;
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escaped(about)}" font-size="10" font-family="inherit" fill="${colours.ink}">
<rect x="${margin.left}" y="2" width="10" height="10" fill="${colours.used}"/><text x="${margin.left + 15}" y="11">used by requests and trainings, Wh</text>
<rect x="${margin.left + 210}" y="2" width="10" height="10" fill="${colours.waste}"/><text x="${margin.left + 225}" y="11">reserved besides (waste), Wh</text>
${grid.join('')}${bars.join('')}${labels.join('')}</svg>`;
}
