// Single-row inference with everything on (keys, policy, quota, ledger, headers), as JSON and as binary tensors, beside
// the limits of the platform. Every request is another one, so that no cache of answers is measured; "cached" sends one body
// again and again. With gateways, the first process is what must be one; its CPU time per request bounds what doors can add
// up to. Contenders take turns, so that drift of the machine hits all alike.
//   node bench/inference.mjs [--connections 1,8,64,256] [--seconds 5] [--rounds 5] [--only "Commonwatt, JSON"…]
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { consumerOf, distinctRows, exampleBytes } from './example.mjs';
import { load, median, requireWrk, uniqueMark } from './load.mjs';
import { v2Binary } from './peers/workloads.mjs';
import { cpuSeconds } from './processes.mjs';
import { startCommonwatt, startScript } from './servers.mjs';

const { values } = parseArgs({
  options: {
    connections: { type: 'string', default: '64' },
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '5' },
    only: { type: 'string', multiple: true },
  },
});
const [seconds, rounds] = [values.seconds, values.rounds].map(Number);
requireWrk();

const rows = distinctRows(256);
const jsonOf = (data) =>
  JSON.stringify({ inputs: [{ name: 'input', shape: [1, 100], datatype: 'FP32', data }] });
const fixed = jsonOf(rows[0]);
/** The first number of each request is its own; as raw bytes any eight digits are two small floats. */
const json = rows.map((row) => jsonOf(row).replace(/"data":\[[^,]*/, `"data":[0.${uniqueMark}`));
const tensors = { inputs: [{ name: 'input', datatype: 'FP32', shape: [100] }] };
const binary = rows.map((row) => {
  const { body, headers } = v2Binary(tensors, [Float32Array.from(row)]);
  const head = Number(headers['inference-header-content-length']);
  return {
    headers,
    body: Buffer.concat([body.subarray(0, head), Buffer.from(uniqueMark), body.subarray(head + 8)]),
  };
});

const full = await startCommonwatt();
const everythingOn = await consumerOf(full);
const sample = await (
  await fetch(everythingOn.url, { method: 'POST', headers: everythingOn.headers, body: fixed })
).text();

/** name → how it is started; gives where to send what, and how it is stopped. */
const contenders = {
  'Commonwatt, JSON': async () => ({ ...everythingOn, bodies: json, pids: [full.pid] }),
  'Commonwatt, binary': async () => ({
    ...everythingOn,
    headers: { ...everythingOn.headers, ...binary[0].headers },
    bodies: binary.map(({ body }) => body),
    pids: [full.pid],
  }),
  'Commonwatt, JSON, cached': async () => ({ ...everythingOn, bodies: [fixed], pids: [full.pid] }),
  'Commonwatt, JSON, started again': () => prepared({}),
  'Commonwatt, JSON, metering off': () => prepared({ COMMONWATT_METER: 'off' }),
  'Commonwatt, JSON, 2 gateways': () => prepared({ COMMONWATT_GATEWAYS: '2' }),
  'gathering Fastify, onnxruntime in process': () => limit('gather', { BENCH_MODEL: modelFile }),
  'bare Fastify, same body and reply': () => limit('reply', { BENCH_REPLY: sample }),
  'node:http echo': () => limit('echo', { BENCH_REPLY: sample }),
};
const modelFile = await exampleModel(full);
const chosen = values.only ?? Object.keys(contenders);
const running = new Map();
for (const name of chosen) running.set(name, await contenders[name]());

for (const connections of values.connections.split(',').map(Number)) {
  const results = new Map(chosen.map((name) => [name, []]));
  for (let round = -1; round < rounds; round++) {
    // Every other round in reverse, so that nobody always comes after the same one.
    const turns = round % 2 === 0 ? [...running] : [...running].reverse();
    for (const [name, { url, headers, bodies, pids }] of turns) {
      const before = cpuSeconds(pids[0]);
      const result = await load({
        url,
        headers,
        bodies,
        pids,
        connections,
        seconds: round < 0 ? 2 : seconds,
      });
      if (result.failed) throw new Error(`${name}: ${result.failed} requests failed`);
      const requests = result.perSecond * (round < 0 ? 2 : seconds);
      const ownPer1000 = (cpuSeconds(pids[0]) - before) / (requests / 1000);
      if (round >= 0) results.get(name).push({ ...result, ownPer1000 });
    }
  }
  print(connections, results);
}
for (const { stop } of running.values()) await stop?.();
await full.stop();

/** The example wants a meter and no doors; afterwards the same data folder is served as asked. */
async function prepared(env) {
  const first = await startCommonwatt();
  await first.stop(true);
  const server = await startCommonwatt({ data: first.folder, env });
  return { ...(await consumerOf(server)), bodies: json, pids: [server.pid], stop: () => server.stop() };
}

async function limit(which, env) {
  const { url, pid, stop } = await startScript('./bare-fastify.mjs', { BENCH_LIMIT: which, ...env });
  const headers = { 'content-type': 'application/json' };
  return { url: `${url}/v2/models/x/infer`, headers, bodies: json, pids: [pid], stop };
}

async function exampleModel(server) {
  const file = join(mkdtempSync(join(tmpdir(), 'commonwatt-bench-')), 'model.onnx');
  writeFileSync(file, await exampleBytes(server));
  return file;
}

function print(connections, results) {
  const of = (name, field) => median(results.get(name).map((result) => result[field]));
  console.log(
    `\n${json[0].length}-byte JSON request, ${sample.length}-byte reply, ${connections} connections, median of ${rounds} rounds of ${seconds} s\n`,
  );
  console.log(
    '| server | requests/s | p50 ms | p99 ms | CPU-s per 1,000 | of it the first process |\n|---|---|---|---|---|---|',
  );
  for (const name of results.keys()) {
    const rate = Math.round(of(name, 'perSecond')).toLocaleString('en');
    console.log(
      `| ${name} | ${rate} | ${of(name, 'p50Ms')} | ${of(name, 'p99Ms')} | ${of(name, 'cpuPer1000').toFixed(4)} | ${of(name, 'ownPer1000').toFixed(4)} |`,
    );
  }
  const ratio = (a, b) => ((100 * of(a, 'perSecond')) / of(b, 'perSecond')).toFixed(1);
  const [ours, again, off, gather] = [
    'Commonwatt, JSON',
    'Commonwatt, JSON, started again',
    'Commonwatt, JSON, metering off',
    'gathering Fastify, onnxruntime in process',
  ];
  if (results.has(ours) && results.has(gather))
    console.log(`\neverything on / gathering Fastify: ${ratio(ours, gather)} % (goal ≥ 80 %)`);
  if (results.has(again) && results.has(off)) {
    // Both served the same way; rounds are neighbours in time, so their ratios are free of drift.
    const ratios = results.get(again).map((on, index) => on.perSecond / results.get(off)[index].perSecond);
    const cpu = of(again, 'cpuPer1000') / of(off, 'cpuPer1000');
    console.log(
      `metering on / metering off: ${(100 * median(ratios)).toFixed(1)} % (${ratios.map((each) => (100 * each).toFixed(0)).join(', ')}; goal ≥ 98 %), CPU ${cpu.toFixed(2)}`,
    );
  }
}
