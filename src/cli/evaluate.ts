/** `commonwatt evaluate`: how good a version is, with intervals, and whether it may go to production. */
import type { Evaluation, GateRule, SplitName } from '@commonwatt/client';
import { type Command, Option } from 'commander';
import { connect, type ServerOptions } from './connection.ts';
import { showImpact } from './quantities.ts';
import { findVersion, type Reference, reference } from './references.ts';
import { type ScheduleOptions, scheduleLines, scheduleOf, scheduleOptions } from './schedule-options.ts';
import { answer, progressLine, type Terminal, table } from './terminal.ts';

interface Options extends ServerOptions, ScheduleOptions {
  dataset: string;
  split: SplitName;
}

export const splitOption = () =>
  new Option('--split <split>', 'which part of the data set')
    .choices(['train', 'validation', 'test'])
    .default('test');

export function define(command: Command, terminal: Terminal): void {
  scheduleOptions(command)
    .argument('<model>', 'organisation/model, :version or @alias may follow', reference)
    .requiredOption('--dataset <name>', 'a data set of your organisation')
    .addOption(splitOption())
    .addHelpText(
      'after',
      '\nExits 1 when the gate is not passed.\n\nExample:\n  $ commonwatt evaluate acme/digits:1 --dataset digits',
    )
    .action(async (ref: Reference, options: Options) => {
      const client = connect(options, terminal);
      const version = await findVersion(client, ref);
      const schedule = scheduleOf(options);
      if (schedule) {
        const config = { model: `${ref.model}:${version}`, dataset: options.dataset, split: options.split };
        const job = await client.jobs.create({ kind: 'evaluate', config, schedule });
        answer(terminal, options.json, job, [
          `job ${job.id} evaluates ${ref.model}:${version} later; see \`commonwatt jobs ${job.id}\``,
          ...scheduleLines(job),
        ]);
        return;
      }
      const progress = progressLine(terminal);
      progress.update(`evaluating ${ref.model}:${version} on ${options.dataset} (${options.split}) …`);
      const request = { dataset: options.dataset, split: options.split };
      const evaluation = await client.evaluate(ref.model, version, request).finally(() => progress.end());
      answer(terminal, options.json, evaluation, evaluationLines(`${ref.model}:${version}`, evaluation));
      if (!evaluation.passed) terminal.exitCode = 1;
    });
}

export function evaluationLines(name: string, evaluation: Evaluation): string[] {
  const figure = (value: number | null) => (value === null ? 'not defined' : value.toFixed(4));
  const metrics = Object.entries(evaluation.metrics).map(([metric, { value, low, high }]) => [
    `  ${metric}`,
    figure(value),
    low === null || high === null ? '' : `95 %: ${figure(low)} … ${figure(high)}`,
  ]);
  const rules = evaluation.gate.rules.map((rule) => {
    const verdict = rule.passed === null ? 'not run' : rule.passed ? 'passed ' : 'FAILED ';
    return `  ${verdict}  ${rule.metric} ${bounds(rule)} (is ${figure(rule.value)})${rule.reason ? `: ${rule.reason}` : ''}`;
  });
  return [
    `${name} on ${evaluation.dataset} (${evaluation.split}, ${evaluation.rows} rows)`,
    ...table(metrics),
    `  always guessing the larger class: ${figure(evaluation.majorityClassAccuracy)}`,
    `gate: ${evaluation.gate.passed ? 'passed' : 'NOT PASSED'}`,
    ...rules,
    `used ${showImpact(evaluation.impact)}`,
  ];
}

function bounds({ min, max, above, minGain }: GateRule): string {
  const parts = [
    min === undefined ? '' : `≥ ${min}`,
    max === undefined ? '' : `≤ ${max}`,
    above === undefined ? '' : `> ${above}`,
    minGain === undefined ? '' : `better by ${minGain}`,
  ];
  return parts.filter(Boolean).join(' and ');
}
