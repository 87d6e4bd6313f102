// Does sharing save what the product says? The same requests of several organisations, at the same times, once to one
// shared deployment and once to an instance of its own for each, one after the other on the same CPU. What the impact
// report of the shared run predicts for own instances (`sharing.own`), without having seen them, is held to what they
// took. Linux only (/proc).
//   node bench/sharing.mjs [--organisations 4] [--seconds 60] [--rate 40] [--seed 1] [--json]
// Exit code 1: a measured figure lies outside of the predicted range.
import { execFileSync } from 'node:child_process';
import { cpus } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Commonwatt } from '@commonwatt/client';
import { arrivals } from './arrivals.mjs';
import { distinctRows } from './example.mjs';
import { denseModel } from './onnx-model.mjs';
import { startPlatform } from './platform.mjs';
import { cpuSeconds, memoryMb } from './processes.mjs';

const { values } = parseArgs({
  options: {
    organisations: { type: 'string', default: '4' },
    seconds: { type: 'string', default: '60' },
    rate: { type: 'string', default: '40' },
    seed: { type: 'string', default: '1' },
    json: { type: 'boolean', default: false },
  },
});
const organisations = Number(values.organisations);
const seconds = Number(values.seconds);
const model = denseModel([100, 512, 512, 1]);
const bodies = distinctRows(1000).map((data) =>
  JSON.stringify({ inputs: [{ name: 'input', shape: [1, 100], datatype: 'FP32', data }] }),
);
const trace = arrivals({ organisations, seconds, perSecond: Number(values.rate), seed: Number(values.seed) });
const tell = (text) => (values.json ? console.error(text) : console.log(text));
/** Requests before anything is measured, so that all servers are warm alike. */
const warmUp = 300;

/** Servers compute on the first CPU, the load comes from the others. */
const prefix = pinned();
function pinned() {
  if (cpus().length < 2) return [];
  try {
    execFileSync('taskset', ['-cp', `1-${cpus().length - 1}`, String(process.pid)], { stdio: 'ignore' });
    return ['taskset', '-c', '0'];
  } catch {
    tell('taskset is missing: servers and load are not kept apart');
    return [];
  }
}

async function startServer() {
  const server = await startPlatform({
    prefix,
    env: {
      COMMONWATT_CACHE_BYTES: '0',
      COMMONWATT_RUNNERS: '1',
      COMMONWATT_RUNNER_THREADS: '1',
      COMMONWATT_LOG_LEVEL: 'error',
    },
  });
  await server.client.versions.import('acme/scorer', model);
  await server.client.deployments.create({ model: 'acme/scorer:1' });
  return { ...server, operator: new Commonwatt({ baseUrl: server.baseUrl, apiKey: server.operatorKey }) };
}

async function ask({ baseUrl }, key, row) {
  const response = await fetch(`${baseUrl}/v2/models/acme--scorer/infer`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: bodies[row],
  });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`${response.status}: ${text}`);
}

/** Its gateway and its runners; what imports models ends by itself. */
async function processesOf({ pid, operator }) {
  const { runners } = await operator.server.get();
  return [pid, ...runners.processes.map((runner) => runner.pid)];
}

async function run(server, requests, keyOf) {
  for (let index = 0; index < warmUp; index++)
    await ask(server, keyOf(index % organisations), index % bodies.length);
  await sleep(1500);
  const pids = await processesOf(server);
  // A report closes the interval of the meter: what comes now is in intervals of its own.
  const from = new Date().toISOString();
  await server.operator.impact({ from, to: new Date(Date.now() + 1).toISOString() });
  await sleep(1000);
  const cpuOf = () => pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0);
  const before = cpuOf();
  const began = performance.now();
  const pending = [];
  for (const { atMs, organisation, row } of requests) {
    const waitMs = atMs - (performance.now() - began);
    if (waitMs > 1) await sleep(waitMs);
    pending.push(ask(server, keyOf(organisation), row));
  }
  await Promise.all(pending);
  await sleep(Math.max(0, seconds * 1000 + 1500 - (performance.now() - began)));
  const cpuS = cpuOf() - before;
  const memoryBytes = pids.reduce((sum, pid) => sum + memoryMb(pid, 'Pss') * 1024 * 1024, 0);
  const report = await server.operator.impact({ from, to: new Date().toISOString(), groupBy: 'tenant' });
  return { cpuS, memoryBytes, energyWh: report.sharing.shared.energyWh, sharing: report.sharing };
}

async function runShared() {
  const server = await startServer();
  const keys = [];
  for (let number = 0; number < organisations; number++) {
    const organisation = `customer-${number}`;
    const { admin } = await server.operator.organisations.create({ name: organisation, admin: 'ada' });
    await server.client.grants.create('acme/scorer', { organisation, permissions: ['infer'] });
    keys.push(admin.apiKey);
  }
  const result = await run(server, trace, (organisation) => keys[organisation]);
  await server.stop();
  return result;
}

async function runOwn(organisation) {
  const server = await startServer();
  const own = trace.filter((request) => request.organisation === organisation);
  const result = await run(server, own, () => server.apiKey);
  await server.stop();
  return result;
}

tell(`${trace.length} requests of ${organisations} organisations in ${seconds} s`);
const shared = await runShared();
const predicted = shared.sharing.own;
tell(`predicted from the shared run: ${JSON.stringify(predicted)}`);
const own = { cpuS: 0, memoryBytes: 0, energyWh: 0 };
for (let organisation = 0; organisation < organisations; organisation++) {
  const result = await runOwn(organisation);
  for (const name of Object.keys(own)) own[name] += result[name];
}
const rows = [
  ['CPU·s', 1, shared.cpuS, predicted.cpuSeconds, own.cpuS],
  ['memory, MiB', 1024 * 1024, shared.memoryBytes, predicted.memoryBytes, own.memoryBytes],
  ['energy by the meter, Wh', 1, shared.energyWh, predicted.energyWh, own.energyWh],
].map(([name, unit, sharedValue, range, measured]) => ({
  name,
  shared: sharedValue / unit,
  predicted: { value: range.value / unit, low: range.low / unit, high: range.high / unit },
  measured: measured / unit,
  within: measured >= range.low && measured <= range.high,
}));
const percent = (ownValue, sharedValue) => `${(100 * (1 - sharedValue / ownValue)).toFixed(1)} %`;
if (values.json) console.log(JSON.stringify({ requests: trace.length, organisations, seconds, rows }));
else {
  console.log(
    '| | shared | own, predicted (5–95 %) | own, measured | within | saving predicted | measured |',
  );
  console.log('|---|---|---|---|---|---|---|');
  for (const { name, shared: sharedValue, predicted: range, measured, within } of rows) {
    const saving = [range.value, range.low, range.high].map((value) => percent(value, sharedValue));
    console.log(
      `| ${name} | ${sharedValue.toPrecision(4)} | ${range.value.toPrecision(4)} (${range.low.toPrecision(4)} to ${range.high.toPrecision(4)}) | ${measured.toPrecision(4)} | ${within ? 'yes' : 'NO'} | ${saving[0]} (${saving[1]} to ${saving[2]}) | ${percent(measured, sharedValue)} |`,
    );
  }
}
process.exitCode = rows.every(({ within }) => within) ? 0 : 1;
