/** `commonwatt calc`: every formula of the accounting, without a server. */
import { readFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import { type AnyFormula, findFormula, formulas } from '../energy/calc/calc.ts';
import { CommonwattError } from '../errors.ts';
import { WrongUse } from './failure.ts';
import { answer, type Terminal, table } from './terminal.ts';

interface Options {
  list?: boolean;
  example?: boolean;
  input?: string;
  json?: boolean;
}

export function define(command: Command, terminal: Terminal): void {
  command
    .argument('[formula]', 'its name, as --list shows it')
    .addOption(new Option('--list', 'every formula with an example input'))
    .addOption(new Option('--example', 'print an input of the formula that is right'))
    .addOption(new Option('--input <file>', 'JSON; -: standard input'))
    .addHelpText(
      'after',
      '\nNeeds no server.\n\nExample:\n  $ commonwatt calc carbon --example > input.json\n  $ commonwatt calc carbon --input input.json',
    )
    .action(async (name: string | undefined, options: Options) => {
      if (name === undefined) return list(options, terminal);
      const found = findFormula(name);
      if (!found) throw new WrongUse(`there is no formula ${JSON.stringify(name)}`, hintFor(name));
      if (options.example) {
        terminal.out(`${JSON.stringify(found.example, null, 2)}\n`);
        return;
      }
      calculate(found, await readInput(options.input, found, terminal), options, terminal);
    });
}

function list({ list: wanted, json }: Options, terminal: Terminal): void {
  if (!wanted) throw new WrongUse('which formula?', 'name one; `commonwatt calc --list` shows them all');
  const all = formulas.map(({ id, title, formula, units, source, version, example }) => ({
    id,
    title,
    formula,
    units,
    source,
    methodVersion: version,
    example,
  }));
  answer(terminal, json, all, [
    ...all.flatMap(({ id, title, formula, example }) => [
      `${id}: ${title}`,
      `    ${formula}`,
      `    ${JSON.stringify(example)}`,
    ]),
  ]);
}

function hintFor(name: string): string {
  const near = formulas.map(({ id }) => id).filter((id) => id.includes(name) || name.includes(id));
  return near.length > 0 ? `perhaps ${near.join(' or ')}` : '`commonwatt calc --list` shows them all';
}

async function readInput(from: string | undefined, { id, example }: AnyFormula, terminal: Terminal) {
  if (from === undefined)
    throw new WrongUse(
      `${id} needs an input`,
      `--input FILE (or - for standard input) with JSON such as ${JSON.stringify(example)}`,
    );
  const text = from === '-' ? await terminal.readInput() : await readText(from);
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new WrongUse(
      `${from === '-' ? 'standard input' : from} is not JSON: ${(error as Error).message}`,
      `an input that is right: ${JSON.stringify(example)}`,
    );
  }
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new WrongUse(`${file} cannot be read: ${(error as Error).message}`, 'name a file with JSON');
  }
}

function calculate(found: AnyFormula, input: unknown, { json }: Options, terminal: Terminal): void {
  try {
    const calculation = found.calculate(input);
    const { formula, source, methodVersion, result, units } = calculation;
    answer(terminal, json, calculation, [
      ...resultLines(result, units),
      `formula  ${formula}`,
      `source   ${source}`,
      `method   version ${methodVersion}`,
    ]);
  } catch (error) {
    // Wrong figures are wrong use: exit 2.
    if (!(error instanceof CommonwattError)) throw error;
    throw new WrongUse(error.message, error.hint ?? 'see --example');
  }
}

function resultLines(result: object, units: Readonly<Record<string, string>>): string[] {
  return table(
    Object.entries(result).map(([name, value]) => [
      name,
      typeof value === 'object' ? JSON.stringify(value) : String(value),
      units[name] ?? '',
    ]),
  );
}
