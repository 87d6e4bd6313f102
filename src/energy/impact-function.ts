/**
 * f: what the work of one hour at full use causes, in gCO2e, when the host is used at u (0 < u ≤ 1); divided by W, the
 * units of work of such an hour, it is the impact of a unit. Without anything else it is c(u)·W = a + b/u (impact.ts).
 * An operator may put a measured power curve, [PUE·I·P(u) + M]/u, or an expression of u in its place. Either is checked
 * before it is used.
 */
import { type Expression, Parser } from 'expr-eval-fork';
import { z } from 'zod';
import { CommonwattError } from '../errors.ts';
import { coefficients, type Server } from './impact.ts';
import { curveFault, wattsAt } from './meters/curves.ts';
import type { PowerCurve } from './meters/meter.ts';

/** What an expression may name besides u; the server's own figures when it is evaluated. */
const variables = ['u', 'a', 'b', 'idleW', 'maxW', 'pue', 'gPerKwh', 'embodiedGPerH'] as const;
type Variables = Record<(typeof variables)[number], number>;
const functions = ['min', 'max', 'pow', 'exp', 'ln', 'log10', 'sqrt', 'abs'] as const;
const known: ReadonlySet<string> = new Set([...variables, ...functions]);
const longestExpression = 500;

const powerCurve = z.array(z.tuple([z.number(), z.number()])).max(1000);

export const impactFunctionSettings = z
  .union([
    z.strictObject({
      curve: powerCurve.superRefine((curve, context) => {
        const fault = powerCurveFault(curve);
        if (fault !== null) context.addIssue({ code: 'custom', message: fault });
      }),
    }),
    z.strictObject({
      expression: z
        .string()
        .max(longestExpression)
        .superRefine((text, context) => {
          const fault = expressionFault(text);
          if (fault !== null) context.addIssue({ code: 'custom', message: fault });
        }),
    }),
  ])
  .nullable();
export type ImpactFunctionSettings = z.infer<typeof impactFunctionSettings>;

export interface ImpactFunction {
  kind: 'straight line' | 'power curve' | 'expression';
  formula: string;
  /** g for the work of one hour at full use. u = 0 has no work: Infinity. */
  perFullHour(u: number): number;
}

/** `calibrated`: the host's own measured curve, when nobody configured another function. */
export function impactFunction(
  settings: ImpactFunctionSettings,
  server: Server,
  calibrated?: PowerCurve,
): ImpactFunction {
  if (settings && 'expression' in settings) return ofExpression(settings.expression, server);
  const curve = settings?.curve ?? calibrated;
  if (curve) return ofCurve(curve, server);
  const { a, b } = coefficients(server);
  return { kind: 'straight line', formula: 'a + b / u', perFullHour: (u) => a + b / u };
}

/** Example: P(.5) = 30 W, PUE 1, 400 g/kWh, M 8 g/h → (12 + 8)/.5 = 40 g for the work of a full hour. */
function ofCurve(curve: PowerCurve, { pue, intensity, embodiedGPerH }: Server): ImpactFunction {
  const gPerWh = (pue * intensity) / 1000;
  return {
    kind: 'power curve',
    formula: `(PUE · I · P(u) + M) / u, P measured at ${curve.length} points`,
    perFullHour: (u) => (gPerWh * wattsAt(curve, u) + embodiedGPerH) / u,
  };
}

function ofExpression(text: string, server: Server): ImpactFunction {
  const expression = parse(text);
  const { idleW, maxW, pue, intensity: gPerKwh, embodiedGPerH } = server;
  const facts = { ...coefficients(server), idleW, maxW, pue, gPerKwh, embodiedGPerH };
  return { kind: 'expression', formula: text, perFullHour: (u) => evaluateAt(expression, { u, ...facts }) };
}

function evaluateAt(expression: Expression, given: Variables): number {
  const value = expression.evaluate({ ...given });
  return typeof value === 'number' ? value : Number.NaN;
}

/** Arithmetic and a few functions; no members, strings, lists, assignments or functions of its own. */
const parser = new Parser({
  allowMemberAccess: false,
  operators: {
    assignment: false,
    fndef: false,
    in: false,
    concatenate: false,
    random: false,
    factorial: false,
    length: false,
  },
});
function parse(text: string): Expression {
  return parser.parse(text);
}

const allowedText = `numbers, + − * / ^ ( ), ${variables.join(', ')}, ${functions.join(', ')} and conditions such as u < 0.5 ? … : …`;

/** What is wrong with it, before anything is known of the server; null: nothing. */
function expressionFault(text: string): string | null {
  const words: string[] = text.match(/[A-Za-z_$][\w$]*/g) ?? [];
  const unknown = words.find((word) => !known.has(word));
  if (unknown !== undefined) return `'${unknown}' is not known; it may hold ${allowedText}`;
  if (/["'[\];]/.test(text)) return `it may hold only ${allowedText}`;
  if (!words.includes('u')) return 'it does not depend on u, the utilisation';
  try {
    parse(text);
    return null;
  } catch (error) {
    return `it cannot be read: ${error instanceof Error ? error.message : String(error)}; it may hold ${allowedText}`;
  }
}

function powerCurveFault(curve: PowerCurve): string | null {
  const fault = curveFault(curve);
  if (fault !== null) return fault;
  const [first, last] = [curve[0]?.[0] ?? 0, curve.at(-1)?.[0] ?? 0];
  return first > 0.1 || last < 1 ? 'its points must reach from a utilisation of at most .1 to 1' : null;
}

/** Below this use it is not asked for; between the points it is asked at, steps are looked for by halving. */
const leastU = 0.001;
const grid = Array.from({ length: 400 }, (_, index) => leastU ** (1 - index / 399));

/**
 * Throws INVALID_CONFIG unless f is a positive finite number without jumps on [.001, 1]; gives what is odd and allowed:
 * where it is not convex, an optimum may be one of several.
 */
export function checkImpactFunction(f: ImpactFunction): string[] {
  const values = grid.map((u) => {
    const value = evaluate(f, u);
    if (!Number.isFinite(value) || value <= 0)
      throw refused(`f(${round(u)}) is ${Number.isFinite(value) ? round(value) : 'not a finite number'}`);
    return value;
  });
  for (let index = 1; index < grid.length; index++) {
    const at = jumpIn(f, grid[index - 1] ?? 0, grid[index] ?? 0);
    if (at !== null) throw refused(`f jumps at u = ${round(at)}`);
  }
  const dent = grid.findIndex((_, index) => index > 0 && index < grid.length - 1 && isDent(values, index));
  return dent < 0
    ? []
    : [
        `the impact function is not convex near u = ${round(grid[dent] ?? 0)}: it may have more than one best use`,
      ];
}

function evaluate(f: ImpactFunction, u: number): number {
  try {
    return f.perFullHour(u);
  } catch (error) {
    throw refused(
      `f(${round(u)}) cannot be evaluated: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

/** Halving goes to where it changes most; what is left after 40 halvings is a jump. */
function jumpIn(f: ImpactFunction, from: number, to: number): number | null {
  let [low, high] = [from, to];
  let [atLow, atHigh] = [evaluate(f, low), evaluate(f, high)];
  const scale = Math.max(Math.abs(atLow), Math.abs(atHigh));
  if (Math.abs(atHigh - atLow) < 1e-3 * scale) return null;
  for (let step = 0; step < 40; step++) {
    const middle = (low + high) / 2;
    const value = evaluate(f, middle);
    if (Math.abs(value - atLow) >= Math.abs(atHigh - value)) [high, atHigh] = [middle, value];
    else [low, atLow] = [middle, value];
  }
  return Math.abs(atHigh - atLow) > 1e-6 * scale ? low : null;
}

/** Above the straight line between its neighbours by more than rounding. */
function isDent(values: readonly number[], index: number): boolean {
  const [before, at, after] = [grid[index - 1] ?? 0, grid[index] ?? 0, grid[index + 1] ?? 0];
  const [left, value, right] = [values[index - 1] ?? 0, values[index] ?? 0, values[index + 1] ?? 0];
  const straight = left + ((right - left) * (at - before)) / (after - before);
  return value > straight * (1 + 1e-9);
}

/** argmin of f on (0, most], searched at 400 points, finer around the best of them. */
export function bestUse(f: ImpactFunction, most = 1): { utilisation: number; perFullHour: number } {
  const candidates = [...grid.filter((u) => u < most), most];
  const best = leastOf(f, candidates);
  const at = candidates.indexOf(best);
  const [low, high] = [candidates[at - 1] ?? best, candidates[at + 1] ?? best];
  const utilisation = leastOf(
    f,
    Array.from({ length: 201 }, (_, index) => low + ((high - low) * index) / 200).concat(best),
  );
  return { utilisation, perFullHour: f.perFullHour(utilisation) };
}

function leastOf(f: ImpactFunction, candidates: readonly number[]): number {
  return candidates.reduce((best, u) => (f.perFullHour(u) < f.perFullHour(best) ? u : best));
}

const round = (value: number) => Number(value.toPrecision(3));

function refused(message: string): CommonwattError {
  return new CommonwattError('INVALID_CONFIG', `energy.impactFunction: ${message}`, {
    where: 'energy.impactFunction',
    hint: 'f(u) must be positive, finite and without jumps for every u from .001 to 1; without the setting it is a + b / u',
  });
}
