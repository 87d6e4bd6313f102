/** `commonwatt import`: a model file becomes the next version of a model. */
import type { Command } from 'commander';
import { connect, type ServerOptions } from './connection.ts';
import { openModel } from './packing.ts';
import { showBytes } from './quantities.ts';
import { type Reference, reference } from './references.ts';
import { answer, type Terminal } from './terminal.ts';

interface Options extends ServerOptions {
  name: Reference;
  job?: string;
}

export function define(command: Command, terminal: Terminal): void {
  command
    .argument(
      '<path>',
      'a Keras .h5 or .keras file, an .onnx file (with its data beside it), a folder or zip of a pipeline or tf.js model, or the YAML of an ensemble',
    )
    .requiredOption('--name <model>', 'organisation/model', reference)
    .option('--job <id>', 'the training job it came from')
    .addHelpText(
      'after',
      '\nExamples:\n  $ commonwatt import model.h5 --name acme/digits\n  $ commonwatt import minilm/ --name acme/minilm\n  $ commonwatt import search.yaml --name acme/search',
    )
    .action(async (file: string, options: Options) => {
      const client = connect(options, terminal);
      const artifact = await openModel(file);
      const { model } = options.name;
      const version = await client.versions.import(model, artifact, options.job ? { job: options.job } : {});
      const shapes = (specs: typeof version.inputs) =>
        specs.map(({ name, datatype, shape }) => `${name} ${datatype} [${shape.join(', ')}]`).join(', ');
      answer(terminal, options.json, version, [
        `${model}:${version.number}  ${version.format}  ${showBytes(version.sizeBytes)}  sha256 ${version.sha256.slice(0, 16)}…`,
        `  in   ${shapes(version.inputs)}`,
        `  out  ${shapes(version.outputs)}`,
        `next: commonwatt deploy ${model}:${version.number}`,
      ]);
    });
}
