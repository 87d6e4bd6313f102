/** `commonwatt explain`: which inputs an answer came from; a picture where the inputs are one. */
import type { Explanation } from '@commonwatt/client';
import type { Command } from 'commander';
import { connect, type ServerOptions } from './connection.ts';
import { heatMap } from './heat-map.ts';
import { type InstanceOptions, readInstances } from './instances.ts';
import { addInstanceOptions } from './predict.ts';
import { showImpact } from './quantities.ts';
import { findVersion, type Reference, reference, wholeNumber } from './references.ts';
import { answer, type Terminal, table } from './terminal.ts';

interface Options extends ServerOptions, InstanceOptions {
  maxCalls?: number;
  seed?: number;
}

export function define(command: Command, terminal: Terminal): void {
  addInstanceOptions(
    command.argument('<model>', 'organisation/model, :version or @alias may follow', reference),
  )
    .option('--max-calls <n>', 'upper limit for calls of the model', wholeNumber)
    .option('--seed <n>', 'seed of the permutations', wholeNumber)
    .addHelpText('after', '\nExample:\n  $ commonwatt explain acme/digits --row 7')
    .action(async (ref: Reference, options: Options) => {
      const client = connect(options, terminal);
      const instances = await readInstances(client, ref.model, options, terminal);
      const version = ref.version ?? (ref.alias ? await findVersion(client, ref) : undefined);
      const result = await client.explain(ref.model, {
        instances: instances.rows,
        ...(version === undefined ? {} : { version }),
        ...(options.maxCalls === undefined ? {} : { maxCalls: options.maxCalls }),
        ...(options.seed === undefined ? {} : { seed: options.seed }),
      });
      answer(terminal, options.json, result, [
        `${ref.model}:${result.version} on ${instances.from}`,
        ...result.explanations.flatMap((explanation) => explanationLines(explanation, terminal.outIsTty)),
      ]);
    });
}

export function explanationLines(explanation: Explanation, colour: boolean): string[] {
  const { attributions, prediction, baseValue, output, modelCalls, impact } = explanation;
  const strongest = [...attributions].sort((a, b) => Math.abs(b.value) - Math.abs(a.value)).slice(0, 8);
  const signed = (value: number) => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(5)}`;
  return [
    `  ${output} ${prediction.toFixed(6)} = base ${baseValue.toFixed(6)} + contributions of ${attributions.length} inputs`,
    ...(colour && attributions.length === 100
      ? heatMap(
          attributions.map(({ value }) => value),
          10,
        )
      : []),
    ...table(strongest.map(({ feature, value }) => [`  ${feature}`, signed(value)])),
    `  ${explanation.method}, ${modelCalls} calls of the model, used ${showImpact(impact)}`,
  ];
}
