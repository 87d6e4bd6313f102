/** `commonwatt deploy`: serve a version, change how, list what is served, or stop serving it. */
import type { Deployment, Version } from '@commonwatt/client';
import type { Command } from 'commander';
import { askLine } from './asking.ts';
import { connect, type ServerOptions } from './connection.ts';
import { givenSettings, type SettingOptions, settingOptions } from './deployment-settings.ts';
import { WrongUse } from './failure.ts';
import { showBytes } from './quantities.ts';
import { type Reference, reference } from './references.ts';
import { answer, progressLine, type Terminal, table } from './terminal.ts';

interface Options extends ServerOptions, SettingOptions {
  alias?: string;
  list?: boolean;
  remove?: string;
}

export function define(command: Command, terminal: Terminal): void {
  settingOptions(
    command
      .argument('[model]', 'organisation/model:version (default: its newest version)', reference)
      .option('--alias <alias>', 'also point this alias at the version; production needs a passed gate')
      .option('--list', 'list what is deployed')
      .option('--remove <id>', 'stop serving a deployment'),
  )
    .addHelpText(
      'after',
      '\nOf a version that is served already, the settings that are given change.\n\nExamples:\n  $ commonwatt deploy acme/digits:1 --alias production\n  $ commonwatt deploy acme/digits:1 --max-batch-size 64 --idle-unload-s 60',
    )
    .action(async (ref: Reference | undefined, options: Options) => {
      const client = connect(options, terminal);
      if (options.list) {
        const deployments = await client.deployments.list();
        answer(terminal, options.json, { deployments }, listLines(deployments));
        return;
      }
      if (options.remove !== undefined) {
        await client.deployments.remove(options.remove);
        answer(terminal, options.json, { removed: options.remove }, [
          `${options.remove} is no longer served`,
        ]);
        return;
      }
      if (!ref)
        throw new WrongUse('which version?', 'name it: `commonwatt deploy acme/digits:1`, or use --list');
      const settings = givenSettings(options);
      const { versions } = await client.models.get(ref.model);
      const version = ref.version ?? newestOf(ref.model, versions);
      const progress = progressLine(terminal);
      progress.update(`loading ${ref.model}:${version} …`);
      const request = {
        model: `${ref.model}:${version}`,
        ...(options.alias === undefined ? {} : { alias: options.alias }),
        ...(settings ? { settings } : {}),
      };
      const deployment = await client.deployments.create(request).finally(() => progress.end());
      const served = versions.find(({ number }) => number === version);
      answer(terminal, options.json, deployment, [
        `${ref.model}:${version} is ${deployment.state}${options.alias ? ` as ${ref.model}@${options.alias}` : ''}`,
        ...(served ? [`next: ${askLine(ref.model, served)}`] : []),
      ]);
    });
}

function listLines(deployments: Deployment[]): string[] {
  const rows = deployments.map(({ id, model, version, state, memoryBytes, settings, reason }) => [
    id,
    `${model}:${version}`,
    settings?.pinned ? `${state}, pinned` : state,
    memoryBytes > 0 ? showBytes(memoryBytes) : '',
    reason ?? '',
  ]);
  return table([['ID', 'MODEL', 'STATE', 'MEMORY', 'WHY'], ...rows]);
}

function newestOf(model: string, versions: readonly Version[]): number {
  if (versions.length === 0)
    throw new WrongUse(`${model} has no version`, 'import one: `commonwatt import model.h5 --name …`');
  return Math.max(...versions.map(({ number }) => number));
}
