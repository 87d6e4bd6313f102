/**
 * The command line: one file a command, loaded only when it is called, so that help is quick.
 *
 * In: arguments, environment, standard input. Out: text (or JSON with --json) on standard output, progress and
 * errors on standard error. Promise: exit 0 for success, 1 for failure, 2 for wrong use.
 */
import { Command, CommanderError, Option } from 'commander';
import { reportFailure, WrongUse } from './failure.ts';
import type { Terminal } from './terminal.ts';

export { processTerminal } from './terminal.ts';

const version = '0.2.0';

interface CommandFile {
  define(command: Command, terminal: Terminal): void;
}

/** In the order a newcomer meets them. */
const commands: [name: string, summary: string, load: () => Promise<CommandFile>][] = [
  ['up', 'start the server; --example also runs the first example', () => import('./up.ts')],
  ['login', 'remember a server and an API key', () => import('./login.ts')],
  ['train', 'train a network from a YAML file and fetch model.h5', () => import('./train.ts')],
  ['import', 'register a model file as the next version', () => import('./import.ts')],
  ['evaluate', 'judge a version on a data set and apply its gate', () => import('./evaluate.ts')],
  ['deploy', 'serve a version, optionally under an alias', () => import('./deploy.ts')],
  ['share', 'let another organisation use a model, with limits', () => import('./share.ts')],
  ['predict', 'ask a model for an answer', () => import('./predict.ts')],
  ['batch', 'many rows through a model, in cleaner hours if they can wait', () => import('./batch.ts')],
  ['explain', 'show what an answer was made of', () => import('./explain.ts')],
  ['export', 'get a model file back', () => import('./export.ts')],
  ['impact', 'energy, carbon, utilisation and what sharing saves', () => import('./impact.ts')],
  ['ledger', 'the lines behind every figure, to look at or as a file', () => import('./ledger.ts')],
  ['grid', 'how dirty the electricity is, now and as forecast', () => import('./grid.ts')],
  ['regions', 'the cleanest cluster that is near enough, now and as forecast', () => import('./regions.ts')],
  ['calc', 'compute any formula of the accounting, without a server', () => import('./calc.ts')],
  ['calibrate', 'measure this host, so that estimates come close', () => import('./calibrate.ts')],
  ['models', 'list models, versions and aliases', () => import('./models.ts')],
  ['datasets', 'list, upload and inspect data sets', () => import('./datasets.ts')],
  ['jobs', 'list, follow and cancel jobs', () => import('./jobs.ts')],
  ['keys', 'list, make and revoke API keys', () => import('./keys.ts')],
  ['orgs', 'organisations and their members', () => import('./orgs.ts')],
  ['budgets', 'who may use how much in a period; set, change and remove', () => import('./budgets.ts')],
  ['consolidate', 'fewer, fuller runners (operators only)', () => import('./consolidate.ts')],
  ['runners', 'the processes that compute; replace them (operators only)', () => import('./runners.ts')],
  ['doctor', 'check configuration, Node, meter, folder and server', () => import('./doctor.ts')],
];

/** Runs one command line and returns its exit status. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const program = new Command('commonwatt')
    .description('Model-as-a-Service that accounts for every watt.')
    .version(version)
    .configureOutput({ writeOut: terminal.out, writeErr: terminal.err })
    .exitOverride()
    .addHelpText('after', '\nExample:\n  $ commonwatt up --example\n  $ commonwatt predict --help');
  const called = args.find((arg) => !arg.startsWith('-'));
  for (const [name, summary, load] of commands) {
    // `help <command>` needs the whole command as well.
    const wanted = name === called || (called === 'help' && args.includes(name));
    const command = program.command(name).summary(summary).description(`${summary}.`);
    addServerOptions(command);
    if (wanted) (await load()).define(command, terminal);
  }
  if (args.length === 0) {
    program.outputHelp({ error: true });
    return 2;
  }
  try {
    await program.parseAsync(args, { from: 'user' });
    return terminal.exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    reportFailure(error, terminal, args.includes('--json'));
    return error instanceof WrongUse ? 2 : 1;
  }
}

function addServerOptions(command: Command): void {
  command
    .addOption(new Option('--json', 'print JSON for programs'))
    .addOption(new Option('--url <url>', 'the server (default: COMMONWATT_URL, then the login)'))
    .addOption(new Option('--key <key>', 'the API key (default: COMMONWATT_API_KEY, then the login)'));
}
