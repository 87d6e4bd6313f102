/** `commonwatt export`: the bytes of a version, for those with the right to download. */
import { Readable } from 'node:stream';
import { type Command, Option } from 'commander';
import { connect, type ServerOptions } from './connection.ts';
import { saveStream } from './files.ts';
import { showBytes } from './quantities.ts';
import { findVersion, type Reference, reference } from './references.ts';
import { answer, type Terminal } from './terminal.ts';

interface Options extends ServerOptions {
  format: 'h5' | 'onnx' | 'original';
  out: string;
}

export function define(command: Command, terminal: Terminal): void {
  command
    .argument('<model>', 'organisation/model, :version or @alias may follow', reference)
    .addOption(
      new Option('--format <format>', 'file format; original: as it was imported')
        .choices(['h5', 'onnx', 'original'])
        .makeOptionMandatory(),
    )
    .requiredOption('--out <file>', 'where to write it; - for standard output')
    .addHelpText('after', '\nExample:\n  $ commonwatt export acme/digits --format onnx --out digits.onnx')
    .action(async (ref: Reference, options: Options) => {
      const client = connect(options, terminal);
      const version = await findVersion(client, ref);
      const bytes = await client.versions.artifact(ref.model, version, options.format);
      if (options.out === '-') {
        for await (const chunk of Readable.fromWeb(bytes)) process.stdout.write(chunk);
        return;
      }
      const sizeBytes = await saveStream(bytes, options.out);
      const result = { model: ref.model, version, format: options.format, out: options.out, sizeBytes };
      answer(terminal, options.json, result, [
        `${ref.model}:${version} as ${options.format} → ${options.out} (${showBytes(sizeBytes)})`,
      ]);
    });
}
