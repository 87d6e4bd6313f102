// Requests a second through the batcher alone: no sockets, no JSON, no runner process; a model that answers with
// its inputs after one turn of the event loop. Shows what batching, fairness and the search for repeated requests
// cost. Runs on dist (npm run build).
//   node bench/batcher.mjs [--callers 64] [--seconds 2] [--rounds 5] [--dist DIR] [--json]

import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    callers: { type: 'string', default: '64' },
    seconds: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '5' },
    dist: { type: 'string', default: fileURLToPath(new URL('../dist', import.meta.url)) },
    json: { type: 'boolean', default: false },
  },
});
const [callers, seconds, rounds] = [values.callers, values.seconds, values.rounds].map(Number);
const load = (file) => import(pathToFileURL(`${values.dist}/serve/${file}.js`).href);
const { Batcher } = await load('batcher');
const { InferCall } = await load('serve');
const { defaultSettings } = await load('settings');
// A build from before there was reuse has no such file: it is measured all the same.
const { AnswerCache } = await load('reuse').catch(() => ({}));

const footprint = {};
const accountant = {
  recordBatch: ({ items }) => items.map(() => footprint),
  recordAvoided: ({ items }) => items.map(() => footprint),
};
const owner = { organisationId: 'o', organisation: 'acme' };
const use = { modelId: 'm', model: 'acme/m', version: 1, owner };
const times = { computeNs: 50_000, inputNs: 1000, outputNs: 1000, runnerPid: 1 };

async function run(inputs) {
  await new Promise(setImmediate);
  const rows = inputs[0].shape[0];
  const output = { name: 'y', datatype: 'FP32', shape: [rows, 1], data: new Float32Array(rows) };
  return { outputs: [output], ...times };
}

function contextOf(organisationId) {
  const consumer = { organisationId, organisation: organisationId };
  return { kind: 'inference', requestId: 'r', consumer, keyId: null, grantId: null, jobId: null };
}

/** Every caller sends its next request when it has its answer; 100 numbers each, `distinct` of them different. */
async function measure({ answers, tenants, distinct }) {
  const batcher = new Batcher(
    {
      use,
      batchable: true,
      settings: defaultSettings,
      versionId: 'v',
      deterministic: true,
      run,
      runAlone: run,
    },
    { maxBatchSize: 128, maxQueue: 4096, accountant, ...(answers ? { answers } : {}) },
  );
  const contexts = Array.from({ length: tenants }, (_, index) => contextOf(`o${index}`));
  const until = performance.now() + seconds * 1000;
  let answered = 0;
  let next = 0;
  const caller = async (index) => {
    const context = contexts[index % tenants];
    while (performance.now() < until) {
      const data = new Float32Array(100);
      data[next % 100] = next++ % distinct;
      const inputs = [{ name: 'x', datatype: 'FP32', shape: [1, 100], data }];
      await batcher.infer(new InferCall(inputs, context, { policyVersion: 1 }));
      answered++;
    }
  };
  const before = process.cpuUsage();
  await Promise.all(Array.from({ length: callers }, (_, index) => caller(index)));
  const { user, system } = process.cpuUsage(before);
  return { perSecond: answered / seconds, cpuUs: (user + system) / answered };
}

const scenarios = {
  'one tenant, reuse off': () => measure({ tenants: 1, distinct: 1e9 }),
  'eight tenants, reuse off': () => measure({ tenants: 8, distinct: 1e9 }),
};
if (AnswerCache) {
  const cache = () => new AnswerCache(64 * 1024 * 1024);
  scenarios['one tenant, reuse on, nothing repeats'] = () =>
    measure({ answers: cache(), tenants: 1, distinct: 1e9 });
  scenarios['one tenant, reuse on, 100 different requests'] = () =>
    measure({ answers: cache(), tenants: 1, distinct: 1 });
}
const results = Object.fromEntries(Object.keys(scenarios).map((name) => [name, []]));
for (let round = -1; round < rounds; round++)
  for (const [name, scenario] of Object.entries(scenarios)) {
    const measured = await scenario();
    if (round >= 0) results[name].push(measured);
  }
const median = (list, pick) => list.map(pick).sort((a, b) => a - b)[list.length >> 1];
if (values.json) console.log(JSON.stringify(results));
else {
  console.log(
    `${callers} callers, median of ${rounds} rounds of ${seconds} s\n\n| scenario | requests/s | CPU µs each |\n|---|---|---|`,
  );
  for (const [name, list] of Object.entries(results)) {
    const perSecond = Math.round(median(list, (each) => each.perSecond)).toLocaleString('en');
    console.log(`| ${name} | ${perSecond} | ${median(list, (each) => each.cpuUs).toFixed(2)} |`);
  }
}
