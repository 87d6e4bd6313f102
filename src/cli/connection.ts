/** Finds the server: flags, then environment, then the login that `commonwatt login` remembered. */
import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { Commonwatt } from '@commonwatt/client';
import { z } from 'zod';
import { WrongUse } from './failure.ts';
import type { Terminal } from './terminal.ts';

/** Options every command has. */
export interface ServerOptions {
  url?: string;
  key?: string;
  json?: boolean;
}

const loginSchema = z.object({ url: z.url(), apiKey: z.string().min(1) });
export type Login = z.infer<typeof loginSchema>;

export const defaultUrl = 'http://127.0.0.1:8080';

export function loginFile(env: NodeJS.ProcessEnv): string {
  return join(env.XDG_CONFIG_HOME || join(env.HOME || homedir(), '.config'), 'commonwatt', 'login.json');
}

function readLogin(env: NodeJS.ProcessEnv): Login | null {
  const file = loginFile(env);
  if (!existsSync(file)) return null;
  try {
    return loginSchema.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch {
    throw new WrongUse(`${file} is not a login`, 'run `commonwatt login` again');
  }
}

/** Where the server is and the key to it. */
export function findServer(options: ServerOptions, env: NodeJS.ProcessEnv): { url: string; apiKey: string } {
  const named = options.url ?? env.COMMONWATT_URL;
  const key = options.key ?? env.COMMONWATT_API_KEY;
  const login = named && key ? null : readLogin(env);
  const url = checkUrl(named || login?.url || defaultUrl);
  // The remembered key belongs to the remembered server; no other server ever sees it.
  const apiKey = key || (login && sameServer(login.url, url) ? login.apiKey : undefined);
  if (!apiKey) {
    throw new WrongUse(
      `no API key for ${url}`,
      'run `commonwatt login`, set COMMONWATT_API_KEY, or give --key (the first start writes keys to .commonwatt/example.json)',
    );
  }
  return { url, apiKey };
}

export function connect(options: ServerOptions, terminal: Terminal): Commonwatt {
  const { url, apiKey } = findServer(options, terminal.env);
  return new Commonwatt({ baseUrl: url, apiKey });
}

export function checkUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url && (url.protocol === 'http:' || url.protocol === 'https:')) return text.replace(/\/+$/, '');
  throw new WrongUse(`${JSON.stringify(text)} is not the URL of a server`, `write it like ${defaultUrl}`);
}

function sameServer(a: string, b: string): boolean {
  return new URL(a).origin === new URL(b).origin;
}
