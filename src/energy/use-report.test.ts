import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openDatabase } from '../storage/db.ts';
import type { Outcome } from './attribution.ts';
import { readIntervals, readLedger, type Scope } from './report-queries.ts';
import { book, headOf, type Interval, lineOf, modelOf, party } from './testing/booked.ts';
import { useReport } from './use-report.ts';

const [acme, globex, initech] = [party('acme'), party('globex'), party('initech')];
const [digits, secret] = [modelOf(acme, 'digits'), modelOf(initech, 'secret')];
const weights = { cpu: 9, memory: 1 };

async function reportOf(intervals: readonly Interval[], scope: Scope = 'all') {
  const db = await openDatabase(':memory:');
  try {
    const booked = [];
    for (const [at, interval] of intervals.entries())
      booked.push(await book(db, { id: `i${at}`, startMs: at * 10_000, ...interval }));
    const reading = await readLedger(db, { fromMs: 0, toMs: 3_600_000 });
    return { report: useReport(reading, await readIntervals(db, reading), weights, scope), booked };
  } finally {
    await db.destroy();
  }
}

/** 4 CPUs and 8 GB for 10 s; 8 CPU·s of requests: 3 of globex and 1 of initech on digits, of which it has 2 GB. */
const busy: Interval = {
  hostBusyS: 10,
  runners: [{ pid: 1, cpuS: 8 }],
  lines: [
    lineOf(headOf(globex, digits), ['a', 'b']),
    lineOf(headOf(globex, digits), ['c'], { outcome: 'failed' }),
    lineOf(headOf(initech, digits), ['d']),
  ],
  reservations: [
    { use: digits, memoryBytes: 2e9 },
    { use: secret, memoryBytes: 1e9 },
  ],
  memoryUsedBytes: 2.4e9,
};

describe('how well the supply was used', () => {
  it('is used ÷ supplied = used ÷ reserved · reserved ÷ supplied, the headline by what each resource weighs', async () => {
    const { report } = await reportOf([busy]);
    // 8 of 40 CPU·s; of the 2.4 of 8 GB that the runner holds, only digits was asked; 3 GB reserved; .9 · .2 + .1 · .25 = .205.
    expect(report.cpu).toEqual({ usedOverSupplied: 0.2, usedOverReserved: 0.2, reservedOverSupplied: 1 });
    expect(report.memory.usedOverSupplied).toBeCloseTo(0.25, 12);
    expect(report.memory.usedOverReserved).toBeCloseTo(2 / 3, 12);
    expect(report.memory.reservedOverSupplied).toBeCloseTo(0.375, 12);
    expect(report.headline).toBeCloseTo(0.205, 12);
  });

  it('leaves out of goodput what failed, and what was left by its caller', async () => {
    // Of four computations alike one failed: 6 of the 8 CPU·s were of use.
    const { report } = await reportOf([busy]);
    expect(report.goodput.partOfUsed).toBeCloseTo(0.75, 12);
    expect(report.goodput.usedOverSupplied).toBeCloseTo(0.15, 12);
    expect(report.tenants).toEqual([
      { tenant: 'globex', cpuOverSupplied: 0.15, goodputOverSupplied: 0.1, partOfUsed: 0.75 },
      { tenant: 'initech', cpuOverSupplied: 0.05, goodputOverSupplied: 0.05, partOfUsed: 0.25 },
    ]);
  });

  it('counts no memory as used while nobody asks, though the runner holds it', async () => {
    const { report } = await reportOf([{ ...busy, lines: [], hostBusyS: 0, runners: [{ pid: 1, cpuS: 0 }] }]);
    expect(report.memory).toMatchObject({ usedOverSupplied: 0, usedOverReserved: 0 });
    expect(report.memory.reservedOverSupplied).toBeCloseTo(0.375, 12);
  });

  it('of a model has its reserved share of the memory for that of the CPUs', async () => {
    const { report } = await reportOf([busy]);
    // 2 of 3 GB that are reserved are those of digits, and all of them stood ready for its requests.
    const [first, second] = report.models;
    expect(first?.model).toBe('acme/digits');
    expect(first?.cpu.usedOverSupplied).toBeCloseTo(0.2, 12);
    expect(first?.cpu.reservedOverSupplied).toBeCloseTo(2 / 3, 12);
    expect(first?.memory.reservedOverSupplied).toBeCloseTo(2 / 8, 12);
    expect(second).toMatchObject({ model: 'initech/secret', goodputOverSupplied: 0 });
    expect(second?.memory.usedOverSupplied).toBe(0);
    expect(second?.memory.reservedOverSupplied).toBeCloseTo(1 / 8, 12);
  });

  it('of each node is that of its intervals', async () => {
    const { report } = await reportOf([busy, { node: 'other', hostBusyS: 1 }]);
    const nodes = new Map(report.nodes.map(({ node, ...rest }) => [node, rest]));
    expect(nodes.get('node')?.cpu.usedOverSupplied).toBe(0.2);
    expect(nodes.get('other')).toMatchObject({ headline: 0, cpu: { usedOverSupplied: 0 } });
    expect(report.cpu.usedOverSupplied).toBe(0.1);
  });

  it('of accelerators is how long they were busy, ours at most as long as versions that use them computed', async () => {
    // Two devices for 10 s, busy 12 of 20 device·s; digits, which uses them, computed 4 of 10 s.
    const lines = [lineOf(headOf(globex, digits), ['a'], { computeNs: 4e9 })];
    const accelerator = { energyJ: 100, idleW: 0, users: ['id-digits:1'] };
    const seconds = { supplied: 20, busy: 12 };
    const accelerated = { ...busy, lines, accelerator: { ...accelerator, seconds } };
    const { report } = await reportOf([accelerated]);
    expect(report.accelerator).toEqual({
      usedOverSupplied: 0.2,
      usedOverReserved: 0.2,
      reservedOverSupplied: 1,
    });
    // In a second interval no version uses them: they are supplied, and what others compute there is not ours.
    const unused = { ...busy, accelerator: { energyJ: 100, idleW: 0, users: [], seconds } };
    expect((await reportOf([accelerated, unused])).report.accelerator).toEqual({
      usedOverSupplied: 0.1,
      usedOverReserved: 0.2,
      reservedOverSupplied: 0.5,
    });
    // A meter that tells joules only.
    expect((await reportOf([{ ...busy, accelerator }])).report.accelerator).toBeNull();
  });

  it('is not known where nothing was supplied', async () => {
    const { report } = await reportOf([]);
    expect(report).toMatchObject({
      headline: null,
      cpu: { usedOverSupplied: null },
      goodput: { usedOverSupplied: null, partOfUsed: null },
      nodes: [],
      models: [],
      tenants: [],
    });
  });

  it('shows an organisation its models and its own use, and nobody else’s models', async () => {
    const of = async (name: string) => (await reportOf([busy], { organisationId: `id-${name}` })).report;
    const seen = async (name: string) => {
      const { models, tenants } = await of(name);
      return [models.map(({ model }) => model), tenants.map(({ tenant }) => tenant)];
    };
    expect(await seen('acme')).toEqual([['acme/digits'], ['globex', 'initech']]);
    expect(await seen('globex')).toEqual([[], ['globex']]);
    expect(await seen('initech')).toEqual([['initech/secret'], ['initech']]);
  });
});

const outcomes: readonly (Outcome | undefined)[] = [undefined, 'aborted', 'failed'];
const line = fc.record({
  consumer: fc.constantFrom(acme, globex, initech),
  use: fc.constantFrom(digits, secret),
  kind: fc.constantFrom('inference' as const, 'explanation' as const, 'evaluation' as const),
  outcome: fc.constantFrom(...outcomes),
  count: fc.integer({ min: 1, max: 3 }),
  computeNs: fc.integer({ min: 1, max: 1e9 }),
});
const interval = fc.record({
  lines: fc.array(line, { maxLength: 4 }),
  runnerS: fc.double({ min: 0.01, max: 20, noNaN: true }),
  gatewayS: fc.double({ min: 0, max: 5, noNaN: true }),
  jobS: fc.double({ min: 0, max: 10, noNaN: true }),
  digitsBytes: fc.integer({ min: 1, max: 4e9 }),
  secretBytes: fc.integer({ min: 1, max: 3e9 }),
  node: fc.constantFrom('a', 'b'),
});

describe('the parts of a use report', () => {
  it('add up to the whole, over any intervals', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(interval, { minLength: 1, maxLength: 4 }), async (given) => {
        const intervals = given.map(
          ({ lines, runnerS, gatewayS, jobS, digitsBytes, secretBytes, node }, at) => ({
            node,
            hostBusyS: runnerS + gatewayS + jobS,
            gatewayCpuS: gatewayS,
            runners: [{ pid: 1, cpuS: runnerS }],
            lines: lines.map(({ consumer, use, kind, outcome, count, computeNs }, which) => {
              const ids = Array.from({ length: count }, (_, each) => `${at}-${which}-${each}`);
              return lineOf(headOf(consumer, use, kind), ids, { computeNs, ...(outcome ? { outcome } : {}) });
            }),
            jobs: [{ id: `job~${at}`, head: headOf(globex, null, 'training'), cpuS: jobS, memoryBytes: 1e9 }],
            reservations: [
              { use: digits, memoryBytes: digitsBytes },
              { use: secret, memoryBytes: secretBytes },
            ],
            memoryUsedBytes: digitsBytes,
          }),
        );
        const { report, booked } = await reportOf(intervals);
        const entries = booked.flatMap((each) => each.entries);
        const cpuOf = (isMeant: (entry: (typeof entries)[number]) => boolean) =>
          entries.filter(isMeant).reduce((sum, { ids, cpuS }) => sum + ids.length * cpuS, 0);
        const suppliedS = 40 * intervals.length;
        const useful = cpuOf(({ head, outcome }) => head !== null && outcome === 'finished');
        expect(report.goodput.usedOverSupplied).toBeCloseTo(useful / suppliedS, 9);
        expect(report.cpu.usedOverSupplied).toBeCloseTo(cpuOf(({ head }) => head !== null) / suppliedS, 9);
        for (const { cpu, memory } of [report, ...report.nodes, ...report.models])
          for (const { usedOverSupplied, usedOverReserved, reservedOverSupplied } of [cpu, memory])
            expect((usedOverReserved ?? 0) * (reservedOverSupplied ?? 0)).toBeCloseTo(
              usedOverSupplied ?? 0,
              9,
            );
        const sum = (values: readonly (number | null)[]) =>
          values.reduce<number>((all, value) => all + (value ?? 0), 0);
        const { tenants, models, nodes, goodput, cpu } = report;
        expect(sum(tenants.map((each) => each.cpuOverSupplied))).toBeCloseTo(cpu.usedOverSupplied ?? 0, 9);
        expect(sum(tenants.map((each) => each.goodputOverSupplied))).toBeCloseTo(
          goodput.usedOverSupplied ?? 0,
          9,
        );
        // A training is no model's.
        const jobsS = cpuOf(({ kind }) => kind === 'training');
        expect(sum(models.map((each) => each.cpu.usedOverSupplied)) + jobsS / suppliedS).toBeCloseTo(
          cpu.usedOverSupplied ?? 0,
          9,
        );
        const perNode = nodes.map(({ node, cpu: own }) => {
          const supplied = 40 * intervals.filter((each) => each.node === node).length;
          return ((own.usedOverSupplied ?? 0) * supplied) / suppliedS;
        });
        expect(sum(perNode)).toBeCloseTo(cpu.usedOverSupplied ?? 0, 9);
      }),
      { numRuns: 25 },
    );
  });
});
