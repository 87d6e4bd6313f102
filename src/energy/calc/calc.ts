/**
 * The calculator anyone can check (`commonwatt calc`, and the package's export `commonwatt/energy`): every formula of
 * the accounting as a pure function that names itself, its units, its source and the version of the method. The product
 * computes with the same functions.
 *
 * In: plain numbers. Out: the result with all that is needed to repeat it. Promise: no side effects, no server.
 */
import * as attributing from './attributing.ts';
import * as carbon from './carbon.ts';
import type { Calculation, Units } from './formula.ts';
import * as llm from './llm.ts';
import * as measuring from './measuring.ts';
import * as regions from './regions.ts';
import * as scheduling from './scheduling.ts';
import * as sharing from './sharing.ts';
import * as using from './using.ts';

export * from './attributing.ts';
export * from './carbon.ts';
export type { Calculation, Formula, Units } from './formula.ts';
export * from './llm.ts';
export * from './measuring.ts';
export * from './regions.ts';
export * from './scheduling.ts';
export * from './sharing.ts';
export * from './using.ts';

/** A formula whose input is not known at compile time. */
export interface AnyFormula {
  id: string;
  title: string;
  formula: string;
  units: Units;
  source: string;
  version: string;
  example: unknown;
  /** Checks the input first. Throws CommonwattError INVALID_REQUEST that names the field. */
  calculate(input: unknown): Calculation<unknown, object>;
}

const rooms = [measuring, attributing, carbon, llm, using, sharing, scheduling, regions];

/** By subject: measuring, attribution, carbon, use, sharing, scheduling, regions. */
export const formulas: readonly AnyFormula[] = rooms.flatMap((room) =>
  Object.values(room).flatMap((item) => (isFormula(item) ? [asAny(item)] : [])),
);

export function findFormula(id: string): AnyFormula | undefined {
  return formulas.find((formula) => formula.id === id);
}

type FormulaFunction = ((input: never) => Calculation<unknown, object>) & Omit<AnyFormula, 'calculate'>;

function isFormula(item: unknown): item is FormulaFunction {
  return typeof item === 'function' && 'example' in item && 'formula' in item;
}

function asAny(item: FormulaFunction): AnyFormula {
  const { id, title, formula, units, source, version, example } = item;
  // Its first step is to check what it was given.
  return { id, title, formula, units, source, version, example, calculate: (input) => item(input as never) };
}
