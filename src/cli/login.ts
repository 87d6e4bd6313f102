/** `commonwatt login`: checks a key with its server and remembers both, readable by nobody else. */
import { randomUUID } from 'node:crypto';
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { isCancel, password } from '@clack/prompts';
import { Commonwatt } from '@commonwatt/client';
import type { Command } from 'commander';
import { checkUrl, defaultUrl, type Login, loginFile, type ServerOptions } from './connection.ts';
import { WrongUse } from './failure.ts';
import { answer, type Terminal } from './terminal.ts';

export function define(command: Command, terminal: Terminal): void {
  command
    .argument('[url]', `the server (default: COMMONWATT_URL, then ${defaultUrl})`)
    .addHelpText(
      'after',
      '\nThe key is asked for, or read from standard input.\n\nExample:\n  $ commonwatt login http://127.0.0.1:8080 < key.txt',
    )
    .action(async (argument: string | undefined, options: ServerOptions) => {
      const url = checkUrl(argument ?? options.url ?? terminal.env.COMMONWATT_URL ?? defaultUrl);
      const apiKey = options.key ?? (await readKey(url, terminal));
      const me = await new Commonwatt({ baseUrl: url, apiKey }).whoami();
      const file = rememberLogin({ url, apiKey }, terminal.env);
      answer(terminal, options.json, { url, ...me, file }, [
        `logged in to ${url} as ${me.member} of ${me.organisation} (${me.role})`,
      ]);
    });
}

async function readKey(url: string, terminal: Terminal): Promise<string> {
  const typed = terminal.inIsTty
    ? await password({ message: `API key for ${url}` })
    : (await terminal.readInput()).trim();
  if (isCancel(typed) || !typed)
    throw new WrongUse(
      'no API key was given',
      'type it at the prompt, or pipe it in: `commonwatt login < key.txt`',
    );
  return typed;
}

/** Written whole or not at all; mode 0600 from its first byte. */
export function rememberLogin(login: Login, env: NodeJS.ProcessEnv): string {
  const file = loginFile(env);
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const next = `${file}.${randomUUID()}`;
  try {
    writeFileSync(next, `${JSON.stringify(login, null, 2)}\n`, { mode: 0o600, flag: 'wx' });
    renameSync(next, file);
  } finally {
    rmSync(next, { force: true });
  }
  return file;
}
