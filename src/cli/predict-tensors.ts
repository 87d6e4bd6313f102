/** Inputs of a model by name, as `predict --set`, `--text` and `--image` give them, and its answer on a terminal. */
import { readFileSync } from 'node:fs';
import type { Commonwatt, InferAnswer } from '@commonwatt/client';
import { WrongUse } from './failure.ts';
import { fileProblem } from './files.ts';

type ModelInputs = Awaited<ReturnType<Commonwatt['metadata']>>['inputs'];
type InferInputs = Parameters<Commonwatt['infer']>[1]['inputs'];

/** For commander: collects what is given several times, one row each. */
export function setting(text: string, before: string[] = []): string[] {
  if (!/^[^=]+=/.test(text))
    throw new WrongUse(`--set ${text} has no name`, 'write --set NAME=VALUE or --set NAME=@FILE');
  return [...before, text];
}

export function prefixed(prefix: string): (text: string, before?: string[]) => string[] {
  return (text, before = []) => [...before, prefix + text];
}

/** Each input gets as many rows as it was given values. */
export function tensorsOf(settings: readonly string[], inputs: ModelInputs): InferInputs {
  const given = new Map<string, string[]>();
  for (const text of settings) {
    const at = text.indexOf('=');
    const name = text.slice(0, at);
    given.set(name, [...(given.get(name) ?? []), text.slice(at + 1)]);
  }
  for (const name of given.keys())
    if (!inputs.some((input) => input.name === name))
      throw new WrongUse(
        `the model has no input ${JSON.stringify(name)}`,
        `it takes ${inputs.map((input) => `${input.name} (${input.datatype})`).join(', ')}`,
      );
  return inputs.map(({ name, datatype, shape }) => {
    const values = given.get(name);
    if (!values) throw new WrongUse(`the model's input ${name} was not given`, `add --set ${name}=VALUE`);
    const rows = values.map((value) => (datatype === 'BYTES' ? bytesOf(value) : numbersOf(value, name)));
    const inner = shape.slice(1).map((size, at) => (size === -1 ? sizeAt(rows[0], at) : size));
    return { name, datatype, shape: [rows.length, ...inner], data: rows.flat(Number.POSITIVE_INFINITY) };
  });
}

function bytesOf(value: string): unknown {
  if (!value.startsWith('@')) return value;
  const path = value.slice(1);
  try {
    return new Uint8Array(readFileSync(path));
  } catch (error) {
    throw fileProblem(path, error);
  }
}

function numbersOf(value: string, name: string): unknown {
  try {
    return JSON.parse(value);
  } catch {
    throw new WrongUse(
      `--set ${name}=${value.slice(0, 40)} is not JSON`,
      `write a row as --set '${name}=[0, 0.5]'`,
    );
  }
}

function sizeAt(row: unknown, depth: number): number {
  let at = row;
  for (let level = 0; level < depth; level++) at = Array.isArray(at) ? at[0] : undefined;
  return Array.isArray(at) ? at.length : 1;
}

/** Row by row; long rows of numbers are cut. */
export function answerLines({ outputs }: Pick<InferAnswer, 'outputs'>): string[] {
  const rows = Math.max(0, ...outputs.map(({ shape }) => shape[0] ?? 1));
  return Array.from({ length: rows }, (_, row) =>
    outputs
      .map(({ name, shape, data }) => {
        const width = data.length / Math.max(1, shape[0] ?? 1);
        return `  ${name}  ${shown(data.slice(row * width, (row + 1) * width))}`;
      })
      .join('\n'),
  );
}

const mostShown = 8;

function shown(values: readonly unknown[]): string {
  const texts = values
    .slice(0, mostShown)
    .map((value) =>
      typeof value === 'number' && !Number.isInteger(value) ? value.toFixed(6) : String(value),
    );
  const more = values.length - texts.length;
  return more > 0 ? `${texts.join('  ')}  … ${more} more` : texts.join('  ');
}
