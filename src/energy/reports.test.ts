import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { configSchema } from '../config.ts';
import { type Db, openDatabase } from '../storage/db.ts';
import { attribute, type IntervalFacts, type LineHead } from './attribution.ts';
import { type Basis, ratesOf, readBasis } from './basis.ts';
import type { ModelUse, Party } from './energy.ts';
import { intervalRow } from './interval-row.ts';
import type { GroupBy } from './report-groups.ts';
import { checkWindow, impactReport, type ReportHost } from './reports.ts';
import { bookInterval } from './settlement.ts';

const acme: Party = { organisationId: 'o1', organisation: 'acme' };
const globex: Party = { organisationId: 'o2', organisation: 'globex' };
const initech: Party = { organisationId: 'o3', organisation: 'initech' };
const digits: ModelUse = { modelId: 'm1', model: 'acme/digits', version: 1, owner: acme };
const secret: ModelUse = { modelId: 'm2', model: 'initech/secret', version: 1, owner: initech };
const watts = { idleW: 10, maxW: 50, assumed: false };

function head(consumer: Party, use: ModelUse | null, kind: LineHead['kind'] = 'inference'): LineHead {
  return {
    kind,
    consumer,
    keyId: `key-of-${consumer.organisation}`,
    grantId: null,
    jobId: kind === 'training' ? 'job1' : null,
    use,
  };
}

let db: Db;
let basis: Basis;
let host: ReportHost;

/** Two intervals of 10 s: 4 CPUs, 1 busy all the time; requests of three organisations, one job. */
beforeAll(async () => {
  db = await openDatabase(join(mkdtempSync(join(tmpdir(), 'report-')), 'db'));
  const config = configSchema.parse({ energy: { zone: 'FRA', pue: 1.5, idleW: 10, maxW: 50, wueOnSite: 1 } });
  basis = await readBasis(config.energy, { cpuCount: 4, memoryBytes: 8e9 });
  host = {
    basis,
    idleW: 10,
    maxW: 50,
    cpuCount: 4,
    memoryBytes: 8e9,
    uncertainty: 0.37,
    quality: 'estimated',
    method: 'cpu-time',
    methodVersion: '1',
    memoryOfModels: { m1: 1e9, m2: 1e9 },
  };
  for (let index = 0; index < 2; index++) {
    const endMs = (index + 1) * 10_000;
    const line = (consumer: Party, use: ModelUse, suffix: string, kind: LineHead['kind'] = 'inference') => ({
      ids: [`${index}-${suffix}`],
      atMs: endMs - 9000,
      rows: 2,
      runnerPid: 1,
      computeNs: 1e6,
      head: head(consumer, use, kind),
    });
    const facts: IntervalFacts = {
      id: `i${index}`,
      startMs: index * 10_000,
      endMs,
      durationS: 10,
      energyJ: 200,
      idleW: 10,
      cpuCount: 4,
      memoryBytes: 8e9,
      hostBusyS: 10,
      gatewayCpuS: 1,
      housekeepingS: 0.05,
      runners: [{ pid: 1, cpuS: 3 }],
      lines: [
        line(globex, digits, 'a'),
        line(globex, digits, 'b'),
        line(acme, digits, 'c'),
        line(initech, secret, 'd'),
        { ...line(globex, digits, 'f'), runnerPid: 0, computeNs: 0, avoidedJ: 3.6 },
        { ...line(globex, digits, 'e', 'explanation'), ids: [`shared~i${index}`] },
      ],
      jobs: [{ id: `job1~i${index}`, head: head(acme, null, 'training'), cpuS: 2, memoryBytes: 1e9 }],
      reservations: [
        { use: digits, memoryBytes: 1e9 },
        { use: secret, memoryBytes: 1e9 },
      ],
      rates: ratesOf(basis, 10),
    };
    const metered = {
      facts,
      method: 'cpu-time',
      quality: 'estimated' as const,
      missing: null,
      memoryUsedBytes: 1e9,
    };
    const attribution = attribute(facts);
    const row = intervalRow(metered, attribution, { basis, watts, methodVersion: '1', node: 'node-1' });
    expect(await bookInterval(db, row, attribution.entries)).toBe(true);
  }
});

const window = { from: new Date(0), to: new Date(60_000) };

describe('an impact report', () => {
  it('splits the meter without a remainder', async () => {
    const { split, supply, consumption } = await impactReport(db, host, {
      ...window,
      groupBy: ['model'] as const,
      scope: 'all',
    });
    expect(split.meterWh).toBeCloseTo(400 / 3600, 12);
    expect(split.residualRatio).toBeLessThan(1e-9);
    const { requestsWh, jobsWh, idleWh, overheadWh, unattributedWh } = split;
    expect(requestsWh + jobsWh + idleWh + overheadWh + unattributedWh).toBeCloseTo(split.meterWh, 12);
    expect(consumption.energyWh).toBeCloseTo(split.meterWh, 12);
    expect(consumption.carbonGCo2e).toBeCloseTo((split.meterWh / 1000) * 1.5 * 44.18, 12);
    expect(supply).toMatchObject({ cpuSeconds: 80, memoryGbSeconds: 160 });
  });

  it('has groups that add up to the consumption, whatever they are grouped by', async () => {
    for (const groupBy of ['model', 'tenant', 'kind', 'version', 'key'] as const) {
      const { groups, consumption } = await impactReport(db, host, {
        ...window,
        groupBy: [groupBy],
        scope: 'all',
      });
      expect(groups.reduce((sum, { energyWh }) => sum + energyWh, 0)).toBeCloseTo(consumption.energyWh, 12);
      expect(groups.reduce((sum, { requests }) => sum + requests, 0)).toBeGreaterThanOrEqual(
        consumption.requests,
      );
    }
  });

  it('has a group for each of several things together, and for each day, hour or month', async () => {
    const report = (groupBy: GroupBy[]) => impactReport(db, host, { ...window, groupBy, scope: 'all' });
    const both = await report(['tenant', 'model']);
    expect(both.groups).toContainEqual(
      expect.objectContaining({
        key: 'globex · acme/digits',
        by: { tenant: 'globex', model: 'acme/digits' },
        requests: 7,
      }),
    );
    for (const [unit, label] of [
      ['hour', '1970-01-01T00:00Z'],
      ['day', '1970-01-01'],
      ['month', '1970-01'],
    ] as const) {
      const { groups, consumption } = await report([unit, 'kind']);
      expect(groups.map(({ key }) => key)).toContain(`${label} · training`);
      expect(groups.reduce((sum, { energyWh }) => sum + energyWh, 0)).toBeCloseTo(consumption.energyWh, 12);
    }
  });

  it('shows what was reserved beside what was used, and how requests differ', async () => {
    const { consumption, groups, split, unknown } = await impactReport(db, host, {
      ...window,
      groupBy: ['tenant'],
      scope: 'all',
    });
    const { allocated, waste, whPerRequest } = consumption;
    // Both bases add up to the meter; what neither requests nor jobs used is idle and overhead.
    expect(allocated?.energyWh).toBeCloseTo(split.meterWh, 12);
    expect(allocated?.carbonGCo2e).toBeCloseTo(consumption.carbonGCo2e, 12);
    expect(waste?.energyWh).toBeCloseTo(split.idleWh + split.overheadWh, 12);
    expect(groups.reduce((sum, group) => sum + (group.waste?.energyWh ?? NaN), 0)).toBeCloseTo(
      waste?.energyWh ?? NaN,
      12,
    );
    const joules = (
      await db.selectFrom('ledger_entries').where('kind', '=', 'inference').select('energy_j').execute()
    )
      .map(({ energy_j }) => energy_j)
      .sort((a, b) => a - b);
    const median = (joules[Math.floor((joules.length - 1) / 2)] ?? NaN) / 3600;
    expect(Math.abs((whPerRequest?.p50 ?? NaN) / median - 1)).toBeLessThan(0.01);
    expect(unknown.whPerRequest).toBeUndefined();
    expect(consumption.finished).toBe(consumption.requests);
  });

  it('says whether the energy per request of a model is to be trusted', async () => {
    const settling = { m1: { settled: true }, m2: { settled: false } };
    const query = { ...window, groupBy: ['model'] as const, scope: 'all' as const };
    const { groups } = await impactReport(db, { ...host, settling }, query);
    const settled = Object.fromEntries(groups.map((group) => [group.key, group.settled]));
    expect(settled).toMatchObject({ 'acme/digits': true, 'initech/secret': false, training: null });
  });

  it('says so whatever the model idled besides', async () => {
    const facts: IntervalFacts = {
      id: 'idle',
      startMs: 900_000,
      endMs: 910_000,
      durationS: 10,
      energyJ: 100,
      idleW: 10,
      cpuCount: 4,
      memoryBytes: 8e9,
      hostBusyS: 0,
      gatewayCpuS: 0,
      housekeepingS: 0,
      runners: [],
      lines: [],
      jobs: [],
      reservations: [{ use: digits, memoryBytes: 1e9 }],
      rates: ratesOf(basis, 10),
    };
    const metered = { facts, method: 'cpu-time', quality: 'estimated' as const, missing: null };
    const { entries } = attribute(facts);
    const row = intervalRow({ ...metered, memoryUsedBytes: 1e9 }, attribute(facts), {
      basis,
      watts,
      methodVersion: '1',
      node: 'node-1',
    });
    await bookInterval(db, row, entries);
    const query = {
      from: window.from,
      to: new Date(1e6),
      groupBy: ['model'] as const,
      scope: 'all' as const,
    };
    const { groups } = await impactReport(db, { ...host, settling: { m1: { settled: true } } }, query);
    const ofDigits = groups.find(({ key }) => key === 'acme/digits');
    expect(ofDigits).toMatchObject({ settled: true, requests: 9 });
  });

  it('prices the window with its own PUE, whatever is configured now', async () => {
    const basis = { ...host.basis, pue: { value: 3, assumed: false } };
    const query = { ...window, groupBy: ['kind'] as const, scope: 'all' as const };
    const { pue, sharing, notes } = await impactReport(db, { ...host, basis }, query);
    expect(notes.join()).toContain('the PUE was another in this window');
    expect(pue.value).toBeCloseTo(1.5, 9);
    expect(sharing.shared.carbonGCo2e).toBeCloseTo(
      (await impactReport(db, host, query)).sharing.shared.carbonGCo2e,
      9,
    );
  });

  it('counts an explanation that spans two intervals once', async () => {
    const { consumption } = await impactReport(db, host, {
      ...window,
      groupBy: ['kind'] as const,
      scope: 'all',
    });
    expect(consumption).toMatchObject({ requests: 11, jobs: 1 });
  });

  it('shows what reuse avoided apart from all that was used, to who may see it', async () => {
    const everything = { ...window, groupBy: ['kind'] as const };
    const { avoided, split } = await impactReport(db, host, { ...everything, scope: 'all' });
    expect(avoided).toMatchObject({ requests: 2, quality: 'estimated' });
    expect(avoided.energyWh).toBeCloseTo((2 * 3.6) / 3600, 12);
    expect(avoided.carbonGCo2e).toBeCloseTo((avoided.energyWh / 1000) * 1.5 * 44.18, 12);
    expect(split.residualRatio).toBeLessThan(1e-9);
    for (const [organisationId, requests] of [
      ['o1', 2],
      ['o2', 2],
      ['o3', 0],
    ] as const) {
      const scoped = await impactReport(db, host, { ...everything, scope: { organisationId } });
      expect(scoped.avoided.requests).toBe(requests);
    }
  });

  it('gives RUR as useful over supplied CPU seconds, and its place on the curve', async () => {
    const { rur, impact } = await impactReport(db, host, {
      ...window,
      groupBy: ['kind'] as const,
      scope: 'all',
    });
    // 3 of the runner, .95 of the gateway, 2 of the job in 40 CPU·s.
    expect(rur.cpu.usedOverSupplied).toBeCloseTo(5.95 / 40, 9);
    expect(rur.weights.cpu + rur.weights.memory).toBeCloseTo(1, 12);
    const { operatingPoint, atFullUtilisationGCo2e } = impact;
    expect(operatingPoint?.utilisation).toBeCloseTo(5.95 / 40, 9);
    expect(operatingPoint?.gCo2ePerRequest).toBeGreaterThan(atFullUtilisationGCo2e ?? Infinity);
  });

  it('compares with named baselines, and says when the difference cannot be told from 0', async () => {
    const { sharing } = await impactReport(db, host, { ...window, groupBy: ['kind'] as const, scope: 'all' });
    expect(sharing.baselines.map(({ id }) => id)).toEqual(['B0', 'B1', 'B2', 'B3', 'B4', 'B5']);
    expect(sharing.tenants).toBe(3);
    const headline = sharing.baselines.find(({ id }) => id === sharing.headlineBaseline);
    expect(headline?.savingGCo2e).toBe(sharing.savingGCo2e);
    expect(sharing.distinguishable).toBe(Number(sharing.low) > 0 || Number(sharing.high) < 0);
  });

  it('shows an organisation what it consumed or owns, and never another’s key', async () => {
    const query = { ...window, groupBy: ['key'] as const, scope: { organisationId: 'o1' } };
    const { groups, consumption } = await impactReport(db, host, query);
    const keys = groups.map(({ key }) => key);
    expect(keys).toContain('key-of-acme');
    expect(keys).toContain('globex');
    expect(JSON.stringify(groups)).not.toMatch(/key-of-globex|initech|secret/);
    expect(consumption.requests).toBe(9);
  });

  it('of a window without any interval says what is not known instead of 0', async () => {
    const query = {
      from: new Date(1e9),
      to: new Date(2e9),
      groupBy: ['model'] as const,
      scope: 'all' as const,
    };
    const { rur, impact, unknown, groups } = await impactReport(db, host, query);
    expect(rur.headline).toBeNull();
    expect(impact.perRequestWh).toBeNull();
    expect(unknown.rur).toBeDefined();
    expect(groups).toEqual([]);
  });

  it('refuses a window that ends before it begins', async () => {
    const query = { from: new Date(10), to: new Date(5), groupBy: ['model'] as const, scope: 'all' as const };
    expect(() => checkWindow(query)).toThrow(expect.objectContaining({ code: 'INVALID_REQUEST' }));
    const year = { from: new Date(0), to: new Date(366 * 24 * 3600e3), scope: 'all' as const };
    expect(() => checkWindow({ ...year, groupBy: ['day', 'hour'] })).toThrow(/all of time/);
    expect(() => checkWindow({ ...year, groupBy: ['hour'] })).toThrow(/more than 1000/);
    expect(() => checkWindow({ ...year, groupBy: ['day', 'model'] })).not.toThrow();
  });
});
