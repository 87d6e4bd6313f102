/** `commonwatt deploy`: serve a version, list what is served, or stop serving it. */
import type { Command } from 'commander';
import { connect, type ServerOptions } from './connection.ts';
import { WrongUse } from './failure.ts';
import { type Reference, reference } from './references.ts';
import { answer, progressLine, type Terminal, table } from './terminal.ts';

interface Options extends ServerOptions {
  alias?: string;
  list?: boolean;
  remove?: string;
}

export function define(command: Command, terminal: Terminal): void {
  command
    .argument('[model]', 'organisation/model:version (default: its newest version)', reference)
    .option('--alias <alias>', 'also point this alias at the version; production needs a passed gate')
    .option('--list', 'list what is deployed')
    .option('--remove <id>', 'stop serving a deployment')
    .addHelpText('after', '\nExample:\n  $ commonwatt deploy acme/digits:1 --alias production')
    .action(async (ref: Reference | undefined, options: Options) => {
      const client = connect(options, terminal);
      if (options.list) {
        const deployments = await client.deployments.list();
        const rows = deployments.map(({ id, model, version, state }) => [id, `${model}:${version}`, state]);
        answer(terminal, options.json, { deployments }, table([['ID', 'MODEL', 'STATE'], ...rows]));
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
      const version = ref.version ?? (await newestVersion());
      const progress = progressLine(terminal);
      progress.update(`loading ${ref.model}:${version} …`);
      const request = {
        model: `${ref.model}:${version}`,
        ...(options.alias === undefined ? {} : { alias: options.alias }),
      };
      const deployment = await client.deployments.create(request).finally(() => progress.end());
      answer(terminal, options.json, deployment, [
        `${ref.model}:${version} is ${deployment.state}${options.alias ? ` as ${ref.model}@${options.alias}` : ''}`,
        `next: commonwatt predict ${ref.model} --row 7`,
      ]);

      async function newestVersion(): Promise<number> {
        if (!ref) return 1;
        const model = await client.models.get(ref.model);
        const numbers = model.versions.map(({ number }) => number);
        if (numbers.length === 0)
          throw new WrongUse(
            `${ref.model} has no version`,
            'import one: `commonwatt import model.h5 --name …`',
          );
        return Math.max(...numbers);
      }
    });
}
