/** A ledger of made-up intervals, and the same entries in a list to compare with. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Db, openDatabase } from '../../../storage/db.ts';
import type { Entry, LineHead } from '../../attribution.ts';
import type { ModelUse, Party } from '../../energy.ts';
import { bookInterval, type IntervalRow } from '../../settlement.ts';

const party = (name: string): Party => ({ organisationId: `id-${name}`, organisation: name });
export const parties = ['acme', 'globex', 'initech'].map(party);
const [acme = party('acme')] = parties;
const models = [1, 2].map(
  (number): ModelUse => ({ modelId: `m${number}`, model: `acme/model-${number}`, version: 1, owner: acme }),
);

export interface Booked {
  interval: IntervalRow;
  entry: Entry;
  id: string;
}

export interface Books {
  db: Db;
  file: string;
  booked: Booked[];
  /** Books an interval of so many requests, at most ten of them in one batch. */
  add(startMs: number, requests: number, calls?: readonly string[]): Promise<void>;
}

/** `given`: a database that there is already. */
export async function makeBooks(given?: Db): Promise<Books> {
  const file = join(mkdtempSync(join(tmpdir(), 'books-')), 'db');
  const db = given ?? (await openDatabase(file));
  const booked: Booked[] = [];
  const random = numbers(42);
  const heads = parties.flatMap((consumer) => models.map((use) => headOf(consumer, use, 'inference')));
  const explaining = headOf(parties[1] ?? acme, models[0] ?? null, 'explanation');
  let intervals = 0;
  let requests = 0;
  return {
    db,
    file,
    booked,
    async add(startMs, count, calls = []) {
      const id = `b00t-${String(intervals++).padStart(8, '0')}`;
      const entries: Entry[] = [];
      for (let left = count; left > 0; ) {
        const size = Math.min(left, 1 + Math.floor(random() * 10));
        const ids = Array.from({ length: size }, () => `r-${String(requests++).padStart(8, '0')}`);
        const head = heads[Math.floor(random() * heads.length)] ?? explaining;
        entries.push(entryOf({ ids, head, atMs: startMs + 500, cpuS: random() * 1e-3 }));
        left -= size;
      }
      for (const call of calls)
        entries.push(
          entryOf({ ids: [`${call}~${id}`], head: explaining, atMs: startMs + 600, cpuS: random() }),
        );
      entries.push({
        ...entryOf({ ids: [`${id}:idle:platform`], head: explaining, atMs: startMs + 1000, cpuS: 0 }),
        kind: 'idle',
        note: 'platform',
        head: null,
        owner: null,
        rows: 0,
        energyJ: 10 * random(),
      });
      const interval = intervalOf(id, startMs, entries);
      await bookInterval(db, interval, entries);
      for (const entry of entries) for (const own of entry.ids) booked.push({ interval, entry, id: own });
    },
  };
}

function headOf(consumer: Party, use: ModelUse | null, kind: LineHead['kind']): LineHead {
  const { organisation } = consumer;
  return {
    kind,
    consumer,
    keyId: `key-of-${organisation}`,
    grantId: `grant-of-${organisation}`,
    jobId: null,
    use,
  };
}

function entryOf(given: { ids: string[]; head: LineHead; atMs: number; cpuS: number }): Entry {
  const { ids, head, atMs, cpuS } = given;
  const energyJ = cpuS * 7.3 + 0.01;
  return {
    ids,
    kind: head.kind,
    note: null,
    head,
    owner: head.use,
    atMs,
    rows: 2,
    cpuS,
    energyJ,
    idleShareJ: 0.01,
    carbonG: energyJ * 1.3e-4,
    embodiedG: cpuS * 2e-4,
    waterL: energyJ * 1e-6,
    attributionMethod: 'shared step',
    outcome: 'finished',
    allocated: { energyJ: energyJ * 1.5, carbonG: energyJ * 1.5 * 1.3e-4, embodiedG: cpuS * 5e-4 },
    runnerPid: 77,
  };
}

function intervalOf(id: string, startMs: number, entries: readonly Entry[]): IntervalRow {
  const sum = (pick: (entry: Entry) => number) =>
    entries.reduce((total, entry) => total + entry.ids.length * pick(entry), 0);
  return {
    id,
    start_ms: startMs,
    end_ms: startMs + 1000,
    energy_j: sum(({ energyJ }) => energyJ),
    carbon_g: sum(({ carbonG }) => carbonG),
    embodied_g: sum(({ embodiedG }) => embodiedG),
    water_l: sum(({ waterL }) => waterL ?? 0),
    quality: 'estimated',
    method: 'cpu-time',
    method_version: '1.1',
    basis: '{"pue":1}',
    cpu_s_supplied: 4,
    cpu_s_used: sum(({ cpuS }) => cpuS),
    cpu_s_other: 0,
    memory_gbs_supplied: 8,
    memory_gbs_reserved: 2,
    memory_gbs_used: 1,
    node: 'here',
    zone: 'FRA',
    intensity_g_per_kwh: 44,
    signal: 'average',
    scope: 'life-cycle',
    accelerator_j: null,
    accelerator_s_supplied: null,
    accelerator_s_reserved: null,
    accelerator_s_used: null,
  };
}

/** Lehmer's generator: the same books each time. */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  };
}
