/**
 * Two days of a made-up platform with a grid that changes by the hour: three organisations, a training, a model that
 * stands ready. Attributed and booked as the product does it.
 */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { configSchema } from '../../../config.ts';
import { type Db, openDatabase } from '../../../storage/db.ts';
import { attribute, type Entry, type IntervalFacts, type LineHead } from '../../attribution.ts';
import { type Basis, basisOver, ratesOf, readBasis } from '../../basis.ts';
import type { ModelUse, Party } from '../../energy.ts';
import type { GridSignal } from '../../grid.ts';
import { intervalRow } from '../../interval-row.ts';
import { impactReport, type ReportHost } from '../../reports.ts';
import { bookInterval, type IntervalRow } from '../../settlement.ts';
import { Exports } from '../exports.ts';

export const acme: Party = { organisationId: 'o1', organisation: 'acme' };
export const globex: Party = { organisationId: 'o2', organisation: 'globex' };
const digits: ModelUse = { modelId: 'm1', model: 'acme/digits', version: 1, owner: acme };
export const startMs = Date.UTC(2030, 0, 30);
const hourMs = 3_600_000;
export const window = { fromMs: startMs, toMs: startMs + 48 * hourMs };
export const job = { id: 'job1', startedMs: startMs + 2 * hourMs, finishedMs: startMs + 3 * hourMs };

const size = { cpuCount: 4, memoryBytes: 8e9 };
const { energy } = configSchema.parse({ energy: { zone: 'DEU', pue: 1.4, idleW: 10, maxW: 50 } });

export interface Month {
  db: Db;
  basis: Basis;
  exports: Exports;
  booked: { row: IntervalRow; entries: Entry[] }[];
}

/** g/kWh: low by night, high by day. */
const gPerKwhAt = (ms: number) => 300 - 200 * Math.cos((Math.floor(ms / hourMs) % 24) * (Math.PI / 12));

export async function makeMonth(given?: Db, now = new Date(startMs + 60 * hourMs)): Promise<Month> {
  const db = given ?? (await openDatabase(join(mkdtempSync(join(tmpdir(), 'month-')), 'db')));
  const basis = await readBasis(energy, size);
  const grid: GridSignal = {
    zone: 'DEU',
    over: (fromMs) => ({ ...basis.intensity, value: gPerKwhAt(fromMs), source: 'test', atMs: fromMs }),
  };
  const booked: Month['booked'] = [];
  for (let hour = 0; hour < 48; hour++) {
    for (const half of [0, 1]) {
      const fromMs = startMs + hour * hourMs + half * 1_200_000;
      const own = basisOver(basis, grid, fromMs, fromMs + 600_000);
      const facts = factsOf(fromMs, hour, own);
      const attribution = attribute(facts);
      const metered = {
        facts,
        method: 'cpu-time',
        quality: 'estimated',
        missing: null,
        memoryUsedBytes: 2e9,
      } as const;
      const watts = { idleW: 10, maxW: 50, assumed: false };
      const row = intervalRow(metered, attribution, { basis: own, node: 'here', watts, methodVersion: '2' });
      await bookInterval(db, row, attribution.entries);
      booked.push({ row, entries: attribution.entries });
    }
  }
  return { db, basis, exports: exportsOf(db, basis, now), booked };
}

/** Over books of the test's own. */
export function testExports(db: Db): Exports {
  const basis = readBasis(energy, size);
  const of = (basis: Basis) => exportsOf(db, basis, new Date());
  return {
    sci: async (...given) => of(await basis).sci(...given),
    manifest: async (...given) => of(await basis).manifest(...given),
    card: async (...given) => of(await basis).card(...given),
    statement: async (...given) => of(await basis).statement(...given),
  } satisfies Pick<Exports, keyof Exports> as Exports;
}

function exportsOf(db: Db, basis: Basis, now: Date): Exports {
  const host: ReportHost = {
    basis,
    idleW: 10,
    maxW: 50,
    ...size,
    uncertainty: 0.37,
    quality: 'estimated',
    method: 'cpu-time',
    methodVersion: '2',
    memoryOfModels: { m1: 1e9 },
    settling: { m1: { settled: true } },
  };
  return new Exports({
    db,
    energy: {
      settle: async () => {},
      report: (query) => impactReport(db, host, query),
      settling: () => ({ m1: { settled: true } }),
      basis: () => basis,
    },
    now: () => now,
  });
}

/** Ten minutes; requests by day, a training from the second hour on, nothing but standing ready at night. */
function factsOf(fromMs: number, hour: number, basis: Basis): IntervalFacts {
  const durationS = 600;
  const busy = hour % 24 >= 6 && hour % 24 < 18;
  const head = (consumer: Party): LineHead => ({
    kind: 'inference',
    consumer,
    keyId: `key-of-${consumer.organisation}`,
    grantId: null,
    jobId: null,
    use: digits,
  });
  const line = (consumer: Party, count: number) => ({
    ids: Array.from({ length: count }, (_, index) => `${fromMs}-${consumer.organisation}-${index}`),
    atMs: fromMs + 1000,
    rows: 3,
    runnerPid: 1,
    computeNs: 1e9 * (1 + (hour % 3)),
    head: head(consumer),
  });
  const trains = fromMs === job.startedMs || fromMs === job.startedMs + 1_200_000;
  const training: LineHead = { ...head(acme), kind: 'training', jobId: job.id, use: null };
  return {
    id: `i${fromMs}`,
    startMs: fromMs,
    endMs: fromMs + durationS * 1000,
    durationS,
    energyJ: (busy ? 22 : 11) * durationS,
    idleW: 10,
    cpuCount: 4,
    memoryBytes: 8e9,
    hostBusyS: busy ? 700 : 80,
    gatewayCpuS: busy ? 12 : 1,
    housekeepingS: 3,
    runners: [{ pid: 1, cpuS: busy ? 500 : 0 }],
    lines: busy ? [line(acme, 4), line(globex, 7)] : [],
    jobs: trains ? [{ id: `job1~i${fromMs}`, head: training, cpuS: 60, memoryBytes: 1e9 }] : [],
    reservations: [{ use: digits, memoryBytes: 2e9 }],
    rates: ratesOf(basis, durationS),
  };
}
