/** A picture of contributions in the terminal: orange raises the answer, blue lowers it, dark is nothing. */

const raises = [255, 150, 40] as const;
const lowers = [60, 140, 255] as const;

export function heatMap(values: readonly number[], columns: number): string[] {
  const largest = Math.max(...values.map(Math.abs)) || 1;
  const lines: string[] = [];
  for (let start = 0; start < values.length; start += columns) {
    const cells = values.slice(start, start + columns).map((value) => {
      const [red, green, blue] = value < 0 ? lowers : raises;
      const strength = Math.sqrt(Math.abs(value) / largest);
      const shade = (full: number) => Math.round(24 + (full - 24) * strength);
      return `\x1b[48;2;${shade(red)};${shade(green)};${shade(blue)}m  `;
    });
    lines.push(`  ${cells.join('')}\x1b[0m`);
  }
  return [
    ...lines,
    `  \x1b[48;2;${raises.join(';')}m  \x1b[0m raises the answer  \x1b[48;2;${lowers.join(';')}m  \x1b[0m lowers it`,
  ];
}
