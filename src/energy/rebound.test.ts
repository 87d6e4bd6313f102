import { describe, expect, it } from 'vitest';
import { inducedPart, reboundSettings } from './rebound.ts';

describe('demand that sharing caused', () => {
  it('is none unless it is declared', () => {
    expect(reboundSettings.parse(undefined)).toEqual({ everyone: 0, organisations: {} });
    expect(inducedPart(reboundSettings.parse({}), 'acme')).toBe(0);
  });

  it('is declared for everyone, or for single organisations, of which the others have the part of everyone', () => {
    expect(inducedPart(reboundSettings.parse(0.1), 'acme')).toBe(0.1);
    const declared = reboundSettings.parse({ everyone: 0.1, organisations: { acme: 0.5, globex: 0 } });
    const parts = ['acme', 'globex', 'initech', null].map((name) => inducedPart(declared, name));
    expect(parts).toEqual([0.5, 0, 0.1, 0.1]);
  });

  it('is that of everyone for an organisation with a name that objects have a member of', () => {
    const declared = reboundSettings.parse({ everyone: 0.2, organisations: { acme: 0.5 } });
    expect(inducedPart(declared, 'constructor')).toBe(0.2);
    expect(inducedPart(reboundSettings.parse({ organisations: { constructor: 0.3 } }), 'constructor')).toBe(
      0.3,
    );
  });

  it.each([
    1.1,
    -0.1,
    Number.NaN,
    true,
    [],
    [0.5],
    '',
    'much',
    null,
    { organisations: { acme: 2 } },
    { all: 0.1 },
  ])('is refused as %j: a part is a number from 0 to 1', (given) => {
    expect(reboundSettings.safeParse(given).success).toBe(false);
  });
});
