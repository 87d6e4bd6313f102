/** `commonwatt predict`: rows in, answers out, and what they used. */
import type { InferAnswer, Prediction } from '@commonwatt/client';
import type { Command } from 'commander';
import { connect, type ServerOptions } from './connection.ts';
import { splitOption } from './evaluate.ts';
import { type InstanceOptions, readInstances } from './instances.ts';
import { answerLines, prefixed, setting, tensorsOf } from './predict-tensors.ts';
import { showImpact } from './quantities.ts';
import { findVersion, type Reference, reference, wholeNumber } from './references.ts';
import { answer, type Terminal } from './terminal.ts';

export function addInstanceOptions(command: Command): Command {
  return command
    .option('--row <n>', 'a row of the data set, counted from 0', wholeNumber)
    .option('--dataset <name>', 'the data set of --row (default: what the model was trained on)')
    .addOption(splitOption())
    .option('--input <file>', 'JSON: [[…], …] or {"instances": [[…]]} (default: standard input)');
}

interface TensorOptions {
  set?: string[];
  text?: string[];
  image?: string[];
}

export function define(command: Command, terminal: Terminal): void {
  addInstanceOptions(
    command.argument('<model>', 'organisation/model, :version or @alias may follow', reference),
  )
    .option(
      '--text <text>',
      'a row of the input text, for text pipelines; may be repeated',
      prefixed('text='),
    )
    .option(
      '--image <file>',
      'a PNG or JPEG file, a row of the input image; may be repeated',
      prefixed('image=@'),
    )
    .option('--set <name=value>', 'a row of any input: text, a JSON row, or @FILE; may be repeated', setting)
    .addHelpText(
      'after',
      '\nExamples:\n  $ commonwatt predict acme/digits --row 7\n  $ echo "[[0, 0.5, …]]" | commonwatt predict acme/digits\n  $ commonwatt predict acme/minilm --text "a kettle" --text "a power station"\n  $ commonwatt predict acme/rerank --set query="cheap power" --set document=@notes.txt',
    )
    .action(async (ref: Reference, options: ServerOptions & InstanceOptions & TensorOptions) => {
      const client = connect(options, terminal);
      const settings = [...(options.text ?? []), ...(options.image ?? []), ...(options.set ?? [])];
      const instances =
        settings.length > 0 ? undefined : await readInstances(client, ref.model, options, terminal);
      // Without a version the server chooses, so that a consumer need not see the versions.
      const version = ref.version ?? (ref.alias ? await findVersion(client, ref) : undefined);
      const route = version === undefined ? {} : { version };
      const { inputs } = await client.metadata(ref.model, route);
      const rows = instances?.rows.map((row) => `${inputs[0]?.name}=${JSON.stringify(row)}`);
      const result = await client.infer(ref.model, { inputs: tensorsOf(rows ?? settings, inputs) }, route);
      if (!instances || result.outputs.length > 1) {
        answer(terminal, options.json, result, [
          `${ref.model}:${result.model_version}`,
          ...answerLines(result),
          `used ${showImpact(result.usage.impact)}`,
        ]);
        return;
      }
      const prediction = predictionOf(result, instances.rows.length);
      answer(terminal, options.json, { ...prediction, labels: instances.labels }, [
        `${ref.model}:${prediction.version} on ${instances.from}`,
        ...prediction.outputs.map((output, row) => {
          const label = instances.labels[row];
          const right = label === null || label === undefined ? '' : `  (label: ${label})`;
          return `  ${output.map((value) => value.toFixed(6)).join('  ')}${right}`;
        }),
        `used ${showImpact(prediction.impact)}`,
      ]);
    });
}

/** Of a model with one output: a row of numbers for each row that was given. */
function predictionOf({ model_name, model_version, outputs, usage }: InferAnswer, rows: number): Prediction {
  const data = (outputs[0]?.data ?? []).map(Number);
  const width = rows > 0 ? data.length / rows : 0;
  return {
    model: model_name,
    version: Number(model_version),
    outputs: Array.from({ length: rows }, (_, row) => data.slice(row * width, (row + 1) * width)),
    impact: usage.impact,
  };
}
