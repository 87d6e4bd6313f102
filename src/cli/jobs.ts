/** `commonwatt jobs`: list, look at, follow and cancel. */
import type { Job } from '@commonwatt/client';
import type { Command } from 'commander';
import { connect, type ServerOptions } from './connection.ts';
import { showEnergy, showImpact } from './quantities.ts';
import { type ScheduleOptions, scheduleLines, scheduleOf, scheduleOptions } from './schedule-options.ts';
import { answer, type Terminal, table } from './terminal.ts';
import { follow } from './train.ts';
import { progressText } from './training.ts';

export function define(command: Command, terminal: Terminal): void {
  command
    .argument('[id]', 'show one job')
    .addHelpText('after', '\nExamples:\n  $ commonwatt jobs\n  $ commonwatt jobs follow <id>')
    .action(async (id: string | undefined, options: ServerOptions) => {
      const client = connect(options, terminal);
      if (id !== undefined) {
        const job = await client.jobs.get(id);
        answer(terminal, options.json, job, jobLines(job));
        return;
      }
      const jobs = await client.jobs.list();
      const rows = jobs.map((job) => [
        job.id,
        job.kind,
        job.state,
        job.createdAt,
        job.createdBy,
        job.result ? showEnergy(job.result.impact.energyWh) : '',
      ]);
      const heading = ['ID', 'KIND', 'STATE', 'CREATED', 'BY', 'ENERGY'];
      answer(terminal, options.json, { jobs }, table([heading, ...rows]));
    });
  command
    .command('follow')
    .description('show the progress of a job until it ends; Ctrl-C asks to cancel it')
    .argument('<id>')
    .action(async (id: string, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<ServerOptions>();
      const client = connect(options, terminal);
      const job = await follow(client, await client.jobs.get(id), terminal);
      answer(terminal, options.json, job, jobLines(job));
      if (job.state !== 'succeeded') terminal.exitCode = 1;
    });
  scheduleOptions(command.command('again'))
    .description('train again as a version was trained, on the same data or other')
    .argument('<model>', 'organisation/model, :version or @alias may follow')
    .option('--dataset <name>', 'other data')
    .action(async (model: string, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<ServerOptions & ScheduleOptions & { dataset?: string }>();
      const schedule = scheduleOf(options);
      const config = { model, ...(options.dataset === undefined ? {} : { dataset: options.dataset }) };
      const request = { kind: 'retrain' as const, config, ...(schedule ? { schedule } : {}) };
      const job = await connect(options, terminal).jobs.create(request);
      answer(terminal, options.json, job, jobLines(job));
    });
  command
    .command('cancel')
    .description('ask a job to stop')
    .argument('<id>')
    .action(async (id: string, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<ServerOptions>();
      const job = await connect(options, terminal).jobs.cancel(id);
      answer(terminal, options.json, job, [`job ${job.id}: asked to stop (${job.state})`]);
    });
}

function jobLines(job: Job): string[] {
  return [
    `job ${job.id}  ${job.kind}  ${job.state}  (attempt ${job.attempts})`,
    ...(job.progress ? [`  ${progressText(job)}`] : []),
    ...scheduleLines(job),
    ...(job.result ? [`  used ${showImpact(job.result.impact)}`] : []),
    ...(job.error ? [`  ${job.error.code}: ${job.error.message}`] : []),
  ];
}
