// The same model on the processor and on an accelerator: requests, joules of a row, and whether the meter agrees with the
// card's own energy counter (NVML, read through the PyPI package nvidia-ml-py where python3 has it).
//   node bench/accelerator.mjs [--providers webgpu,cuda] [--seconds 15] [--connections 64] [--rows 16] [--width 4096]
import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Commonwatt } from '@commonwatt/client';
import { denseModel } from './onnx-model.mjs';
import { startPlatform } from './platform.mjs';

const { values } = parseArgs({
  options: {
    providers: { type: 'string', default: 'webgpu' },
    seconds: { type: 'string', default: '15' },
    connections: { type: 'string', default: '64' },
    rows: { type: 'string', default: '16' },
    width: { type: 'string', default: '4096' },
  },
});
const [seconds, connections, rows, width] = [
  values.seconds,
  values.connections,
  values.rows,
  values.width,
].map(Number);

const nvml = `import pynvml as n
n.nvmlInit()
h = [n.nvmlDeviceGetHandleByIndex(i) for i in range(n.nvmlDeviceGetCount())]
print(sum(n.nvmlDeviceGetTotalEnergyConsumption(x) for x in h) / 1000)`;
function counterJ() {
  try {
    return Number(execFileSync('python3', ['-c', nvml], { stdio: ['ignore', 'pipe', 'ignore'] }));
  } catch {
    return null;
  }
}

const server = await startPlatform({ env: { COMMONWATT_CACHE_BYTES: '0' } });
const operator = new Commonwatt({ baseUrl: server.baseUrl, apiKey: server.operatorKey });
const artifact = denseModel([64, width, width, width, 16]);
console.log(
  `${(artifact.length / 1e6).toFixed(0)} MB of weights, ${rows} rows a request, ${connections} connections, ${seconds} s each`,
);

async function deploy(provider) {
  const name = `acme/dense-${provider}`;
  await server.client.versions.import(name, artifact);
  await server.client.deployments.create({
    model: `${name}:1`,
    settings: { executionProviders: [provider], maxBatchSize: 1024 },
  });
  return name;
}

async function ask(name, data) {
  const body = JSON.stringify({
    inputs: [{ name: 'input', shape: [rows, 64], datatype: 'FP32', data }],
  });
  const answer = await fetch(`${server.baseUrl}/v2/models/${name.replace('/', '--')}/infer`, {
    method: 'POST',
    headers: { authorization: `Bearer ${server.apiKey}`, 'content-type': 'application/json' },
    body,
  });
  if (answer.status !== 200) throw new Error(`${name}: ${answer.status} ${await answer.text()}`);
  return (await answer.json()).outputs[0].data;
}

const percent = (part) => (part === undefined || part === null ? 'unknown' : `${(100 * part).toFixed(0)} %`);
const random = () => Array.from({ length: rows * 64 }, () => Math.random());

async function load(name, forMs) {
  const until = performance.now() + forMs;
  let count = 0;
  await Promise.all(
    Array.from({ length: connections }, async () => {
      for (; performance.now() < until; count++) await ask(name, random());
    }),
  );
  return count;
}

/** Watts of accelerators while nobody asks, by their counter. */
async function idleW() {
  const before = counterJ();
  if (before === null) return null;
  await sleep(5000);
  return (counterJ() - before) / 5;
}

const reference = await deploy('cpu');
const sample = random();
const expected = await ask(reference, sample);
const idle = await idleW();
console.log(`idle by the counter: ${idle === null ? 'no counter here' : `${idle.toFixed(1)} W`}`);
console.log(
  '| provider | rows/s | mWh per 1,000 rows, booked | meter, J | counter of the card, J | RUR of the card | largest difference to cpu |',
);
console.log('|---|---|---|---|---|---|---|');
for (const provider of ['cpu', ...values.providers.split(',')]) {
  const name = provider === 'cpu' ? reference : await deploy(provider);
  const got = await ask(name, sample);
  const scale = Math.max(...expected.map(Math.abs));
  const difference = Math.max(...got.map((value, index) => Math.abs(value - expected[index]))) / scale;
  await load(name, 2000);
  await sleep(1500);
  const from = new Date().toISOString();
  await operator.impact({ from, to: new Date(Date.now() + 1).toISOString() });
  const before = counterJ();
  const requests = await load(name, seconds * 1000);
  const after = counterJ();
  const to = new Date().toISOString();
  await sleep(1500);
  const report = await operator.impact({ from, to, groupBy: 'model' });
  const group = report.groups.find(({ by }) => by.model === name);
  const meterJ = report.split.meterWh * 3600;
  console.log(
    `| ${provider} | ${Math.round((requests * rows) / seconds)} | ${group ? ((group.energyWh * 1e6) / (requests * rows)).toFixed(2) : '?'} | ${meterJ.toFixed(0)} | ${before === null ? 'none' : (after - before).toFixed(0)} | ${percent(report.rur.accelerator?.usedOverSupplied)} | ${difference.toExponential(1)} |`,
  );
}
await server.stop();
