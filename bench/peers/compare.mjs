// Contenders in turn, round after round, so that drift of the machine hits all alike; every other round in reverse.
import { setTimeout as sleep } from 'node:timers/promises';
import { load, median } from '../load.mjs';
import { familySeconds } from '../processes.mjs';
import { closedLoop } from './closed-loop.mjs';

/**
 * A contender: name, url, headers, bodies, pids; `connections` where only some are of interest; `reference`: whom of
 * the others it is compared with; `statistics` where its batches are known. `raw` measures the session at that batch.
 * Gives what could not be measured.
 */
export async function compare(contenders, { connections, seconds, rounds, slow = false, raw }) {
  const lost = new Map();
  console.log(header(raw));
  for (const count of connections) {
    const taking = contenders.filter(({ connections: only }) => !only || only.includes(count));
    const results = new Map(taking.map(({ name }) => [name, []]));
    // A first round only warms up, once for all numbers of connections; the closed loop does so itself.
    for (let round = slow || count !== connections[0] ? 0 : -1; round < rounds; round++) {
      for (const contender of round % 2 ? [...taking].reverse() : taking) {
        if (lost.has(contender.name)) continue;
        const options = { count, slow, seconds: round < 0 ? 2 : slow && count > 8 ? 2 * seconds : seconds };
        try {
          const seen = await once(contender, round < 0 ? options : { ...options, raw });
          if (round >= 0) results.get(contender.name).push(seen);
        } catch (error) {
          lost.set(contender.name, error.message);
        }
      }
    }
    for (const contender of taking)
      if (!lost.has(contender.name)) console.log(line(count, contender, results, raw));
  }
  return [...lost].map(([name, why]) => `${name}: ${why}`);
}

async function once(contender, { count, seconds, slow, raw }) {
  const { statistics, pids } = contender;
  const before = await statistics?.();
  const cpuBefore = familySeconds(pids);
  const seen = await (slow ? closedLoop : load)({ ...contender, connections: count, seconds });
  // What is put off until after the load (a ledger that is settled later) was used for it all the same.
  const later = (await quiet(pids)) ? familySeconds(pids) - cpuBefore : 0;
  const cpuPer1000 = Math.max(seen.cpuPer1000, later / (seen.requests / 1000));
  if (!statistics) return { ...seen, cpuPer1000 };
  const after = await statistics();
  if (after.hits - before.hits > seen.requests / 1000) throw new Error('a cache answered, not the model');
  if (!raw) return { ...seen, cpuPer1000 };
  const batch = (after.rows - before.rows) / (after.runs - before.runs);
  const limit = await raw(Math.max(1, Math.round(batch)), Math.min(1, seconds));
  const ofRaw = { rate: seen.perSecond / limit.perSecond, cpu: limit.cpuPer1000 / cpuPer1000 };
  return { ...seen, cpuPer1000, batch, ofRaw };
}

/**
 * Waits until these processes use less than 3 % of a core, so that nobody's work is left for another's turn. false: they
 * do not come to rest, as some that look after themselves all the time.
 */
async function quiet(pids) {
  for (let waited = 0; waited < 10; waited++) {
    const before = familySeconds(pids);
    await sleep(200);
    if (familySeconds(pids) - before <= 0.006) return true;
  }
  return false;
}

function header(raw) {
  const batches = raw ? ' rows a batch | of the raw session: rows/s | CPU |' : '';
  return `\n| connections | server | requests/s | p50 ms | p99 ms | CPU-s per 1,000 | failed | ours to it: requests/s | CPU |${batches}\n|${'---|'.repeat(raw ? 12 : 9)}`;
}

function line(count, { name, reference }, results, raw) {
  const of = (which, field) => median(results.get(which).map((result) => result[field]));
  const failed = results.get(name).reduce((sum, result) => sum + result.failed, 0);
  const ratio = (field) =>
    results.get(reference)?.length > 0 ? (of(reference, field) / of(name, field)).toFixed(2) : '';
  const rate = of(name, 'perSecond');
  const cells = [
    count,
    name,
    rate >= 100 ? Math.round(rate).toLocaleString('en') : rate.toFixed(1),
    of(name, 'p50Ms').toFixed(2),
    of(name, 'p99Ms').toFixed(2),
    of(name, 'cpuPer1000').toFixed(3),
    failed,
    ratio('perSecond'),
    ratio('cpuPer1000'),
  ];
  if (raw) cells.push(...batchCells(results.get(name)));
  return `| ${cells.join(' | ')} |`;
}

/** What others batch is not known. */
function batchCells(seen) {
  if (!seen[0].ofRaw) return ['', '', ''];
  const percent = (field) => `${(100 * median(seen.map(({ ofRaw }) => ofRaw[field]))).toFixed(0)} %`;
  return [median(seen.map(({ batch }) => batch)).toFixed(1), percent('rate'), percent('cpu')];
}
