/** `commonwatt doctor`: is everything in order here, and what would make it better? */
import { existsSync } from 'node:fs';
import { access, constants } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Commonwatt, CommonwattApiError } from '@commonwatt/client';
import type { Command } from 'commander';
import { type Config, loadConfig } from '../config.ts';
import { hideSecrets } from '../energy/meters/settings.ts';
import { CommonwattError } from '../errors.ts';
import { findServer, type ServerOptions } from './connection.ts';
import { checkGrid } from './doctor-grid.ts';
import { checkMeters } from './doctor-meter.ts';
import { serverFindings } from './doctor-server.ts';
import { WrongUse } from './failure.ts';
import { answer, type Terminal } from './terminal.ts';

export interface Finding {
  check: string;
  state: 'ok' | 'note' | 'problem';
  message: string;
  hint?: string;
}

/** Last day of security updates: https://github.com/nodejs/release#release-schedule */
const supportEnds: Record<string, string> = { 20: '2026-04-30', 22: '2027-04-30', 24: '2028-04-30' };

export function define(command: Command, terminal: Terminal): void {
  command
    .addHelpText('after', '\nExits 1 when there is a problem.\n\nExample:\n  $ commonwatt doctor')
    .action(async (options: ServerOptions) => {
      const { config, finding } = checkConfig(terminal.env);
      const findings = [
        finding,
        checkNode(process.versions.node, new Date()),
        ...(config ? [...(await checkMeters(config)), await checkDataFolder(config.data)] : []),
        ...(config ? [await checkGrid(config, terminal.env)] : []),
        await checkProviders(),
        ...(await checkServer(options, terminal.env)),
      ];
      const shown = config && (hideSecrets(config) as Config);
      const marks = { ok: 'ok      ', note: 'note    ', problem: 'PROBLEM ' };
      answer(terminal, options.json, { findings, config: shown }, [
        ...findings.flatMap(({ check, state, message, hint }) => [
          `${marks[state]} ${check.padEnd(14)} ${message}`,
          ...(hint ? [`${' '.repeat(24)}${hint}`] : []),
        ]),
        ...(shown ? ['configuration in force:', ...settingLines(shown)] : []),
      ]);
      if (findings.some(({ state }) => state === 'problem')) terminal.exitCode = 1;
    });
}

function checkConfig(env: NodeJS.ProcessEnv): { config: Config | null; finding: Finding } {
  try {
    const config = loadConfig(env);
    const from = env.COMMONWATT_CONFIG ?? (existsSync('commonwatt.yaml') ? 'commonwatt.yaml' : 'defaults');
    return {
      config,
      finding: { check: 'configuration', state: 'ok', message: `${from} and COMMONWATT_* variables` },
    };
  } catch (error) {
    if (!(error instanceof CommonwattError)) throw error;
    const { message, where, hint } = error;
    return {
      config: null,
      finding: {
        check: 'configuration',
        state: 'problem',
        message: where ? `${message} (${where})` : message,
        ...(hint ? { hint } : {}),
      },
    };
  }
}

export function checkNode(version: string, today: Date): Finding {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const check = 'node';
  if (major < 20 || (major === 20 && minor < 19))
    return { check, state: 'problem', message: `${version} is too old`, hint: 'install Node.js 24' };
  const end = supportEnds[String(major)];
  if (end && today > new Date(`${end}T23:59:59Z`))
    return {
      check,
      state: 'note',
      message: `${version}: no security updates since ${end}`,
      hint: 'it works, but prefer Node.js 24',
    };
  if (major % 2 === 1)
    return {
      check,
      state: 'note',
      message: `${version} is not a long-term release`,
      hint: 'prefer Node.js 24',
    };
  return { check, state: 'ok', message: version };
}

async function checkDataFolder(folder: string): Promise<Finding> {
  const check = 'data folder';
  let existing = folder;
  while (!existsSync(existing) && dirname(existing) !== existing) existing = dirname(existing);
  try {
    await access(existing, constants.W_OK | constants.X_OK);
    const message = existing === folder ? folder : `${folder} (made at the first start)`;
    return { check, state: 'ok', message };
  } catch {
    return {
      check,
      state: 'problem',
      message: `${existing} cannot be written to`,
      hint: 'name another folder with COMMONWATT_DATA',
    };
  }
}

async function checkProviders(): Promise<Finding> {
  const check = 'providers';
  try {
    const { builtProviders } = await import('../runtimes/onnx.ts');
    return { check, state: 'ok', message: `onnxruntime computes with ${builtProviders().join(', ')}` };
  } catch (error) {
    return {
      check,
      state: 'problem',
      message: `onnxruntime cannot be loaded: ${(error as Error).message}`,
      hint: 'install again with `npm ci` on this platform',
    };
  }
}

async function checkServer(options: ServerOptions, env: NodeJS.ProcessEnv): Promise<Finding[]> {
  const check = 'server';
  try {
    const { url, apiKey } = findServer(options, env);
    const signal = AbortSignal.timeout(5_000);
    const client = new Commonwatt({ baseUrl: url, apiKey });
    const me = await client.whoami({ signal });
    const known = {
      check,
      state: 'ok',
      message: `${url} knows you as ${me.member} of ${me.organisation}`,
    } as const;
    if (me.role === 'operator') return [known, ...serverFindings(await client.server.get({ signal }))];
    const hint = 'what it runs is shown to its operator: doctor --key <key of the operator>';
    return [{ ...known, hint }];
  } catch (error) {
    if (error instanceof WrongUse)
      return [{ check, state: 'note', message: error.message, hint: error.hint }];
    if (!(error instanceof CommonwattApiError))
      return [{ check, state: 'note', message: 'no answer within 5 s', hint: 'look at its log' }];
    const state = error.status === 0 ? 'note' : 'problem';
    return [{ check, state, message: error.detail, ...(error.hint ? { hint: error.hint } : {}) }];
  }
}

function settingLines(config: Config): string[] {
  return Object.entries(config).flatMap(([name, value]) =>
    typeof value === 'object' && value !== null
      ? Object.entries(value).map(
          ([inner, setting]) =>
            `  ${name}.${inner}: ${typeof setting === 'object' && setting !== null ? JSON.stringify(setting) : (setting ?? 'not set')}`,
        )
      : [`  ${name}: ${value ?? 'not set'}`],
  );
}
