/**
 * Reads the ledger from outside, without the product: every interval against the sum of its entries, and how often
 * each inference was booked. Prints one JSON line.
 *
 *     node ledger.mjs <commonwatt.db>
 */
import Database from 'libsql';

const db = new Database(process.argv[2]);
db.pragma('busy_timeout = 5000');
db.pragma('query_only = 1');
const problems = [];
const intervals = db
  .prepare(
    `select i.id, i.energy_j, i.carbon_g, i.embodied_g, i.water_l, count(e.id) as entries, sum(e.energy_j) as energy,
       sum(e.carbon_g) as carbon, sum(e.embodied_g) as embodied, sum(e.water_l) as water
     from ledger_intervals i left join ledger_entries e on e.interval_id = i.id group by i.id`,
  )
  .all([]);
for (const { id, entries, ...sums } of intervals) {
  if (entries === 0) problems.push(`interval ${id} has no entry`);
  const pairs = {
    energy: sums.energy_j,
    carbon: sums.carbon_g,
    embodied: sums.embodied_g,
    water: sums.water_l,
  };
  for (const [name, total] of Object.entries(pairs)) {
    if (total === null && sums[name] === null) continue;
    if (!(Math.abs(sums[name] - total) <= 1e-9 * Math.abs(total)))
      problems.push(`interval ${id}: the entries' ${name} is ${sums[name]}, the total ${total}`);
  }
}
const orphans = db
  .prepare(
    'select count(*) as n from ledger_lines where interval_id not in (select id from ledger_intervals)',
  )
  .get([]);
if (orphans.n > 0) problems.push(`${orphans.n} entries without an interval`);
// A request that was booked again would carry its id with the interval's after `~`.
const booked = db.prepare("select id from ledger_entries where kind = 'inference'").all([]);
const requests = {};
for (const { id } of booked) {
  const request = id.split('~')[0];
  requests[request] = (requests[request] ?? 0) + 1;
}
const { check } = { check: db.pragma('quick_check(1)')[0].quick_check };
if (check !== 'ok') problems.push(`the database is broken: ${check}`);
process.stdout.write(`${JSON.stringify({ problems, intervals: intervals.length, requests })}\n`);
