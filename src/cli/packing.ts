/** What is sent for a model that is more than one file: a folder, or an ONNX model with its data, as one zip archive. */
import { openAsBlob } from 'node:fs';
import { lstat, readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join, posix, relative, sep } from 'node:path';
import { crc32 } from 'node:zlib';
import { zipParts } from '../zip.ts';
import { WrongUse } from './failure.ts';
import { fileProblem, openFile } from './files.ts';
import { externalFiles } from './onnx-files.ts';

const mostFiles = 2000;
/** The weights that an exported model does not need any more. */
const trainingWeights =
  /(\.safetensors|\.msgpack|\.pt|\.pth|\.ckpt|\.gguf|\.pkl|\.joblib)$|(^|\/)(pytorch_model.*\.bin|tf_model\.h5|training_args\.bin)$/;

/** A file as it is; a folder, an ONNX model with external data or a tf.js model.json with its shards packed. */
export async function openModel(path: string): Promise<Blob> {
  const facts = await stat(path).catch((error: unknown) => {
    throw fileProblem(path, error);
  });
  if (facts.isDirectory()) return pack(path, await filesOf(path));
  const beside = path.endsWith('.onnx')
    ? await externalFiles(path)
    : basename(path) === 'model.json'
      ? await shardsOf(path)
      : [];
  if (beside.length === 0) return openFile(path);
  for (const name of beside) checkBeside(path, name);
  return pack(dirname(path), [basename(path), ...beside.map((name) => posix.normalize(name))]);
}

async function filesOf(folder: string): Promise<string[]> {
  const names: string[] = [];
  const walk = async (at: string): Promise<void> => {
    for (const entry of await readdir(at, { withFileTypes: true })) {
      if (entry.name.startsWith('.') || entry.name === '__pycache__') continue;
      const path = join(at, entry.name);
      const name = relative(folder, path).split(sep).join('/');
      if (entry.isDirectory()) await walk(path);
      else if (!trainingWeights.test(name)) names.push(name);
      if (names.length > mostFiles)
        throw new WrongUse(`${folder} has more than ${mostFiles} files`, 'name the folder of one model');
    }
  };
  await walk(folder);
  return names.sort();
}

/** The same files always make the same archive. */
async function pack(folder: string, names: readonly string[]): Promise<Blob> {
  const entries = [];
  for (const name of names) {
    const path = join(folder, name);
    await refuseLink(folder, name);
    const content = await openAsBlob(path).catch((error: unknown) => {
      throw fileProblem(path, error);
    });
    entries.push({ name, sizeBytes: content.size, crc: await checksum(content), content });
  }
  return new Blob(zipParts<Blob>(entries));
}

async function checksum(content: Blob): Promise<number> {
  let sum = 0;
  for await (const chunk of content.stream()) sum = crc32(chunk, sum);
  return sum;
}

/** A link could carry any file of this machine to the server. */
async function refuseLink(folder: string, name: string): Promise<void> {
  let at = folder;
  for (const part of name.split('/')) {
    at = join(at, part);
    const facts = await lstat(at).catch((error: unknown) => {
      throw fileProblem(at, error);
    });
    if (facts.isSymbolicLink())
      throw new WrongUse(`${at} is a link`, `copy the files that it means: cp -RL ${folder} COPY`);
  }
}

function checkBeside(path: string, name: string): void {
  const parts = posix.normalize(name).split('/');
  if (!name.includes('\\') && !posix.isAbsolute(name) && !/^[a-z]:/i.test(name) && !parts.includes('..'))
    return;
  throw new WrongUse(
    `${path} wants data from ${JSON.stringify(name)}, outside its own folder`,
    'save it with its data beside it: onnx.save_model(model, "model.onnx", save_as_external_data=True, location="model.onnx.data")',
  );
}

/** Of a tf.js layers model. */
async function shardsOf(path: string): Promise<string[]> {
  try {
    const model = JSON.parse(await readFile(path, 'utf8')) as { weightsManifest?: { paths?: string[] }[] };
    return [...new Set((model.weightsManifest ?? []).flatMap(({ paths }) => paths ?? []).map(String))];
  } catch {
    return [];
  }
}
