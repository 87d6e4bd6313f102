/** The pipelines that `pipelines.py` makes, as bundles, with what they must answer. */
import { mkdtempSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runPython } from '../../../../test/python.ts';
import { inspectArtifact } from '../../../models/formats/formats.ts';
import { writeZip } from '../../../zip.ts';
import { pipelineRuntime } from '../../pipeline.ts';
import type { LoadedModel } from '../../runtime.ts';
import { packBytes, type Tensor, unpackBytes } from '../../tensor.ts';

export interface Expected {
  texts: string[];
  scrambled: string[];
  /** Ids of the scrambled texts by kind of tokenizer, cut to a length: alone, and each with the next. */
  tokens: Record<string, { length: number; one: number[][]; pair: number[][] }[]>;
  pipelines: Record<
    string,
    {
      embedding?: number[][];
      entities?: object[][];
      scores?: number[][];
      score?: number[];
      pairs?: [string, string][];
    }
  >;
}

/** Makes them anew. */
export function makePipelines(): { folder: string; expected: Expected } {
  const folder = mkdtempSync(join(tmpdir(), 'pipelines-'));
  const script = readFileSync(fileURLToPath(new URL('pipelines.py', import.meta.url)), 'utf8');
  runPython(script, [folder]);
  return { folder, expected: JSON.parse(readFileSync(join(folder, 'expected.json'), 'utf8')) as Expected };
}

export function bundleOf(folder: string, changes: Record<string, string | null> = {}): Buffer {
  const files = new Map(filesOf(folder).map((path) => [relative(folder, path), readFileSync(path)]));
  for (const [name, text] of Object.entries(changes)) {
    if (text === null) files.delete(name);
    else files.set(name, Buffer.from(text));
  }
  return writeZip(files);
}

function filesOf(folder: string): string[] {
  return readdirSync(folder)
    .map((name) => join(folder, name))
    .flatMap((path) => (statSync(path).isDirectory() ? filesOf(path) : [path]));
}

export async function loadPipeline(bundle: Buffer): Promise<LoadedModel> {
  const { onnx } = await inspectArtifact(bundle);
  return pipelineRuntime.load(onnx, { threads: 1, executionProviders: ['cpu'] });
}

export function bytesTensor(name: string, elements: (string | Uint8Array)[]): Tensor {
  const data = packBytes(elements.map((element) => Buffer.from(element)));
  return { name, datatype: 'BYTES', shape: [elements.length], data };
}

export function rowsOf(output: Tensor | undefined): number[][] {
  if (!output) throw new Error('no such output');
  const [rows = 0, ...rest] = output.shape;
  const width = rest.reduce((a, b) => a * b, 1);
  const values = Array.from(output.data, Number);
  return Array.from({ length: rows }, (_, row) => values.slice(row * width, (row + 1) * width));
}

export function stringsOf(output: Tensor | undefined): string[] {
  return unpackBytes(output?.data as Uint8Array).map((bytes) => Buffer.from(bytes).toString());
}
