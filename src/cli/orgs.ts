/** `commonwatt orgs`: organisations (operators make them) and the members of one's own. */
import { type Command, Option } from 'commander';
import { connect, type ServerOptions } from './connection.ts';
import { answer, type Terminal, table } from './terminal.ts';

export function define(command: Command, terminal: Terminal): void {
  command
    .addHelpText(
      'after',
      '\nExamples:\n  $ commonwatt orgs\n  $ commonwatt orgs create initech --admin peter\n  $ commonwatt orgs add-member ada --role member',
    )
    .action(async (options: ServerOptions) => {
      const organisations = await connect(options, terminal).organisations.list();
      const rows = organisations.map(({ id, name, createdAt }) => [name, createdAt, id]);
      answer(terminal, options.json, { organisations }, table([['NAME', 'CREATED', 'ID'], ...rows]));
    });
  command
    .command('create')
    .description('make an organisation and its first administrator (operators only)')
    .argument('<name>')
    .option('--admin <member>', 'name of the administrator')
    .action(async (name: string, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<ServerOptions & { admin?: string }>();
      const organisation = await connect(options, terminal).organisations.create({
        name,
        ...(options.admin ? { admin: options.admin } : {}),
      });
      answer(terminal, options.json, organisation, [
        `organisation ${organisation.name}, administrator ${organisation.admin.member}`,
        `API key, shown this once: ${organisation.admin.apiKey}`,
      ]);
    });
  command
    .command('members')
    .description('list the members of your organisation')
    .action(async (_: unknown, self: Command) => {
      const options = self.optsWithGlobals<ServerOptions>();
      const members = await connect(options, terminal).members.list();
      const rows = members.map(({ name, role, createdAt }) => [name, role, createdAt]);
      answer(terminal, options.json, { members }, table([['NAME', 'ROLE', 'SINCE'], ...rows]));
    });
  command
    .command('add-member')
    .description('add a member to your organisation (administrators only)')
    .argument('<name>')
    .addOption(new Option('--role <role>', 'what they may do').choices(['admin', 'member']).default('member'))
    .action(async (name: string, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<ServerOptions & { role: 'admin' | 'member' }>();
      const member = await connect(options, terminal).members.create({ name, role: options.role });
      answer(terminal, options.json, member, [`${member.name} is a member (${member.role})`]);
    });
}
