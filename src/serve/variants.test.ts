import { describe, expect, it, vi } from 'vitest';
import type { ServedVersion } from './serve.ts';
import { defaultSettings } from './settings.ts';
import { checkGreener, type Greener, Variants } from './variants.ts';

const tensor = (name: string, width: number) => ({ name, datatype: 'FP32' as const, shape: [-1, width] });
const signature = (inputs: number) => ({ inputs: [tensor('input', inputs)], outputs: [tensor('output', 1)] });

function served(id: string, inputs = 4, greener: Greener[] = []): ServedVersion {
  return {
    deploymentId: id,
    modelId: id.split(':')[0] ?? '',
    versionId: id,
    version: Number(id.split(':')[1]),
    signature: signature(inputs),
    settings: { ...defaultSettings, greener },
    deterministic: true,
  };
}

const all = new Map(
  [served('acme/digits:1'), served('acme/small:3'), served('acme/tiny:1'), served('acme/other:1', 9)].map(
    (one) => [one.deploymentId, one],
  ),
);
const find = (name: string) => all.get(name);

describe('in dirty hours', () => {
  const asked = served('acme/digits:2', 4, [
    { use: 'acme/small:3', aboveGPerKwh: 300 },
    { use: 'acme/tiny:1', aboveGPerKwh: 500 },
  ]);

  function at(...intensities: (number | null)[]) {
    vi.useFakeTimers({ toFake: ['performance'] });
    let now: number | null = null;
    const variants = new Variants({ intensity: () => now, find });
    const names = intensities.map((intensity) => {
      now = intensity;
      vi.advanceTimersByTime(6000);
      return variants.of(asked)?.name;
    });
    vi.useRealTimers();
    return names;
  }

  it('the variant with the highest limit that is exceeded answers', () => {
    expect(at(100, 301, 501, 2000)).toEqual([undefined, 'acme/small:3', 'acme/tiny:1', 'acme/tiny:1']);
  });

  it('it goes on until the grid is 5 % cleaner than the limit: no limit is crossed with every wobble', () => {
    expect(at(299, 301, 299, 286, 284, 299, 301)).toEqual([
      undefined,
      'acme/small:3',
      'acme/small:3',
      'acme/small:3',
      undefined,
      undefined,
      'acme/small:3',
    ]);
  });

  it('nobody is given another model where the grid is not known', () => {
    expect(at(null, 900, null)).toEqual([undefined, 'acme/tiny:1', undefined]);
  });

  it('one that is gone, or has other tensors, answers nobody', () => {
    const intensity = () => 900;
    const gone = served('acme/digits:2', 4, [{ use: 'acme/gone:1', aboveGPerKwh: 0 }]);
    expect(new Variants({ intensity, find }).of(gone)).toBeUndefined();
    const other = served('acme/digits:2', 4, [{ use: 'acme/other:1', aboveGPerKwh: 0 }]);
    expect(new Variants({ intensity, find }).of(other)).toBeUndefined();
  });
});

describe('a deployment with a variant', () => {
  it.each([
    ['acme/gone:1', 'is not deployed'],
    ['acme/other:1', 'has other inputs and outputs'],
    ['acme/digits:2', 'is the deployment itself'],
  ])('%s is refused: it %s', (use, why) => {
    const asked = { name: 'acme/digits:2', signature: signature(4) };
    const check = () => checkGreener([{ use, aboveGPerKwh: 1 }], asked, find);
    expect(check).toThrow(
      expect.objectContaining({ where: 'settings.greener.0.use', code: 'INVALID_REQUEST' }),
    );
    expect(check).toThrow(why);
  });
});
