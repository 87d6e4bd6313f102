/** `commonwatt datasets`: list, upload, and the report of the checks. */
import type { Dataset, DatasetUpload } from '@commonwatt/client';
import { type Command, InvalidArgumentError } from 'commander';
import { connect, type ServerOptions } from './connection.ts';
import { openFile } from './files.ts';
import { wholeNumber } from './references.ts';
import { answer, type Terminal, table } from './terminal.ts';

type UploadOptions = ServerOptions & DatasetUpload;

export function define(command: Command, terminal: Terminal): void {
  command
    .argument('[name]', 'show the report of one data set')
    .addHelpText(
      'after',
      '\nExamples:\n  $ commonwatt datasets\n  $ commonwatt datasets digits\n  $ commonwatt datasets upload digits.csv --name digits --label even',
    )
    .action(async (name: string | undefined, options: ServerOptions) => {
      const client = connect(options, terminal);
      if (name !== undefined) {
        const dataset = await client.datasets.get(name);
        answer(terminal, options.json, dataset, datasetLines(dataset));
        return;
      }
      const datasets = await client.datasets.list();
      const rows = datasets.map((dataset) => [
        dataset.name,
        String(dataset.rows),
        String(dataset.features.length),
        dataset.label,
        dataset.report.passed ? 'passed' : 'FAILED',
      ]);
      const heading = ['NAME', 'ROWS', 'INPUTS', 'LABEL', 'CHECKS'];
      answer(terminal, options.json, { datasets }, table([heading, ...rows]));
    });
  command
    .command('upload')
    .description('upload a CSV file with a header')
    .argument('<file>')
    .requiredOption('--name <name>', 'what to call it')
    .requiredOption('--label <column>', 'the column to predict')
    .option('--seed <n>', 'seed of the split', wholeNumber)
    .option('--train <fraction>', 'part for training', fraction)
    .option('--validation <fraction>', 'part for validation', fraction)
    .option('--test <fraction>', 'part for the test', fraction)
    .action(async (file: string, _: unknown, self: Command) => {
      const { json, url, key, ...upload } = self.optsWithGlobals<UploadOptions>();
      const csv = await openFile(file);
      const server = { ...(url === undefined ? {} : { url }), ...(key === undefined ? {} : { key }) };
      const dataset = await connect(server, terminal).datasets.upload(upload, csv);
      answer(terminal, json, dataset, datasetLines(dataset));
    });
}

function datasetLines(dataset: Dataset): string[] {
  const { train, validation, test } = dataset.split.rows;
  return [
    `${dataset.name}: ${dataset.rows} rows, ${dataset.features.length} inputs, label ${dataset.label}`,
    `split by seed ${dataset.split.seed}: ${train} train, ${validation} validation, ${test} test`,
    `checks: ${dataset.report.passed ? 'passed' : 'FAILED'}`,
    ...table(
      dataset.report.checks.map(({ name, passed, severity, message }) => [
        passed ? '  ok' : `  ${severity}`,
        name,
        message,
      ]),
    ),
  ];
}

function fraction(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= 0 && value <= 1))
    throw new InvalidArgumentError('write a fraction between 0 and 1');
  return value;
}
