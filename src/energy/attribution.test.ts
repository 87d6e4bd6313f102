import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { useKey } from './allocation.ts';
import { type Amounts, attribute, type Entry, type IntervalFacts, type LineHead } from './attribution.ts';
import type { ModelUse } from './energy.ts';
import { residualRatio } from './residual.ts';

const acme = { organisationId: 'o1', organisation: 'acme' };
const globex = { organisationId: 'o2', organisation: 'globex' };
const digits: ModelUse = { modelId: 'm1', model: 'acme/digits', version: 1, owner: acme };
const letters: ModelUse = { modelId: 'm2', model: 'acme/letters', version: 3, owner: acme };

function head(use: ModelUse | null, kind: LineHead['kind'] = 'inference'): LineHead {
  return { kind, consumer: globex, keyId: 'k1', grantId: 'g1', jobId: null, use };
}

const base: IntervalFacts = {
  id: 'i1',
  startMs: 0,
  endMs: 1000,
  durationS: 1,
  energyJ: 30,
  idleW: 10,
  cpuCount: 4,
  memoryBytes: 1000,
  hostBusyS: 2,
  gatewayCpuS: 0.105,
  housekeepingS: 0.005,
  runners: [{ pid: 7, cpuS: 0.9 }],
  lines: [
    { ids: ['r1'], atMs: 100, rows: 1, runnerPid: 7, computeNs: 100, head: head(digits) },
    { ids: ['r2'], atMs: 200, rows: 2, runnerPid: 7, computeNs: 200, head: head(digits) },
  ],
  jobs: [{ id: 'j1', head: head(null, 'training'), cpuS: 0.5, memoryBytes: 100 }],
  reservations: [
    { use: digits, memoryBytes: 200 },
    { use: letters, memoryBytes: 50 },
  ],
  rates: { pue: 1.2, gPerKwh: 400, litresPerKwh: 5.4, embodiedG: 0.008 },
};
const find = (entries: readonly Entry[], id: string) => {
  const entry = entries.find(({ ids }) => ids.includes(id));
  if (!entry) throw new Error(`no entry ${id}`);
  return entry;
};

describe('giving energy to work', () => {
  /**
   * The worked example of docs/accounting.md: 30 J in 1 s, 10 W idle → 10 J idle, 20 J dynamic over 2 busy CPU·s:
   * 10 J per CPU·s.
   */
  const { entries, joulesPerCpuS, usefulCpuS } = attribute(base);

  it('splits dynamic energy by CPU time: the runner by computing time, the gateway evenly beyond housekeeping', () => {
    expect(joulesPerCpuS).toBe(10);
    const [first, second] = [find(entries, 'r1'), find(entries, 'r2')];
    // .9 CPU·s of the runner 1 : 2, and half of the gateway's .105 − .005.
    expect(first.cpuS).toBeCloseTo(0.3 + 0.05, 12);
    expect(second.cpuS).toBeCloseTo(0.6 + 0.05, 12);
    expect(first.energyJ - first.idleShareJ).toBeCloseTo(3.5, 12);
    expect(find(entries, 'i1:overhead:gateway').energyJ).toBeCloseTo(0.05, 12);
    expect(find(entries, 'i1:overhead:other processes').cpuS).toBeCloseTo(2 - 0.105 - 0.9 - 0.5, 12);
  });

  it('gives idle energy by reserved memory: to requests, to a job, to what merely stood ready', () => {
    // digits hold .2 of the memory: 2 J, shared 1 : 2; letters .05 without a request; the job .1.
    expect(find(entries, 'r1').idleShareJ).toBeCloseTo(2 / 3, 12);
    expect(find(entries, 'r2').idleShareJ).toBeCloseTo(4 / 3, 12);
    expect(find(entries, 'i1:idle:ready:m2:3').energyJ).toBeCloseTo(0.5, 12);
    expect(find(entries, 'j1')).toMatchObject({ idleShareJ: 1, energyJ: 6 });
    expect(find(entries, 'i1:idle:platform').energyJ).toBeCloseTo(6.5, 9);
  });

  it('gives embodied carbon by CPU capacity: .5 of 4 CPU·s is an eighth', () => {
    expect(find(entries, 'j1').embodiedG).toBeCloseTo(0.001, 12);
  });

  it('counts the CPU time of requests and jobs as useful, and nothing else', () => {
    expect(usefulCpuS).toBeCloseTo(0.35 + 0.65 + 0.5, 12);
  });

  it('gives callers that are alike in one batch the same as if each had a line of its own', () => {
    const line = { atMs: 100, rows: 1, runnerPid: 7, computeNs: 100, head: head(digits) };
    const together = attribute({ ...base, lines: [{ ...line, ids: ['a', 'b', 'c'] }] });
    const apart = attribute({ ...base, lines: ['a', 'b', 'c'].map((id) => ({ ...line, ids: [id] })) });
    expect(find(together.entries, 'b').energyJ).toBeCloseTo(find(apart.entries, 'b').energyJ, 12);
    expect(together.usefulCpuS).toBeCloseTo(apart.usefulCpuS, 12);
    expect(find(together.entries, 'i1:idle:platform').energyJ).toBeCloseTo(
      find(apart.entries, 'i1:idle:platform').energyJ,
      12,
    );
  });

  it('leaves water unknown where it is unknown', () => {
    const dry = attribute({ ...base, rates: { ...base.rates, litresPerKwh: null } });
    expect(dry.entries.every(({ waterL }) => waterL === null)).toBe(true);
    expect(dry.total.waterL).toBeNull();
  });

  it('charges a request for at most a second of readiness before it', () => {
    const late = attribute({ ...base, startMs: -29_000, durationS: 30, energyJ: 320 });
    // Of 300 J idle, digits hold 60 J for 30 s; the first request came at .1 s before the last .9 s.
    const requests = find(late.entries, 'r1').idleShareJ + find(late.entries, 'r2').idleShareJ;
    expect(requests).toBeCloseTo((60 * 1.9) / 30, 9);
    expect(find(late.entries, 'i1:idle:ready:m1:1').energyJ).toBeCloseTo((60 * 28.1) / 30, 9);
  });
});

describe('what was reserved', () => {
  it('gives all idle energy of a deployment to its requests, and everything else to those who have something', () => {
    // 30 J, 10 of them idle. Digits alone hold .2 of the memory and are asked once for 3.5 J dynamic.
    const [line] = base.lines;
    const facts: IntervalFacts = {
      ...base,
      gatewayCpuS: 0,
      housekeepingS: 0,
      runners: [{ pid: 7, cpuS: 0.35 }],
      lines: line ? [{ ...line, atMs: 900 }] : [],
      jobs: [],
      reservations: [{ use: digits, memoryBytes: 200 }],
    };
    const alone = attribute(facts);
    expect(find(alone.entries, 'r1').allocated.energyJ).toBeCloseTo(30, 12);
    // With letters, which hold .05 and are not asked: 3.5 + 2 J to .5 J so far, of 30.
    const beside = attribute({ ...facts, reservations: base.reservations });
    expect(find(beside.entries, 'r1').allocated.energyJ).toBeCloseTo((30 * 5.5) / 6, 12);
    const ready = find(beside.entries, 'i1:idle:ready:m2:3');
    expect(ready.allocated.energyJ).toBeCloseTo((30 * 0.5) / 6, 12);
    // Hardware by reserved memory, .2 to .05.
    expect(ready.allocated.embodiedG).toBeCloseTo(0.008 / 5, 15);
    expect(find(beside.entries, 'i1:idle:platform').allocated).toEqual({
      energyJ: 0,
      carbonG: 0,
      embodiedG: 0,
    });
    // The waste: what was allocated and not used. Over all entries it is 0: somebody pays for everything.
    expect(ready.allocated.energyJ - ready.energyJ).toBeCloseTo(2, 12);
  });

  it('leaves everything with the platform when nobody reserved anything and nothing ran', () => {
    const quiet = { ...base, gatewayCpuS: 0.005, lines: [], jobs: [], reservations: [], runners: [] };
    const { entries } = attribute(quiet);
    expect(find(entries, 'i1:idle:platform').allocated.energyJ).toBe(30);
    expect(find(entries, 'i1:overhead:gateway').allocated.energyJ).toBe(0);
  });
});

describe('accelerators', () => {
  // 12 of the 30 J are an accelerator's, 2 of them idle: 10 J dynamic, that digits caused.
  const accelerator = { energyJ: 12, idleW: 2, users: [useKey(digits)] };
  const other = { ids: ['cpu'], atMs: 300, rows: 1, runnerPid: 7, computeNs: 900, head: head(letters) };
  const facts = { ...base, idleW: 8, accelerator, lines: [...base.lines, other] };

  it('gives what they draw to who computed with them, by computing time, and to nobody else', () => {
    const { entries, acceleratorJPerS, joulesPerCpuS } = attribute(facts);
    // The host without it: 18 − 8 J over 2 busy CPU·s.
    expect(joulesPerCpuS).toBe(5);
    const [first, second] = [find(entries, 'r1'), find(entries, 'r2')];
    expect(first.energyJ - first.idleShareJ - first.cpuS * 5).toBeCloseTo(10 / 3, 12);
    expect(second.energyJ - second.idleShareJ - second.cpuS * 5).toBeCloseTo(20 / 3, 12);
    const bystander = find(entries, 'cpu');
    expect(bystander.energyJ - bystander.idleShareJ - bystander.cpuS * 5).toBeCloseTo(0, 12);
    expect(acceleratorJPerS).toBeCloseTo(10 / 300e-9, 3);
  });

  it('gives it to nobody when no version may compute with them: something else did', () => {
    const { entries } = attribute({ ...facts, accelerator: { ...accelerator, users: [] } });
    expect(find(entries, 'i1:overhead:accelerators')).toMatchObject({ cpuS: 0, energyJ: 10 });
  });

  it('books them apart when none of those who use them computed anything', () => {
    const { entries } = attribute({ ...facts, lines: [other] });
    expect(find(entries, 'i1:overhead:accelerators')).toMatchObject({ cpuS: 0, energyJ: 10 });
  });
});

describe('other work of the gateway', () => {
  it('lets a request beside an import carry what requests carry otherwise, and the import the rest', () => {
    // .6 CPU·s in a second with an import and two requests, of which one was computed meanwhile; learnt: 1 ms each.
    const facts = {
      ...base,
      gatewayCpuS: 0.605,
      otherWork: { cpuS: 0.5, requests: 1, cpuSPerRequest: 0.001 },
      helpers: [{ note: 'imports', cpuS: 0.2 }],
    };
    const { entries, gatewayCpuSPerRequest } = attribute(facts);
    expect(find(entries, 'i1:overhead:gateway: other work').cpuS).toBeCloseTo(0.499, 12);
    expect(gatewayCpuSPerRequest).toBeCloseTo((0.6 - 0.499) / 2, 12);
    expect(find(entries, 'i1:overhead:imports').cpuS).toBe(0.2);
    expect(find(entries, 'i1:overhead:gateway').cpuS).toBeCloseTo(0.005, 12);
  });

  it('is not made up: with none, requests carry all that they caused', () => {
    const { entries } = attribute(base);
    expect(entries.some(({ note }) => note === 'gateway: other work')).toBe(false);
    const idle = { ...base, lines: [], otherWork: { cpuS: 0.08, requests: 0, cpuSPerRequest: 0.001 } };
    const quiet = attribute(idle).entries;
    expect(find(quiet, 'i1:overhead:gateway: other work').cpuS).toBeCloseTo(0.08, 12);
    expect(find(quiet, 'i1:overhead:gateway').cpuS).toBeCloseTo(0.025, 12);
  });
});

describe('a runner that does more than answer', () => {
  it('has what it used to load models, or for what it has not finished, as its own overhead', () => {
    // Of its .9 CPU·s it computed 300 ns for lines and was at something else for 600.
    const { entries, computingCpuS } = attribute({
      ...base,
      runners: [{ pid: 7, cpuS: 0.9, unbookedNs: 600 }],
    });
    expect(find(entries, 'i1:overhead:runners').cpuS).toBeCloseTo(0.6, 12);
    expect(find(entries, 'r2').cpuS).toBeCloseTo(0.2 + 0.05, 12);
    expect(computingCpuS).toBeCloseTo(0.3, 12);
  });
});

describe('how a line came about', () => {
  it('says who computed it, alone or with others, and what became of it', () => {
    const [line] = base.lines;
    if (!line) throw new Error('no line');
    const { entries } = attribute({
      ...base,
      lines: [
        { ...line, ids: ['alone'] },
        { ...line, ids: ['left', 'gone'], shared: true, outcome: 'aborted' },
        { ...line, ids: ['kept'], runnerPid: 0, computeNs: 0, outcome: 'cached' },
      ],
    });
    const told = ['alone', 'left', 'kept', 'j1', 'i1:idle:platform'].map((id) => {
      const { attributionMethod, outcome, runnerPid } = find(entries, id);
      return [attributionMethod, outcome, runnerPid];
    });
    expect(told).toEqual([
      ['direct', 'finished', 7],
      ['shared step', 'aborted', 7],
      ['proportional', 'cached', null],
      ['direct', 'finished', null],
      ['proportional', 'finished', null],
    ]);
  });

  it('books what was aborted or failed in full: what is computed is computed', () => {
    const failed = attribute({
      ...base,
      lines: base.lines.map((line) => ({ ...line, outcome: 'failed' as const })),
    });
    const finished = attribute(base);
    expect(find(failed.entries, 'r2').energyJ).toBe(find(finished.entries, 'r2').energyJ);
  });
});

describe('conservation', () => {
  const amount = fc.oneof(fc.constant(0), fc.double({ min: 1e-6, max: 1e3, noNaN: true }));
  const schedule = fc.record({
    durationS: fc.double({ min: 1e-3, max: 60, noNaN: true }),
    energyJ: fc.oneof(fc.constant(0), fc.double({ min: 1e-6, max: 1e5, noNaN: true })),
    idleW: fc.oneof(fc.constant(0), fc.double({ min: 1e-3, max: 500, noNaN: true })),
    cpuCount: fc.integer({ min: 1, max: 128 }),
    memoryBytes: fc.integer({ min: 1, max: 1e12 }),
    hostBusyS: amount,
    gatewayCpuS: amount,
    housekeepingS: amount,
    otherWork: fc.record({ cpuS: amount, requests: fc.integer({ min: 0, max: 50 }), cpuSPerRequest: amount }),
    helpers: fc.array(fc.record({ note: fc.constant('imports'), cpuS: amount }), { maxLength: 1 }),
    accelerator: fc.record({
      energyJ: fc.oneof(fc.constant(0), fc.double({ min: 1e-6, max: 2e5, noNaN: true })),
      idleW: fc.oneof(fc.constant(0), fc.double({ min: 1e-3, max: 500, noNaN: true })),
      users: fc.subarray([useKey(digits), useKey(letters)]),
    }),
    runners: fc.uniqueArray(
      fc.record({ pid: fc.integer({ min: 1, max: 6 }), cpuS: amount, unbookedNs: amount }),
      {
        selector: ({ pid }) => pid,
      },
    ),
    lines: fc.array(
      fc.record({
        atMs: fc.integer({ min: -5000, max: 6000 }),
        count: fc.integer({ min: 1, max: 40 }),
        rows: fc.integer({ min: 0, max: 128 }),
        runnerPid: fc.integer({ min: 1, max: 6 }),
        computeNs: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 1e9 })),
        use: fc.constantFrom(digits, letters),
        shared: fc.boolean(),
        outcome: fc.constantFrom('finished', 'aborted', 'failed', 'cached'),
      }),
    ),
    jobs: fc.array(fc.record({ cpuS: amount, memoryBytes: fc.integer({ min: 0, max: 1e12 }) }), {
      maxLength: 4,
    }),
    reservations: fc.array(
      fc.record({ use: fc.constantFrom(digits, letters), memoryBytes: fc.integer({ min: 0, max: 1e12 }) }),
      { maxLength: 4 },
    ),
    rates: fc.record({
      pue: fc.double({ min: 1, max: 3, noNaN: true }),
      gPerKwh: fc.double({ min: 1, max: 1500, noNaN: true }),
      litresPerKwh: fc.oneof(
        fc.constant(null),
        fc.constant(0),
        fc.double({ min: 1e-3, max: 20, noNaN: true }),
      ),
      embodiedG: fc.double({ min: 1e-9, max: 100, noNaN: true }),
    }),
  });

  it('holds to 1e-9 for energy, idle, carbon, embodied and water, used and allocated, whatever ran', () => {
    fc.assert(
      fc.property(schedule, ({ lines, jobs, ...rest }) => {
        const facts: IntervalFacts = {
          id: 'i',
          startMs: 0,
          endMs: 1000,
          ...rest,
          lines: lines.map(({ use, count, ...line }, index) => ({
            ids: Array.from({ length: count }, (_, n) => `r${index}.${n}`),
            head: head(use),
            ...line,
          })),
          jobs: jobs.map((job, index) => ({ id: `j${index}`, head: head(null, 'training'), ...job })),
        };
        const { entries, total, usefulCpuS, otherCpuS } = attribute(facts);
        const sum = (pick: (amounts: Amounts) => number) =>
          entries.reduce((all, entry) => all + entry.ids.length * pick(entry), 0);
        const same = (pick: (amounts: Amounts) => number) =>
          expect(Math.abs(sum(pick) - pick(total))).toBeLessThanOrEqual(1e-9 * pick(total));
        same(({ energyJ }) => energyJ);
        same(({ idleShareJ }) => idleShareJ);
        same(({ carbonG }) => carbonG);
        same(({ embodiedG }) => embodiedG);
        same(({ waterL }) => waterL ?? 0);
        same(({ cpuS }) => cpuS);
        const totals = {
          energy_j: total.energyJ,
          carbon_g: total.carbonG,
          embodied_g: total.embodiedG,
          water_l: total.waterL,
        };
        expect(residualRatio(entries, totals)).toBeLessThanOrEqual(1e-9);
        for (const { allocated } of entries)
          for (const figure of Object.values(allocated)) expect(figure).toBeGreaterThanOrEqual(0);
        expect(usefulCpuS + otherCpuS).toBeCloseTo(total.cpuS, 6);
        for (const entry of entries) {
          expect(entry.energyJ).toBeGreaterThanOrEqual(0);
          expect(entry.energyJ).toBeGreaterThanOrEqual(entry.idleShareJ - 1e-9 * total.energyJ);
        }
        const ids = entries.flatMap((entry) => entry.ids);
        expect(new Set(ids).size).toBe(ids.length);
        // Work that ended inside the interval has its entry.
        expect(entries.filter(({ kind }) => kind === 'inference').length).toBe(lines.length);
      }),
      { numRuns: 300, endOnFailure: true },
    );
  });
});
