/** `commonwatt regions`: which of several clusters is the cleanest that is near enough, now and as forecast. */
import type { RegionsState } from '@commonwatt/client';
import { type Command, InvalidArgumentError } from 'commander';
import { connect, type ServerOptions } from './connection.ts';
import { answer, type Terminal, table } from './terminal.ts';

interface Options extends ServerOptions {
  maxLatencyMs?: number;
  weight?: number;
  hours: number;
}

export function define(command: Command, terminal: Terminal): void {
  command
    .option('--max-latency-ms <ms>', 'farther ones are no choice', number)
    .option('--weight <g>', 'how many gCO2e/kWh cleaner for each ms farther', number)
    .option('--hours <count>', 'of forecast', number, 24)
    .addHelpText('after', '\nExample:\n  $ commonwatt regions --max-latency-ms 80')
    .action(async (options: Options) => {
      const { maxLatencyMs, weight, hours } = options;
      const state = await connect(options, terminal).regions.get({
        hours,
        ...(maxLatencyMs === undefined ? {} : { maxLatencyMs }),
        ...(weight === undefined ? {} : { gPerKwhPerMs: weight }),
      });
      answer(terminal, options.json, state, regionLines(state));
    });
}

function number(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && value >= 0) return value;
  throw new InvalidArgumentError('write a number');
}

function regionLines({ best, why, regions, forecast }: RegionsState): string[] {
  if (best === null) return ['no regions are configured on this server (docs/carbon-aware.md)'];
  const figure = (value: number | null) => (value === null ? '–' : String(Math.round(value * 10) / 10));
  return [
    ...table([
      ['', 'REGION', 'G/KWH', 'MS', 'SCORE', 'URL'],
      ...regions.map(({ name, gPerKwh, latencyMs, score, url }) => [
        name === best ? '→' : '',
        name,
        figure(gPerKwh),
        String(latencyMs),
        figure(score),
        url,
      ]),
    ]),
    ...(why === 'nearest' ? ['the nearest: none is near enough, or no grid is known'] : []),
    ...table(forecast.map(({ start, end, best: then, gPerKwh }) => [start, '…', end, then, figure(gPerKwh)])),
  ];
}
