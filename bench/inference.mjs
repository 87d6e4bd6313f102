// Single-row JSON inference, everything on (keys, policy, quota, ledger, headers), against a bare Fastify handler,
// and against the same server with metering off. Rounds alternate, so drift of the machine hits all alike.
//   node bench/inference.mjs [--connections 64] [--seconds 5] [--rounds 5]
import { parseArgs } from 'node:util';
import { consumerOf, distinctRows } from './example.mjs';
import { load, median, requireWrk } from './load.mjs';
import { startCommonwatt, startScript } from './servers.mjs';

const { values } = parseArgs({
  options: {
    connections: { type: 'string', default: '64' },
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '5' },
  },
});
const [connections, seconds, rounds] = [values.connections, values.seconds, values.rounds].map(Number);
requireWrk();

const [row] = distinctRows(1);
const body = JSON.stringify({ inputs: [{ name: 'input', shape: [1, 100], datatype: 'FP32', data: row }] });

const full = await startCommonwatt();
// The example wants a meter; afterwards the same data folder is served without one.
const prepared = await startCommonwatt();
await prepared.stop(true);
const unmetered = await startCommonwatt({ data: prepared.folder, env: { COMMONWATT_METER: 'off' } });
const everythingOn = await consumerOf(full);
const meterOff = await consumerOf(unmetered);
const sample = await (
  await fetch(everythingOn.url, { method: 'POST', headers: everythingOn.headers, body })
).text();
const bare = await startScript('./bare-fastify.mjs', { BENCH_REPLY: sample });

const contenders = {
  'Commonwatt, everything on': everythingOn,
  'Commonwatt, metering off': meterOff,
  'bare Fastify, same body and reply': {
    url: `${bare.url}/v2/models/x/infer`,
    headers: { 'content-type': 'application/json' },
  },
};
const results = Object.fromEntries(Object.keys(contenders).map((name) => [name, []]));
for (let round = -1; round < rounds; round++) {
  for (const [name, target] of Object.entries(contenders)) {
    const result = await load({ ...target, bodies: [body], connections, seconds: round < 0 ? 2 : seconds });
    if (result.failed) throw new Error(`${name}: ${result.failed} requests failed`);
    if (round >= 0) results[name].push(result);
  }
}
await Promise.all([full.stop(), unmetered.stop(), bare.stop()]);

const rate = (name) => median(results[name].map(({ perSecond }) => perSecond));
console.log(
  `\n${body.length}-byte request, ${sample.length}-byte reply, ${connections} connections, median of ${rounds} rounds of ${seconds} s\n`,
);
console.log('| server | requests/s | p50 ms | p99 ms |\n|---|---|---|---|');
for (const [name, rows] of Object.entries(results)) {
  console.log(
    `| ${name} | ${Math.round(rate(name)).toLocaleString('en')} | ${median(rows.map((r) => r.p50Ms))} | ${median(rows.map((r) => r.p99Ms))} |`,
  );
}
const ratio = (a, b) => `${((100 * rate(a)) / rate(b)).toFixed(1)} %`;
const names = Object.keys(contenders);
console.log(`\neverything on / bare Fastify: ${ratio(names[0], names[2])} (goal ≥ 80 %)`);
console.log(`metering on / metering off: ${ratio(names[0], names[1])} (goal ≥ 98 %)`);
