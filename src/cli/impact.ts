/** `commonwatt impact`: what was used, how well, and what sharing it saves; receipts are in `receipts.ts`, cards and statements in `report-files.ts`. */
import type { GroupBy } from '@commonwatt/client';
import { type Command, InvalidArgumentError } from 'commander';
import { connect, type ServerOptions } from './connection.ts';
import { impactLines } from './impact-report.ts';
import { defineReceipts } from './receipts.ts';
import { defineReportFiles } from './report-files.ts';
import { parseTime } from './share.ts';
import { answer, type Terminal } from './terminal.ts';

const groups = [
  'model',
  'tenant',
  'kind',
  'version',
  'key',
  'member',
  'runner',
  'node',
  'owner',
  'job',
  'outcome',
  'hour',
  'day',
  'month',
] as const satisfies readonly GroupBy[];

interface Options extends ServerOptions {
  from?: string;
  to?: string;
  groupBy?: GroupBy[];
}

export function define(command: Command, terminal: Terminal): void {
  command
    .option('--from <time>', 'ISO 8601 time or date', parseTime)
    .option('--to <time>', 'ISO 8601 time or date', parseTime)
    .option(
      '--group-by <what>',
      `a line for each; several with commas between them: ${groups.join(', ')}`,
      parseGroups,
    )
    .addHelpText('after', '\nExample:\n  $ commonwatt impact --group-by tenant,model')
    .action(async (options: Options) => {
      const report = await connect(options, terminal).impact({
        ...(options.from ? { from: options.from } : {}),
        ...(options.to ? { to: options.to } : {}),
        ...(options.groupBy ? { groupBy: options.groupBy } : {}),
      });
      answer(terminal, options.json, report, impactLines(report));
    });
  defineReportFiles(command, terminal);
  defineReceipts(command, terminal);
}

function parseGroups(text: string): GroupBy[] {
  return text.split(',').map((name) => {
    const known = groups.find((group) => group === name.trim());
    if (!known) throw new InvalidArgumentError(`"${name}" is none of ${groups.join(', ')}`);
    return known;
  });
}
