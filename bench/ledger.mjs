// A month of ledger for 50 tenants and 20 models, settled through the product's own code: what it costs to keep, and
// how long reports, pages and exports of it take over the API of a running server.
//
//     node bench/ledger.mjs [entries, default 10000000] [--keep]
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { sql } from 'kysely';
import { attribute } from '../dist/energy/attribution.js';
import { intervalRow } from '../dist/energy/interval-row.js';
import { bookInterval } from '../dist/energy/settlement.js';
import { tidyStep } from '../dist/energy/store/tidy.js';
import { openDatabase } from '../dist/storage/db.js';
import { startPlatform } from './platform.mjs';

const { values, positionals } = parseArgs({ options: { keep: { type: 'boolean' } }, allowPositionals: true });
const entries = Number(positionals[0] ?? 10_000_000);
const [tenants, models, days, requestsPerInterval] = [50, 20, 30, 60];
const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const retention = { detailDays: 7, keepDays: null };
const end = Math.floor(Date.now() / hourMs) * hourMs;
const start = end - days * dayMs;

const folder = mkdtempSync(join(tmpdir(), 'commonwatt-ledger-bench-'));
const file = join(folder, 'commonwatt.db');
const db = await openDatabase(file);
// The machine that makes the month need not wait for its disk; the server that is timed does.
await sql`pragma synchronous = off`.execute(db);

const organisation = (index) => ({
  organisationId: `organisation-${index}`,
  organisation: `tenant-${index}`,
});
const uses = Array.from({ length: models }, (_, index) => ({
  modelId: `00000000-0000-4000-8000-${String(index).padStart(12, '0')}`,
  model: `tenant-${index}/model`,
  version: 1,
  owner: organisation(index),
}));
const heads = Array.from({ length: tenants }, (_, tenant) =>
  uses.map((use) => ({
    kind: 'inference',
    consumer: organisation(tenant),
    keyId: `key-${tenant}`,
    memberId: `member-${tenant}`,
    grantId: use.owner.organisation === `tenant-${tenant}` ? null : `grant-${tenant}-${use.modelId}`,
    jobId: null,
    use,
  })),
);

let state = 1;
function random() {
  state = (state * 48271) % 2147483647;
  return state / 2147483647;
}
let requests = 0;
const boot = `${start.toString(36).padStart(9, '0')}a1b2c3`;

function factsOf(number, startMs) {
  const lines = [];
  for (let left = requestsPerInterval; left > 0; ) {
    const size = Math.min(left, 1 + Math.floor(random() ** 3 * 8));
    left -= size;
    const tenant = Math.floor(random() ** 2 * tenants);
    const ids = Array.from({ length: size }, () => `${boot}-${(requests++).toString(36).padStart(7, '0')}`);
    const model = Math.floor(random() ** 2 * models);
    lines.push({
      ids,
      atMs: startMs + Math.floor(random() * 1000),
      rows: 1,
      runnerPid: 1000 + model,
      computeNs: Math.round((0.2 + random()) * 1e6),
      head: heads[tenant][model],
      shared: size > 1,
    });
  }
  const pids = [...new Set(lines.map(({ runnerPid }) => runnerPid))];
  return {
    id: `${boot}-${String(number).padStart(8, '0')}`,
    startMs,
    endMs: startMs + 1000,
    durationS: 1 + random() * 1e-3,
    energyJ: 30 + random() * 5,
    idleW: 20,
    cpuCount: 16,
    memoryBytes: 64e9,
    hostBusyS: 1.2,
    gatewayCpuS: 0.02,
    housekeepingS: 0.005,
    runners: pids.map((pid) => ({ pid, cpuS: 0.01 + random() * 0.01 })),
    lines,
    jobs: [],
    reservations: uses.map((use) => ({ use, memoryBytes: 5e8 })),
    rates: { pue: 1.2, gPerKwh: 380 + 40 * random(), litresPerKwh: 3.9, embodiedG: 0.03 },
  };
}

const basis = {
  intensity: { zone: 'DEU', value: 400, kind: 'average', scope: 'life-cycle', source: 'bench' },
  pue: { value: 1.2, assumed: false },
};
const watts = { idleW: 20, maxW: 80, assumed: false };

const settling = [];
const steps = [];
let booked = 0;
async function tidyAt(nowMs) {
  for (let more = true; more; ) {
    const began = performance.now();
    more = await tidyStep(db, nowMs, retention);
    steps.push(performance.now() - began);
  }
}

const began = performance.now();
const sizeOf = (attribution) => attribution.entries.reduce((sum, { ids }) => sum + ids.length, 0);
const first = Array.from({ length: 100 }, () => sizeOf(attribute(factsOf(0, start))));
const perInterval = Math.min(...first);
requests = 0;
const intervals = Math.ceil(entries / perInterval);
const everyMs = (days * dayMs) / intervals;
for (let number = 1, day = 1; number <= intervals; number++) {
  const startMs = Math.floor(start + (number - 1) * everyMs);
  if (startMs >= start + day * dayMs) {
    await tidyAt(start + day * dayMs + 2 * hourMs);
    day++;
    process.stderr.write(`\rday ${day - 1}: ${booked} entries `);
  }
  const facts = factsOf(number, startMs);
  const attribution = attribute(facts);
  const metered = { facts, method: 'cpu-time', quality: 'estimated', missing: null, memoryUsedBytes: 1e10 };
  const row = intervalRow(metered, attribution, { basis, watts, methodVersion: '1.2', node: 'bench' });
  const from = performance.now();
  await bookInterval(db, row, attribution.entries);
  settling.push(performance.now() - from);
  booked += sizeOf(attribution);
}
await tidyAt(end + 2 * hourMs);
const madeS = (performance.now() - began) / 1000;

const usedBytes = async () => {
  const { rows } =
    await sql`select (select page_count from pragma_page_count) - (select freelist_count from pragma_freelist_count)
    as pages, (select page_size from pragma_page_size) as size`.execute(db);
  return rows[0].pages * rows[0].size;
};
const percentile = (list, q) =>
  [...list].sort((a, b) => a - b)[Math.floor(q * (list.length - 1))]?.toFixed(1);
const asOfNow = await usedBytes();
const lines = (await sql`select count(*) as n from ledger_lines`.execute(db)).rows[0].n;
await sql`pragma wal_checkpoint(truncate)`.execute(db);
const fileBytes = statSync(file).size;
const sample = (await sql`select id from ledger_lines limit 1 offset 1000`.execute(db)).rows[0]?.id;
await db.destroy();

const table = [
  ['entries', booked, ''],
  ['of them requests', requests, ''],
  ['intervals', intervals, ''],
  ['made in', madeS.toFixed(0), 's'],
  [`settle an interval of ${(booked / intervals).toFixed(0)} entries, p50`, percentile(settling, 0.5), 'ms'],
  ['  p99', percentile(settling, 0.99), 'ms'],
  ['tidying step, p50', percentile(steps, 0.5), 'ms'],
  ['  p99', percentile(steps, 0.99), 'ms'],
  ['a week of lines is not packed', lines, 'entries'],
  ['database in use', (asOfNow / 1e6).toFixed(0), 'MB'],
  ['database file', (fileBytes / 1e6).toFixed(0), 'MB'],
];

const server = await startPlatform({ folder, env: { COMMONWATT_NODE: 'bench' } });
const get = async (path) => {
  const from = performance.now();
  const response = await fetch(`${server.baseUrl}/api/v1/${path}`, {
    headers: { authorization: `Bearer ${server.operatorKey}` },
  });
  const bytes = (await response.arrayBuffer()).byteLength;
  if (!response.ok) throw new Error(`${path} answered ${response.status}`);
  return { ms: performance.now() - from, bytes };
};
const time = (ms) => encodeURIComponent(new Date(ms).toISOString());
const month = `from=${time(start)}&to=${time(end)}`;
const odd = `from=${time(start + 17 * 60_000)}&to=${time(end - 17 * 60_000)}`;
for (const [name, path] of [
  ['impact by tenant, the month', `impact?group_by=tenant&${month}`],
  ['  from 17 minutes past', `impact?group_by=tenant&${odd}`],
  ['impact by tenant and model', `impact?group_by=tenant,model&${month}`],
  ['impact by day', `impact?group_by=day&${month}`],
  ['100 lines of a month ago', `ledger?limit=100&${month}`],
  ['100 lines of one key', `ledger?limit=100&key=key-49&${month}`],
  ['a line of this week by id', `ledger/${sample}`],
  ['a line of a month ago by id', `ledger/${boot}-${(7).toString(36).padStart(7, '0')}`],
]) {
  const times = [];
  for (let run = 0; run < 5; run++) times.push((await get(path)).ms);
  table.push([`${name}, first`, times[0].toFixed(0), 'ms'], ['  median of 5', percentile(times, 0.5), 'ms']);
}
for (const format of ['jsonl', 'csv', 'parquet']) {
  const { ms, bytes } = await get(`ledger?format=${format}&from=${time(start)}&to=${time(start + dayMs)}`);
  table.push([`a day as ${format}, ${(bytes / 1e6).toFixed(0)} MB`, ms.toFixed(0), 'ms']);
}
await server.stop({ keep: true });

const after = await openDatabase(file);
while (await tidyStep(after, end + 40 * dayMs, retention));
const { rows } =
  await sql`select (select page_count from pragma_page_count) - (select freelist_count from pragma_freelist_count)
  as pages, (select page_size from pragma_page_size) as size`.execute(after);
const packed = rows[0].pages * rows[0].size;
const sizes = await sql`select (select sum(length(packed)) from ledger_archive) as archive,
  (select count(*) from ledger_hours) as hours, (select count(*) from ledger_days) as days`.execute(after);
await after.destroy();
table.push(['all packed, with all sums', (packed / 1e6).toFixed(0), 'MB']);
table.push(['  an entry', (packed / booked).toFixed(1), 'bytes']);
table.push(['  of it lines and intervals', (Number(sizes.rows[0].archive) / booked).toFixed(1), 'bytes']);
table.push(['  sums by hour', sizes.rows[0].hours, 'rows'], ['  sums by day', sizes.rows[0].days, 'rows']);
process.stderr.write('\n');
for (const [name, value, unit] of table)
  process.stdout.write(`${name.padEnd(48)}${String(value).padStart(12)} ${unit}\n`);
if (values.keep) process.stdout.write(`kept in ${folder}\n`);
else rmSync(folder, { recursive: true, force: true });
