/**
 * What a formula of the calculator is: a pure function that checks its input, says in its result which formula, units,
 * source and version of the method it used, and refuses what cannot be.
 */
import { z } from 'zod';
import { CommonwattError } from '../../errors.ts';

/** Raised whenever a formula gives other numbers than before. */
const calculatorVersion = '1';

/** Units by field name; a field of a list is named like the list's: `parts.energyJ`. */
export type Units = Readonly<Record<string, string>>;

export interface Calculation<Input, Result> {
  id: string;
  formula: string;
  units: Units;
  source: string;
  methodVersion: string;
  input: Input;
  result: Result;
}

interface About {
  /** Its name on the command line. */
  id: string;
  title: string;
  formula: string;
  units: Units;
  /** Where it comes from, and what to know of it. */
  source: string;
  /** Own version, where it differs from the calculator's. */
  version?: string;
}

export interface Definition<S extends z.ZodType, Result extends object> extends About {
  input: S;
  example: z.input<S>;
  compute(input: z.output<S>): Result;
}

export interface Formula<S extends z.ZodType = z.ZodType, Result extends object = object>
  extends Readonly<Required<About>> {
  /** Throws CommonwattError INVALID_REQUEST that names the field. */
  (input: z.input<S>): Calculation<z.output<S>, Result>;
  readonly input: S;
  readonly example: z.input<S>;
}

export function formula<S extends z.ZodType, Result extends object>(
  definition: Definition<S, Result>,
): Formula<S, Result> {
  const { compute, version = calculatorVersion, ...about } = definition;
  const { id, units, source } = about;
  const calculate = (input: z.input<S>): Calculation<z.output<S>, Result> => {
    const parsed = about.input.safeParse(input);
    if (!parsed.success) throw badInput(id, parsed.error, about.example);
    const result = compute(parsed.data);
    refuseOverflow(id, result, '');
    return { id, formula: about.formula, units, source, methodVersion: version, input: parsed.data, result };
  };
  return Object.assign(calculate, { ...about, version });
}

function badInput(id: string, { issues }: z.ZodError, example: unknown): CommonwattError {
  const issue = issues[0];
  const field = issue?.path.join('.') || 'input';
  return new CommonwattError('INVALID_REQUEST', `${id}: ${field}: ${issue?.message ?? 'not valid'}`, {
    where: field,
    hint: `an input that is right: ${JSON.stringify(example)}`,
  });
}

/** Every figure must be a number that there is. */
function refuseOverflow(id: string, value: unknown, path: string): void {
  if (typeof value === 'number' && !Number.isFinite(value)) {
    throw new CommonwattError(
      'INVALID_REQUEST',
      `${id}: ${path} would be ${value}: the input is too large or too small`,
      {
        where: path,
        hint: 'check the units of the input',
      },
    );
  }
  if (typeof value !== 'object' || value === null) return;
  for (const [name, inner] of Object.entries(value))
    refuseOverflow(id, inner, path ? `${path}.${name}` : name);
}

/** What several inputs share. */
export const field = {
  amount: z.number().min(0),
  positive: z.number().positive(),
  /** Of the building: never below 1, since it contains the computers. */
  pue: z.number().min(1).max(10).default(1).describe('power usage effectiveness, at least 1'),
  gPerKwh: z.number().min(0).max(3000).describe('gCO2e per kWh'),
  utilisation: z.number().min(0).max(1).describe('0 to 1'),
  share: z.number().min(0).max(1).describe('0 to 1'),
  count: z.int().min(0).max(1e9),
} as const;
