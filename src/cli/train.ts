/** `commonwatt train`: data set and network from a YAML file → a trained model.h5, with every joule on the way. */
import type { Commonwatt, Job } from '@commonwatt/client';
import type { Command } from 'commander';
import { connect, type ServerOptions } from './connection.ts';
import { saveStream } from './files.ts';
import { showBytes, showImpact } from './quantities.ts';
import { type ScheduleOptions, scheduleLines, scheduleOf, scheduleOptions } from './schedule-options.ts';
import { answer, progressLine, type Terminal } from './terminal.ts';
import { checkTrained, ensureDataset, progressText, readTrainingFile } from './training.ts';

interface Options extends ServerOptions, ScheduleOptions {
  config: string;
  out?: string;
  detach?: boolean;
}

export function define(command: Command, terminal: Terminal): void {
  scheduleOptions(command)
    .requiredOption('--config <file>', 'YAML with data set, layers, optimizer, epochs …')
    .option('--out <file>', 'where model.h5 goes (default: `out` of the YAML, else ./model.h5)')
    .option('--detach', 'do not wait for its end; see `commonwatt jobs`')
    .addHelpText(
      'after',
      '\nCtrl-C asks the server to cancel the training.\n\nExample:\n  $ commonwatt train --config examples/digits/train.yaml',
    )
    .action(async (options: Options) => {
      const client = connect(options, terminal);
      const file = readTrainingFile(options.config);
      const out = options.out ?? file.out;
      const { dataset, uploaded } = await ensureDataset(client, file);
      terminal.err(`${uploaded ? 'uploaded' : 'using'} data set ${dataset.name}: ${dataset.rows} rows\n`);
      const schedule = scheduleOf(options);
      const created = await client.jobs.create({
        kind: 'train',
        config: file.config,
        ...(schedule ? { schedule } : {}),
      });
      if (options.detach) {
        answer(terminal, options.json, created, [`job ${created.id}`, ...scheduleLines(created)]);
        return;
      }
      const job = await follow(client, created, terminal);
      const result = checkTrained(job);
      const sizeBytes = await saveStream(await client.jobs.artifact(job.id), out);
      const last = result.history[result.history.length - 1];
      const { organisation } = await client.whoami();
      answer(terminal, options.json, { job, out, sizeBytes }, [
        `${out} (${showBytes(sizeBytes)})  accuracy ${last?.accuracy.toFixed(4) ?? '–'}, validation ${last?.valAccuracy?.toFixed(4) ?? '–'}`,
        `training used ${showImpact(result.impact)}`,
        ...scheduleLines(job),
        `next: commonwatt import ${out} --name ${organisation}/${dataset.name} --job ${job.id}`,
      ]);
    });
}

/** Shows the progress of a job until it ends. The first Ctrl-C asks to cancel it, the second leaves at once. */
export async function follow(client: Commonwatt, job: Job, terminal: Terminal): Promise<Job> {
  const progress = progressLine(terminal);
  let asked = false;
  const onInterrupt = () => {
    if (asked) process.exit(1);
    asked = true;
    progress.end();
    terminal.err(`cancelling job ${job.id} (Ctrl-C again leaves without waiting)\n`);
    client.jobs.cancel(job.id).catch((error: unknown) => terminal.err(`${error}\n`));
  };
  process.on('SIGINT', onInterrupt);
  try {
    return await client.jobs.wait(job.id, {
      onProgress: (now) => progress.update(progressText(now)),
    });
  } finally {
    process.off('SIGINT', onInterrupt);
    progress.end();
  }
}
