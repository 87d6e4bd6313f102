import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  bestUse,
  checkImpactFunction,
  type ImpactFunctionSettings,
  impactFunction,
  impactFunctionSettings,
} from './impact-function.ts';

/** The server of docs/accounting.md: a = 2707.2, b = 823.62 g/h. */
const server = { idleW: 1160, maxW: 6800, pue: 1.2, intensity: 400, embodiedGPerH: 266.82 };
const checked = (settings: unknown) => {
  const f = impactFunction(impactFunctionSettings.parse(settings), server);
  return { f, warnings: checkImpactFunction(f) };
};

describe('the impact function', () => {
  it('is a + b/u when nobody chose another, also as an expression and as a curve of two points', () => {
    const straight = checked(null).f;
    expect(straight.perFullHour(0.2)).toBeCloseTo(2707.2 + 823.62 / 0.2, 6);
    const same: ImpactFunctionSettings[] = [
      { expression: 'a + b/u' },
      { expression: '(pue * gPerKwh / 1000 * (idleW + (maxW - idleW) * u) + embodiedGPerH) / u' },
      {
        curve: [
          [0, 1160],
          [1, 6800],
        ],
      },
    ];
    fc.assert(
      fc.property(fc.double({ min: 0.001, max: 1, noNaN: true }), fc.constantFrom(...same), (u, settings) => {
        expect(impactFunction(settings, server).perFullHour(u) / straight.perFullHour(u)).toBeCloseTo(1, 9);
      }),
    );
  });

  it('has its best use below 1 where the last watts are dear: the example of commonwatt calc operating-point', () => {
    const { f } = checked({
      curve: [
        [0, 1160],
        [0.25, 2000],
        [0.7, 3000],
        [1, 6800],
      ],
    });
    const best = bestUse(f);
    expect(best.utilisation).toBeCloseTo(0.7, 4);
    // (1.2 · .4 · 3000 + 266.82) / .7
    expect(best.perFullHour).toBeCloseTo((0.48 * 3000 + 266.82) / 0.7, 0);
    expect(bestUse(f, 0.5).utilisation).toBeCloseTo(0.5, 9);
    expect(bestUse(checked(null).f).utilisation).toBe(1);
  });

  it('finds the minimum of a smooth function: b/u + a·u² is least at (b/2a)^⅓', () => {
    const { f } = checked({ expression: 'b/u + a*u^2' });
    expect(bestUse(f).utilisation).toBeCloseTo(Math.cbrt(823.62 / (2 * 2707.2)), 3);
  });

  it('may bend, and says so; a condition is allowed where both sides meet', () => {
    expect(checked({ expression: 'u < 0.5 ? 2*a - 2*a*u : a' }).warnings).toEqual([]);
    expect(checked({ expression: '2*a - a*u^2' }).warnings[0]).toMatch(/not convex/);
  });

  it.each([
    ['a + b', /does not depend on u/],
    ['a + c/u', /'c' is not known/],
    ['a + u/', /cannot be read/],
    ['u; 3', /may hold only/],
    ['u["constructor"]', /'constructor' is not known/],
    ['u.a', /member access/],
    ['constructor(u)', /'constructor' is not known/],
    ['u = 2', /cannot be read/],
    ['fac(u)', /'fac' is not known/],
    ['random() * u', /'random' is not known/],
  ])('refuses %s while the configuration is read', (expression, why) => {
    const parsed = impactFunctionSettings.safeParse({ expression });
    const text = parsed.success ? tryCheck({ expression }) : JSON.stringify(parsed.error.issues);
    expect(text).toMatch(why);
  });

  it('refuses a text of more than 500 characters', () => {
    expect(impactFunctionSettings.safeParse({ expression: `u${'+u'.repeat(300)}` }).success).toBe(false);
  });

  it.each([
    ['a*u - b', /f\(0\.001\) is -/],
    ['a/(u - 0.5)^2 * 0 + 1/(u-u)', /not a finite number/],
    ['u < 0.3 ? 2*a : a', /jumps at u = 0\.3/],
  ])('refuses %s at the start of the server', (expression, why) => {
    expect(tryCheck({ expression })).toMatch(why);
  });

  it.each([
    [[[0, 10]], /two points/],
    [
      [
        [0, 10],
        [0.8, 20],
      ],
      /reach from/,
    ],
    [
      [
        [0, 20],
        [1, 10],
      ],
      /less than/,
    ],
  ])('refuses the curve %j', (curve, why) => {
    const parsed = impactFunctionSettings.safeParse({ curve });
    expect(JSON.stringify(parsed.error?.issues)).toMatch(why);
  });
});

function tryCheck(settings: unknown): string {
  try {
    checked(settings);
    return 'accepted';
  } catch (error) {
    return String(error);
  }
}
