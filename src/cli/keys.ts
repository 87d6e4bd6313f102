/** `commonwatt keys`: API keys of the organisation (administrators) or one's own. */
import type { Command } from 'commander';
import { connect, type ServerOptions } from './connection.ts';
import { parseTime } from './share.ts';
import { answer, type Terminal, table } from './terminal.ts';

interface CreateOptions extends ServerOptions {
  member?: string;
  expires?: string;
}

export function define(command: Command, terminal: Terminal): void {
  command
    .addHelpText(
      'after',
      '\nExamples:\n  $ commonwatt keys\n  $ commonwatt keys create laptop --expires 2027-01-31',
    )
    .action(async (options: ServerOptions) => {
      const keys = await connect(options, terminal).keys.list();
      const rows = keys.map((key) => [
        key.id,
        key.name,
        `${key.prefix}…`,
        key.member,
        key.createdAt,
        key.expiresAt ?? 'never',
        key.revokedAt ? 'revoked' : 'active',
      ]);
      const heading = ['ID', 'NAME', 'KEY', 'MEMBER', 'CREATED', 'EXPIRES', 'STATE'];
      answer(terminal, options.json, { keys }, table([heading, ...rows]));
    });
  command
    .command('create')
    .description('make a key; it is shown this once')
    .argument('<name>', 'what it is for')
    .option('--member <name>', 'whose key (default: yours)')
    .option('--expires <time>', 'ISO 8601 time or date', parseTime)
    .action(async (name: string, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<CreateOptions>();
      const key = await connect(options, terminal).keys.create({
        name,
        ...(options.member ? { member: options.member } : {}),
        ...(options.expires ? { expiresAt: options.expires } : {}),
      });
      answer(terminal, options.json, key, [key.apiKey, `(shown this once; id ${key.id}, for ${key.member})`]);
    });
  command
    .command('revoke')
    .description('make a key useless')
    .argument('<id>')
    .action(async (id: string, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<ServerOptions>();
      await connect(options, terminal).keys.revoke(id);
      answer(terminal, options.json, { revoked: id }, [`key ${id} no longer works`]);
    });
}
