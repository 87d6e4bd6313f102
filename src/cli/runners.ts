/** `commonwatt runners`: the processes that compute, for the operator of the server. */
import type { Command } from 'commander';
import { connect, type ServerOptions } from './connection.ts';
import { showBytes } from './quantities.ts';
import { answer, type Terminal, table } from './terminal.ts';

export function define(command: Command, terminal: Terminal): void {
  command
    .addHelpText('after', '\nExamples:\n  $ commonwatt runners\n  $ commonwatt runners restart')
    .action(async (options: ServerOptions) => {
      const { runners } = await connect(options, terminal).server.get();
      const rows = runners.processes.map(({ pid, kind, residentBytes, models }) => [
        String(pid),
        kind,
        showBytes(residentBytes),
        models.map(({ model }) => model).join(' ') || '-',
      ]);
      answer(terminal, options.json, runners, table([['PID', 'KIND', 'RESIDENT', 'MODELS'], ...rows]));
    });
  command
    .command('restart')
    .description('replace them by new ones, one after another, without a failed request')
    .action(async (_: unknown, self: Command) => {
      const options = self.optsWithGlobals<ServerOptions>();
      const done = await connect(options, terminal).server.restartRunners();
      answer(terminal, options.json, done, [
        `${done.runners} runner${done.runners === 1 ? '' : 's'} replaced in ${(done.tookMs / 1000).toFixed(1)} s`,
      ]);
    });
}
