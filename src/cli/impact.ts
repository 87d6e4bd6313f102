/** `commonwatt impact`: what was used, how well, and what sharing it saves; its receipts are in `receipts.ts`. */
import type { GroupBy } from '@commonwatt/client';
import { type Command, Option } from 'commander';
import { connect, type ServerOptions } from './connection.ts';
import { impactLines } from './impact-report.ts';
import { defineReceipts } from './receipts.ts';
import { parseTime } from './share.ts';
import { answer, type Terminal } from './terminal.ts';

interface Options extends ServerOptions {
  from?: string;
  to?: string;
  groupBy?: GroupBy;
}

export function define(command: Command, terminal: Terminal): void {
  command
    .option('--from <time>', 'ISO 8601 time or date', parseTime)
    .option('--to <time>', 'ISO 8601 time or date', parseTime)
    .addOption(
      new Option('--group-by <what>', 'a line for each').choices([
        'model',
        'tenant',
        'kind',
        'version',
        'key',
      ]),
    )
    .addHelpText('after', '\nExample:\n  $ commonwatt impact --group-by tenant')
    .action(async (options: Options) => {
      const report = await connect(options, terminal).impact({
        ...(options.from ? { from: options.from } : {}),
        ...(options.to ? { to: options.to } : {}),
        ...(options.groupBy ? { groupBy: options.groupBy } : {}),
      });
      answer(terminal, options.json, report, impactLines(report));
    });
  defineReceipts(command, terminal);
}
