/** `commonwatt grid`: how dirty the electricity is now and in the next hours, and who says so. */
import type { GridState } from '@commonwatt/client';
import { type Command, InvalidArgumentError } from 'commander';
import { connect, type ServerOptions } from './connection.ts';
import { answer, type Terminal, table } from './terminal.ts';

interface Options extends ServerOptions {
  hours: number;
}

export function define(command: Command, terminal: Terminal): void {
  command
    .option('--hours <count>', 'of forecast, 1 to 168', parseHours, 24)
    .addHelpText('after', '\nExample:\n  $ commonwatt grid --hours 48')
    .action(async (options: Options) => {
      const state = await connect(options, terminal).grid.get({ hours: options.hours });
      answer(terminal, options.json, state, gridLines(state));
    });
}

function parseHours(text: string): number {
  const hours = Number(text);
  if (Number.isInteger(hours) && hours >= 1 && hours <= 168) return hours;
  throw new InvalidArgumentError('a whole number of hours, 1 to 168.');
}

export function gridLines({ current, forecast, sources }: GridState): string[] {
  const labels = [
    current.kind,
    current.scope,
    ...(current.estimated ? ['estimated'] : ['measured']),
    ...(current.stale ? ['STALE'] : []),
  ];
  return [
    `now       ${round(current.gPerKwh)} gCO2e/kWh in ${current.zone} (${labels.join(', ')})`,
    `source    ${current.source}${current.at === null ? '' : `, since ${current.at}`}`,
    ...(current.instead === null ? [] : [`because   ${current.instead}`]),
    ...forecastLines(forecast),
    ...sources.flatMap(({ name, problem, refused }) => [
      ...(problem === null ? [] : [`problem   ${name}: ${problem}`]),
      ...(refused === null ? [] : [`left out  ${name}: ${refused.count} values, e.g. ${refused.reason}`]),
    ]),
  ];
}

function forecastLines(forecast: GridState['forecast']): string[] {
  const [first, ...others] = forecast;
  if (!first || others.length === 0) return ['forecast  none: nothing can be moved to cleaner hours'];
  const highest = Math.max(...forecast.map(({ gPerKwh }) => gPerKwh));
  const width = (gPerKwh: number) => Math.round((gPerKwh / Math.max(highest, 1)) * 30);
  return [
    'forecast',
    ...table(
      forecast.map(({ start, end, gPerKwh }) => [
        `  ${start.slice(0, 16)}Z`,
        `${end.slice(11, 16)}Z`,
        String(round(gPerKwh)),
        '▇'.repeat(width(gPerKwh)),
      ]),
    ),
  ];
}

function round(gPerKwh: number): number {
  return Math.round(gPerKwh * 10) / 10;
}
