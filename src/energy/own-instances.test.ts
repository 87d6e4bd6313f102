import { describe, expect, it } from 'vitest';
import { alone, type ServingInterval, servingModel } from './own-instances.ts';

/** A second costs .02 CPU·s when there are requests, and .001 for each; 30 quiet seconds cost .03. */
function interval(requests: Record<string, number>): ServingInterval {
  const count = Object.values(requests).reduce((sum, each) => sum + each, 0);
  const servingS = 0.001 + 0.02 + 0.001 * count;
  return {
    durationS: 1,
    servingS,
    tenants: new Map(
      Object.entries(requests).map(([id, each]) => [id, { requests: each, cpuS: (servingS * each) / count }]),
    ),
  };
}

const quiet: ServingInterval = { durationS: 30, servingS: 0.03, tenants: new Map() };
const busy = Array.from({ length: 20 }, (_, index) => interval({ a: 10 + index, b: 5 + (index % 3) }));

describe('what own instances would use', () => {
  it('finds what a quiet second, a second with requests and a request cost', () => {
    const model = servingModel([...busy, quiet]);
    expect(model?.standing).toBeCloseTo(0.001, 9);
    expect(model?.perActiveS).toBeCloseTo(0.02, 9);
    expect(model?.perRequestS).toBeCloseTo(0.001, 9);
    // What is exactly so is known to the 10 % by which the same work differs from time to time.
    expect(model?.spread).toBeCloseTo(0.1, 6);
  });

  it('gives who is alone the whole second, and only its own requests', () => {
    const model = servingModel([...busy, quiet]);
    if (!model) throw new Error('no model');
    const booked = busy.reduce((sum, { tenants }) => sum + (tenants.get('b')?.cpuS ?? 0), 0);
    const requests = busy.reduce((sum, { tenants }) => sum + (tenants.get('b')?.requests ?? 0), 0);
    expect(alone(model, busy, 'b') * booked).toBeCloseTo(20 * 0.02 + 0.001 * requests, 9);
    expect(alone(model, busy, 'b')).toBeGreaterThan(1);
    expect(alone(model, busy, 'nobody')).toBe(1);
  });

  it('sees nothing to share in an only organisation: it pays the same alone', () => {
    const only = Array.from({ length: 20 }, (_, index) => interval({ a: 10 + index }));
    const model = servingModel([...only, quiet]);
    if (!model) throw new Error('no model');
    const served = only.reduce((sum, { servingS }) => sum + servingS, 0);
    // The standing .001 a second is no request's, and comes back with the time that an instance is on.
    expect(alone(model, only, 'a')).toBeCloseTo((served - 20 * 0.001) / served, 9);
  });

  it('is less sure where quiet seconds cost other than the busy ones foretell', () => {
    const bent = Array.from({ length: 20 }, (_, index) => {
      const plain = interval({ a: 1 + index });
      return { ...plain, servingS: 0.01 * Math.sqrt(1 + index) };
    });
    const [straightSpread, bentSpread] = [servingModel(busy)?.spread ?? 0, servingModel(bent)?.spread ?? 0];
    expect(bentSpread).toBeGreaterThan(straightSpread);
  });

  it('says nothing after fewer than 8 seconds with requests', () => {
    expect(servingModel([...busy.slice(0, 7), quiet])).toBeNull();
  });
});
