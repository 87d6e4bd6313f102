/** `commonwatt ledger`: the lines behind every figure, to look at or as a file. */
import { Readable } from 'node:stream';
import type { LedgerFilter, LedgerFormat, LedgerLine } from '@commonwatt/client';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { connect, type ServerOptions } from './connection.ts';
import { WrongUse } from './failure.ts';
import { saveStream } from './files.ts';
import { showBytes, showCarbon, showEnergy } from './quantities.ts';
import { parseTime } from './share.ts';
import { answer, type Terminal, table } from './terminal.ts';

interface Options extends ServerOptions {
  from?: string;
  to?: string;
  kind?: LedgerLine['kind'];
  outcome?: LedgerLine['outcome'];
  model?: string;
  modelVersion?: number;
  tenant?: string;
  apiKeyId?: string;
  job?: string;
  limit: number;
  format?: LedgerFormat;
  output?: string;
}

const kinds = ['inference', 'explanation', 'evaluation', 'training', 'idle', 'overhead', 'unattributed'];

export function define(command: Command, terminal: Terminal): void {
  command
    .argument('[id]', 'one line: x-commonwatt-request-id of an answer')
    .option('--from <time>', 'ISO 8601 time or date (default: 24 hours ago)', parseTime)
    .option('--to <time>', 'ISO 8601 time or date', parseTime)
    .addOption(new Option('--kind <kind>', 'of what').choices(kinds))
    .addOption(
      new Option('--outcome <outcome>', 'what became of it').choices([
        'finished',
        'aborted',
        'failed',
        'cached',
      ]),
    )
    .option('--model <model>', 'organisation/model, or its id')
    .option('--model-version <number>', 'of the model', parseCount)
    .option('--tenant <organisation>', 'who used it: name or id')
    .option('--api-key-id <id>', 'an API key of yours')
    .option('--job <id>', 'a job of yours')
    .option('--limit <lines>', 'how many to show, at most 1000', parseCount, 20)
    .addOption(new Option('--format <format>', 'all of them as a file').choices(['csv', 'jsonl', 'parquet']))
    .option('--output <file>', 'where to write it; - for standard output')
    .addHelpText(
      'after',
      '\nExamples:\n  $ commonwatt ledger --model acme/digits --limit 5\n  $ commonwatt ledger --from 2026-01-01 --format parquet --output january.parquet',
    )
    .action(async (id: string | undefined, options: Options) => {
      if (id !== undefined) return showOne(id, options, terminal);
      return options.format ? save(options.format, options, terminal) : show(options, terminal);
    });
}

async function showOne(id: string, options: Options, terminal: Terminal): Promise<void> {
  const line = await connect(options, terminal).ledger.get(id);
  const rows = Object.entries(line).map(([name, value]) => [
    `  ${name}`,
    value === null ? '' : String(value),
  ]);
  answer(terminal, options.json, line, [line.id, ...table(rows)]);
}

async function show(options: Options, terminal: Terminal): Promise<void> {
  if (options.output !== undefined)
    throw new WrongUse('--output needs --format', 'add --format csv, jsonl or parquet');
  const page = await connect(options, terminal).ledger.page({ ...filterOf(options), limit: options.limit });
  const rows = page.lines.map((line) => [
    line.at,
    line.id,
    line.note === null ? line.kind : `${line.kind}: ${line.note}`,
    line.model ?? '',
    line.consumer ?? '',
    showEnergy(line.energyWh),
    showCarbon(line.carbonGCo2e),
  ]);
  answer(terminal, options.json, page, [
    ...table([['TIME', 'ID', 'KIND', 'MODEL', 'FOR', 'ENERGY', 'CARBON'], ...rows]),
    ...(page.cursor === null ? [] : ['there are more: raise --limit, or save all of them with --format']),
  ]);
}

async function save(format: LedgerFormat, options: Options, terminal: Terminal): Promise<void> {
  const { output } = options;
  if (output === undefined)
    throw new WrongUse(`--format ${format} needs --output`, 'name a file, or - for standard output');
  const bytes = await connect(options, terminal).ledger.download(format, filterOf(options));
  if (output === '-') {
    for await (const chunk of Readable.fromWeb(bytes)) process.stdout.write(chunk);
    return;
  }
  const sizeBytes = await saveStream(bytes, output);
  answer(terminal, options.json, { format, output, sizeBytes }, [
    `the ledger as ${format} → ${output} (${showBytes(sizeBytes)})`,
  ]);
}

function filterOf(options: Options): LedgerFilter {
  const { from, to, kind, outcome, model, modelVersion: version, tenant, apiKeyId: key, job } = options;
  const all = { from, to, kind, outcome, model, version, tenant, key, job };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

function parseCount(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new InvalidArgumentError('it must be a whole number, 1 or more');
}
