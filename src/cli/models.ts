/** `commonwatt models`: one's own and the shared models; a model in detail; aliases. */
import type { Model } from '@commonwatt/client';
import type { Command } from 'commander';
import { connect, type ServerOptions } from './connection.ts';
import { showBytes } from './quantities.ts';
import { answers, type Reference, reference, wholeNumber } from './references.ts';
import { answer, type Terminal, table } from './terminal.ts';

export function define(command: Command, terminal: Terminal): void {
  command
    .argument('[model]', 'organisation/model: show its versions', reference)
    .addHelpText(
      'after',
      '\nExamples:\n  $ commonwatt models\n  $ commonwatt models acme/digits\n  $ commonwatt models alias acme/digits production 1',
    )
    .action(async (ref: Reference | undefined, options: ServerOptions) => {
      const client = connect(options, terminal);
      if (ref) {
        const model = await client.models.get(ref.model);
        answer(terminal, options.json, model, modelLines(model));
        return;
      }
      const models = await client.models.list();
      const rows = models.map((model) => [
        model.ref,
        String(Math.max(0, ...model.versions.map(({ number }) => number))),
        model.aliases.map(({ alias, version }) => `${alias}:${version}`).join(' '),
        model.deployments.some(({ state }) => answers(state)) ? 'served' : '',
        model.owned ? 'own' : `shared (${model.grant?.permissions.join(',') ?? ''})`,
      ]);
      const heading = ['MODEL', 'VERSION', 'ALIASES', 'STATE', 'ACCESS'];
      answer(terminal, options.json, { models }, table([heading, ...rows]));
    });
  command
    .command('alias')
    .description('point an alias at a version; production needs a passed gate')
    .argument('<model>', 'organisation/model', reference)
    .argument('<alias>')
    .argument('<version>', 'version number', wholeNumber)
    .option('--deploy', 'load and warm up the version first when it is not served')
    .option('--retire', 'then stop serving the version of before, unless another alias names it')
    .addHelpText(
      'after',
      '\nExample:\n  $ commonwatt models alias acme/digits production 2 --deploy --retire',
    )
    .action(async (ref: Reference, alias: string, version: number, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<ServerOptions & { deploy?: boolean; retire?: boolean }>();
      const { deploy = false, retire = false } = options;
      const client = connect(options, terminal);
      const result = await client.models.setAlias(ref.model, alias, version, { deploy, retire });
      answer(terminal, options.json, result, [
        `${ref.model}@${result.alias} is version ${result.version}`,
        ...(result.retired === null ? [] : [`version ${result.retired} is no longer served`]),
      ]);
    });
}

function modelLines(model: Model): string[] {
  const rows = [...model.versions]
    .sort((a, b) => b.number - a.number)
    .map((version) => [
      `:${version.number}`,
      version.format,
      showBytes(version.sizeBytes),
      version.sha256.slice(0, 12),
      version.createdAt,
      version.createdBy ?? '',
      version.dataset ?? '',
      model.aliases
        .filter((entry) => entry.version === version.number)
        .map(({ alias }) => `@${alias}`)
        .join(' '),
      model.deployments.find((entry) => entry.version === version.number)?.state ?? '',
    ]);
  const heading = ['VERSION', 'FORMAT', 'SIZE', 'SHA-256', 'CREATED', 'BY', 'DATA SET', 'ALIASES', 'STATE'];
  return [`${model.ref} (${model.flat})`, ...table([heading, ...rows])];
}
