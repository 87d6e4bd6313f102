/** `commonwatt batch`: many rows through a deployed model, as a job that may wait for cleaner hours. */
import { readFileSync } from 'node:fs';
import type { SplitName } from '@commonwatt/client';
import { type Command, Option } from 'commander';
import { connect, type ServerOptions } from './connection.ts';
import { WrongUse } from './failure.ts';
import { fileProblem, saveStream } from './files.ts';
import { showBytes, showImpact } from './quantities.ts';
import { type ScheduleOptions, scheduleLines, scheduleOf, scheduleOptions } from './schedule-options.ts';
import { answer, type Terminal } from './terminal.ts';
import { follow } from './train.ts';
import { checkSucceeded } from './training.ts';

interface Options extends ServerOptions, ScheduleOptions {
  dataset?: string;
  split?: SplitName;
  rows?: string;
  out: string;
  detach?: boolean;
}

export function define(command: Command, terminal: Terminal): void {
  scheduleOptions(command)
    .argument('<model>', 'organisation/model, :version or @alias may follow')
    .option('--dataset <name>', 'a data set of your organisation')
    .addOption(
      new Option('--split <split>', 'part of it; without: all').choices(['train', 'validation', 'test']),
    )
    .option('--rows <file.json>', 'instead of a data set: rows of features, [[…], …]')
    .option('--out <file.csv>', 'where the answers go', 'results.csv')
    .option('--detach', 'do not wait; see `commonwatt jobs`')
    .addHelpText('after', '\nExample:\n  $ commonwatt batch acme/digits --dataset digits --max-delay 8h')
    .action(async (model: string, options: Options) => {
      const client = connect(options, terminal);
      const { dataset, split, rows: file } = options;
      if ((dataset === undefined) === (file === undefined))
        throw new WrongUse('there must be --dataset or --rows, and not both', 'give one of them');
      const config = {
        model,
        ...(dataset === undefined ? {} : { dataset }),
        ...(split === undefined ? {} : { split }),
        ...(file === undefined ? {} : { rows: readRows(file) }),
      };
      const schedule = scheduleOf(options);
      const created = await client.jobs.create({ kind: 'batch', config, ...(schedule ? { schedule } : {}) });
      if (options.detach) {
        answer(terminal, options.json, created, [`job ${created.id}`, ...scheduleLines(created)]);
        return;
      }
      const job = await follow(client, created, terminal);
      const result = checkSucceeded(job);
      const sizeBytes = await saveStream(await client.jobs.artifact(job.id), options.out);
      answer(terminal, options.json, { job, out: options.out, sizeBytes }, [
        `${options.out} (${showBytes(sizeBytes)})`,
        `used ${showImpact(result.impact)}`,
        ...scheduleLines(job),
      ]);
    });
}

function readRows(file: string): number[][] {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as number[][];
  } catch (error) {
    if (error instanceof Error && 'code' in error) throw fileProblem(file, error);
    throw new WrongUse(
      `${file} is no JSON: ${error instanceof Error ? error.message : error}`,
      'write rows of features, e.g. [[0, 1], [1, 0]]',
    );
  }
}
