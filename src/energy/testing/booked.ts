/** A ledger of intervals that tests make up, booked as the real ones are. */
import { configSchema } from '../../config.ts';
import type { Db } from '../../storage/db.ts';
import {
  type Attribution,
  attribute,
  type IntervalFacts,
  type LineHead,
  type WorkLine,
} from '../attribution.ts';
import { ratesOf, readBasis } from '../basis.ts';
import type { ModelUse, Party } from '../energy.ts';
import { intervalRow } from '../interval-row.ts';
import { bookInterval } from '../settlement.ts';

export const party = (organisation: string): Party => ({
  organisationId: `id-${organisation}`,
  organisation,
});

export function modelOf(owner: Party, name: string): ModelUse {
  return { modelId: `id-${name}`, model: `${owner.organisation}/${name}`, version: 1, owner };
}

export function headOf(
  consumer: Party,
  use: ModelUse | null,
  kind: LineHead['kind'] = 'inference',
): LineHead {
  return { kind, consumer, keyId: null, grantId: null, jobId: kind === 'training' ? 'job' : null, use };
}

/** Of the runner 1, one row. */
export function lineOf(head: LineHead, ids: readonly string[], change: Partial<WorkLine> = {}): WorkLine {
  return { ids, atMs: 0, rows: 1, runnerPid: 1, computeNs: 1e6, head, ...change };
}

/** 10 s of a host with 4 CPUs and 8 GB, 10 W idle. */
const quiet: IntervalFacts = {
  id: 'i0',
  startMs: 0,
  endMs: 10_000,
  durationS: 10,
  energyJ: 200,
  idleW: 10,
  cpuCount: 4,
  memoryBytes: 8e9,
  hostBusyS: 0,
  gatewayCpuS: 0,
  housekeepingS: 0,
  runners: [],
  lines: [],
  jobs: [],
  reservations: [],
  rates: { pue: 1, gPerKwh: 0, litresPerKwh: null, embodiedG: 0 },
};

export interface Interval extends Partial<IntervalFacts> {
  node?: string;
  /** What runners hold of it. */
  memoryUsedBytes?: number;
}

export async function book(
  db: Db,
  { node = 'node', memoryUsedBytes = 0, ...given }: Interval,
): Promise<Attribution> {
  const { energy } = configSchema.parse({ energy: { zone: 'FRA', pue: 1.5 } });
  const basis = await readBasis(energy, quiet);
  const durationS = given.durationS ?? quiet.durationS;
  const startMs = given.startMs ?? quiet.startMs;
  const facts: IntervalFacts = {
    ...quiet,
    rates: ratesOf(basis, durationS),
    ...given,
    durationS,
    endMs: given.endMs ?? startMs + durationS * 1000,
  };
  const attribution = attribute(facts);
  const measured = {
    facts,
    method: 'cpu-time',
    quality: 'estimated' as const,
    missing: null,
    memoryUsedBytes,
  };
  const watts = { idleW: facts.idleW, maxW: 50, assumed: false };
  const row = intervalRow(measured, attribution, { basis, watts, methodVersion: '1', node });
  if (!(await bookInterval(db, row, attribution.entries))) throw new Error(`${facts.id} is booked already`);
  return attribution;
}
