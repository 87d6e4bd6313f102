/** `commonwatt impact card`, `statement`, `sci`, `manifest` and `alternatives`: figures to hand on. */
import { Readable } from 'node:stream';
import type { Burden, FunctionalUnit, ImpactCard, ModelAlternatives, Sci } from '@commonwatt/client';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { connect, type ServerOptions } from './connection.ts';
import { WrongUse } from './failure.ts';
import { saveStream } from './files.ts';
import { showBytes, showCarbon, showEnergy, showPercent, significant } from './quantities.ts';
import { answer, type Terminal, table } from './terminal.ts';

/** `from` and `to` are options of `commonwatt impact` itself. */
interface Options extends ServerOptions {
  from?: string;
  to?: string;
  output?: string;
}

export function defineReportFiles(command: Command, terminal: Terminal): void {
  defineCard(command, terminal);
  defineStatement(command, terminal);
  defineSci(command, terminal);
  defineManifest(command, terminal);
  defineAlternatives(command, terminal);
}

const output = () => new Option('--output <file>', 'where to write it; - for standard output');

function defineCard(command: Command, terminal: Terminal): void {
  command
    .command('card')
    .description('what training a model used, and what an answer of it uses')
    .argument('<model>', 'organisation/model')
    .option('--model-version <number>', 'of the model (default: the newest)', parseVersion)
    .addOption(
      new Option(
        '--format <format>',
        'as a file: huggingface, a model card with co2_eq_emissions; spdx, SPDX 3 with the AI profile',
      ).choices(['huggingface', 'spdx']),
    )
    .addOption(output())
    .addHelpText(
      'after',
      '\nExample:\n  $ commonwatt impact card acme/digits --format huggingface --output README.md',
    )
    .action(async (model: string, _: unknown, self: Command) => {
      type CardOptions = Options & { modelVersion?: number; format?: 'huggingface' | 'spdx' };
      const options = self.optsWithGlobals<CardOptions>();
      const version = options.modelVersion === undefined ? {} : { version: options.modelVersion };
      const { reports } = connect(options, terminal);
      if (options.format)
        return save(await reports.cardFile(model, options.format, version), options, terminal);
      if (options.output !== undefined)
        throw new WrongUse('--output needs --format', 'add --format huggingface or spdx');
      const card = await reports.card(model, version);
      answer(terminal, options.json, card, cardLines(card));
    });
}

function defineStatement(command: Command, terminal: Terminal): void {
  command
    .command('statement')
    .description('what a month took, by model and day: a page to print')
    .argument('<month>', 'e.g. 2026-01, of UTC', parseMonth)
    .argument('[organisation]', "the operator's choice (default: your own)")
    .addOption(output())
    .addHelpText('after', '\nExample:\n  $ commonwatt impact statement 2026-01 --output january.html')
    .action(async (month: string, named: string | undefined, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<Options>();
      const client = connect(options, terminal);
      const organisation = named ?? (await client.whoami()).organisation;
      if (options.json) {
        answer(terminal, true, await client.reports.statement(organisation, month), []);
        return;
      }
      await save(await client.reports.statementPage(organisation, month), options, terminal);
    });
}

function defineSci(command: Command, terminal: Terminal): void {
  command
    .command('sci')
    .description('the Software Carbon Intensity (ISO/IEC 21031) of a time')
    .addOption(
      new Option('--functional-unit <unit>', 'per what; job: trainings alone')
        .choices(['request', 'row', 'job'])
        .default('request'),
    )
    .action(async (_: unknown, self: Command) => {
      const options = self.optsWithGlobals<Options & { functionalUnit: FunctionalUnit }>();
      const { functionalUnit } = options;
      const sci = await connect(options, terminal).reports.sci({ ...timesOf(options), functionalUnit });
      answer(terminal, options.json, sci, sciLines(sci));
    });
}

function defineManifest(command: Command, terminal: Terminal): void {
  command
    .command('manifest')
    .description('the ledger as a manifest that the Impact Framework (if-run) computes again')
    .addOption(new Option('--step <step>', 'length of a row').choices(['hour', 'day']).default('hour'))
    .addOption(output())
    .action(async (_: unknown, self: Command) => {
      const options = self.optsWithGlobals<Options & { step: 'hour' | 'day' }>();
      const times = timesOf(options);
      const manifest = await connect(options, terminal).reports.manifest({ ...times, step: options.step });
      await save(manifest, options, terminal);
    });
}

function defineAlternatives(command: Command, terminal: Terminal): void {
  command
    .command('alternatives')
    .description('smaller models of the same task that you may use, and what they would use')
    .argument('<model>', 'organisation/model')
    .option('--model-version <number>', 'of the model (default: the one that answers)', parseVersion)
    .action(async (model: string, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<Options & { modelVersion?: number }>();
      const version = options.modelVersion === undefined ? {} : { version: options.modelVersion };
      const found = await connect(options, terminal).models.alternatives(model, version);
      answer(terminal, options.json, found, alternativeLines(found));
    });
}

async function save(
  bytes: ReadableStream<Uint8Array>,
  { output: file, json }: Options,
  terminal: Terminal,
): Promise<void> {
  if (file === undefined || file === '-') {
    const decoder = new TextDecoder();
    for await (const chunk of Readable.fromWeb(bytes)) terminal.out(decoder.decode(chunk, { stream: true }));
    return;
  }
  const sizeBytes = await saveStream(bytes, file);
  answer(terminal, json, { output: file, sizeBytes }, [`→ ${file} (${showBytes(sizeBytes)})`]);
}

const timesOf = ({ from, to }: Options) => ({ from, to });

function cardLines(card: ImpactCard): string[] {
  const { training, inference } = card;
  return [
    `${card.model}:${card.version}, sha256 ${card.sha256.slice(0, 12)}…, as of ${card.asOf}`,
    ...(training
      ? [
          `Training (${training.quality} by ${training.method}; ${training.zone}, ${significant(training.gPerKwh)} gCO2e/kWh)`,
          `  used      ${showBurden(training.used)}; ${significant(training.cpuSeconds)} CPU s on ${training.hardware}`,
          ...(training.allocated ? [`  reserved  ${showBurden(training.allocated)}`] : []),
        ]
      : []),
    ...(inference
      ? [
          `Inference ${inference.from} … ${inference.to} (${inference.quality} by ${inference.method})`,
          ...(inference.requests === null
            ? []
            : [`  ${inference.requests} requests, ${inference.rows} rows`]),
          ...(inference.perRequest ? [`  a request   ${showBurden(inference.perRequest)}`] : []),
          ...(inference.perRequestAllocated
            ? [`  with what is reserved  ${showBurden(inference.perRequestAllocated)}`]
            : []),
          ...(inference.settled === false
            ? ['  not settled yet: its energy still varies from window to window']
            : []),
        ]
      : []),
    ...tail(card),
  ];
}

function sciLines(sci: Sci): string[] {
  return [
    `SCI ${sci.from} … ${sci.to}`,
    `  ${significant(sci.sciG)} gCO2e per ${sci.functionalUnit}`,
    ...table([
      ['  E', `${significant(sci.energyKwh)} kWh`, `with PUE ${sci.pue}; basis ${sci.basis}`],
      ['  I', `${significant(sci.gPerKwh)} gCO2e/kWh`, sci.zone],
      ['  M', `${significant(sci.embodiedG)} gCO2e`, 'of the hardware'],
      ['  R', String(sci.functionalUnits), `${sci.functionalUnit}s`],
    ]),
    `  ${sci.formula}, version ${sci.formulaVersion} (${sci.source})`,
    ...tail(sci),
  ];
}

function alternativeLines({
  model,
  version,
  energyWhPerRequest,
  alternatives,
  unknown,
}: ModelAlternatives): string[] {
  return [
    `${model}:${version} uses ${showEnergy(energyWhPerRequest)} a request`,
    ...(alternatives.length === 0
      ? ['no other model of the same inputs and outputs that you may use takes less']
      : table([
          ['  INSTEAD', 'A REQUEST', 'OF IT', 'SETTLED'],
          ...alternatives.map((other) => [
            `  ${other.model}:${other.version}`,
            showEnergy(other.energyWhPerRequest),
            showPercent(other.ratio),
            other.settled === null ? 'unknown' : other.settled ? 'yes' : 'no',
          ]),
        ])),
    ...tail({ unknown, notes: [] }),
  ];
}

function tail({ unknown, notes }: { unknown: Record<string, string>; notes: string[] }): string[] {
  return [
    ...Object.entries(unknown).map(([field, why]) => `unknown: ${field}: ${why}`),
    ...notes.map((note) => `note: ${note}`),
  ];
}

function showBurden({ energyWh, carbonGCo2e, embodiedGCo2e }: Burden): string {
  return `${showEnergy(energyWh)}, ${showCarbon(carbonGCo2e)}, hardware ${showCarbon(embodiedGCo2e)}`;
}

function parseVersion(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('it must be a whole number, 1 or more');
}

function parseMonth(text: string): string {
  if (/^\d{4}-(0[1-9]|1[0-2])$/.test(text)) return text;
  throw new InvalidArgumentError('write year and month, for example 2026-01');
}
