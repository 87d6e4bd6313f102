/** Settings of a deployment as they are typed: flags, and a YAML file that they go before. The server judges the values. */
import { readFileSync } from 'node:fs';
import type { DeploymentSettings, GivenSettings } from '@commonwatt/client';
import { type Command, InvalidArgumentError } from 'commander';
import { parse as parseYaml } from 'yaml';
import { CommonwattError } from '../errors.ts';
import { fileProblem } from './files.ts';

export interface SettingOptions {
  settings?: string;
  maxBatchSize?: number;
  preferredBatchSizes?: number[];
  maxQueueDelayMs?: number | 'adaptive';
  queueLimit?: number;
  queueTimeoutMs?: number | 'none';
  priorityLevels?: number;
  cache?: 'on' | 'off' | 'everyone';
  warmUp?: number[];
  pinned?: boolean;
  idleUnloadS?: number | 'none';
  threads?: number;
  replicas?: number;
  executionProviders?: string[];
}

export function settingOptions(command: Command): Command {
  return command
    .option('--settings <file.yaml>', 'settings in a file; flags go before it')
    .option('--max-batch-size <rows>', 'most rows computed in one go', number)
    .option('--preferred-batch-sizes <rows,…>', 'sizes at which a batch leaves at once', numbers)
    .option('--max-queue-delay-ms <ms>', 'how long a request may wait for company, or adaptive', delay)
    .option('--queue-limit <requests>', 'requests that may wait', number)
    .option('--queue-timeout-ms <ms>', 'refuse what has waited so long; none: it waits', numberOrNone)
    .option('--priority-levels <levels>', 'levels of priority', number)
    .option('--cache <on|off|everyone>', 'use exact answers again; everyone: across organisations', cache)
    .option('--warm-up <rows,…>', 'batches computed before it takes traffic; none: no warm-up', numbers)
    .option('--pinned', 'stays in memory')
    .option('--no-pinned', 'may be unloaded')
    .option('--idle-unload-s <s>', 'unload after so long without a request; none: stay', numberOrNone)
    .option('--threads <n>', 'threads of one computation', number)
    .option('--replicas <n>', 'copies in memory', number)
    .option('--execution-providers <name,…>', 'where it is computed, e.g. cuda,cpu', (text) =>
      text.split(','),
    );
}

/** Undefined when none was given. */
export function givenSettings(options: SettingOptions): GivenSettings | undefined {
  const { settings: file, cache: reuse, warmUp, executionProviders, ...rest } = options;
  const given: GivenSettings = file === undefined ? {} : readSettingsFile(file);
  for (const name of plain) {
    const value = rest[name];
    if (value !== undefined) Object.assign(given, { [name]: value === 'none' ? null : value });
  }
  if (warmUp) given.warmUpBatchSizes = warmUp;
  if (executionProviders)
    given.executionProviders = executionProviders as DeploymentSettings['executionProviders'];
  if (reuse === 'off') given.cache = { ...given.cache, enabled: false };
  if (reuse === 'on') given.cache = { ...given.cache, enabled: true, scope: 'organisation' };
  if (reuse === 'everyone') given.cache = { ...given.cache, enabled: true, scope: 'everyone' };
  return Object.keys(given).length > 0 ? given : undefined;
}

const plain = [
  'maxBatchSize',
  'preferredBatchSizes',
  'maxQueueDelayMs',
  'queueLimit',
  'queueTimeoutMs',
  'priorityLevels',
  'pinned',
  'idleUnloadS',
  'threads',
  'replicas',
] as const;

function readSettingsFile(file: string): GivenSettings {
  let content: unknown;
  try {
    content = parseYaml(readFileSync(file, 'utf8'));
  } catch (error) {
    if (error instanceof Error && 'code' in error) throw fileProblem(file, error);
    throw invalid(file, error instanceof Error ? error.message : String(error));
  }
  if (content === null) return {};
  if (typeof content === 'object' && !Array.isArray(content)) return content as GivenSettings;
  throw invalid(file, 'it must be a mapping of settings');
}

function invalid(file: string, why: string): CommonwattError {
  return new CommonwattError('INVALID_CONFIG', `${file}: ${why}`, {
    where: file,
    hint: 'write one setting a line, e.g. maxBatchSize: 64',
  });
}

function number(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError('write a number');
  return value;
}

/** `none` stays a word here: commander makes an empty text of null. */
function numberOrNone(text: string): number | 'none' {
  return text === 'none' ? text : number(text);
}

function numbers(text: string): number[] {
  return text === 'none' ? [] : text.split(',').map(number);
}

function delay(text: string): number | 'adaptive' {
  return text === 'adaptive' ? text : number(text);
}

function cache(text: string): 'on' | 'off' | 'everyone' {
  if (text === 'on' || text === 'off' || text === 'everyone') return text;
  throw new InvalidArgumentError('write on, off or everyone');
}
