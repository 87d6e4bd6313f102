// The first request to a large model that is not in memory, and what unloading it gives back. Linux only (/proc).
//   node bench/cold-start.mjs [--mb 100] [--rounds 5]
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { denseModel } from './onnx-model.mjs';
import { inferOnes, startPlatform } from './platform.mjs';
import { cpuSeconds, family, memoryMb } from './processes.mjs';

const { values } = parseArgs({
  options: { mb: { type: 'string', default: '100' }, rounds: { type: 'string', default: '5' } },
});
const mb = Number(values.mb);
const columns = 1024;
// Each layer of 1,024 units has 4 MiB of weights.
const artifact = denseModel(
  Array.from({ length: Math.round((mb * 1e6) / (columns * columns * 4)) + 1 }, () => columns),
);

function memory(server, when) {
  const [gateway, ...runners] = family(server.pid).map((pid) => memoryMb(pid, 'Rss'));
  const rest = runners.map((one) => `${one.toFixed(0)} MB`).join(', ') || 'none';
  console.log(`${when}: gateway ${gateway.toFixed(0)} MB, runners ${rest} resident`);
}

/** The stored blob, read from the page cache: what no loading can go below. */
function readingMs(folder) {
  const blobs = readdirSync(join(folder, 'blobs'), { recursive: true })
    .map((name) => join(folder, 'blobs', name))
    .filter((file) => statSync(file).isFile() && statSync(file).size > mb * 5e5);
  const began = performance.now();
  for (const file of blobs) readFileSync(file);
  return performance.now() - began;
}

const server = await startPlatform({ env: { COMMONWATT_CONFIG: '' } });
await server.client.versions.import('acme/large', artifact);
await server.client.versions.import('acme/small', denseModel([columns, 1]));
// The small one keeps the runner process alive, as in a server at work.
await server.client.deployments.create({ model: 'acme/small:1', settings: { pinned: true } });
// An answer used again would need no model.
const settings = { idleUnloadS: 1, cache: { enabled: false } };
const { id } = await server.client.deployments.create({ model: 'acme/large:1', settings });
console.log(
  `${(artifact.length / 1e6).toFixed(0)} MB, SHA-256 ${createHash('sha256').update(artifact).digest('hex').slice(0, 12)}`,
);
const cold = [];
const warm = [];
const used = [];
for (let round = 0; round < Number(values.rounds); round++) {
  while ((await server.client.deployments.get(id)).state !== 'idle') await sleep(100);
  await sleep(500);
  memory(server, 'unloaded');
  const before = family(server.pid).map(cpuSeconds);
  let sent = performance.now();
  await inferOnes(server, 'acme/large', columns);
  cold.push(performance.now() - sent);
  family(server.pid).forEach((pid, index) => {
    used[index] = (used[index] ?? 0) + cpuSeconds(pid) - (before[index] ?? 0);
  });
  sent = performance.now();
  await inferOnes(server, 'acme/large', columns);
  warm.push(performance.now() - sent);
  memory(server, 'loaded');
}
const median = (times) => times.sort((a, b) => a - b)[times.length >> 1];
const reading = median(Array.from({ length: 5 }, () => readingMs(server.folder)));
console.log(`reading the file: ${reading.toFixed(0)} ms; warm request: ${median(warm).toFixed(1)} ms`);
console.log(
  `first request when unloaded: median ${median(cold).toFixed(0)} ms, slowest ${cold.at(-1).toFixed(0)} ms (goal ≤ ${(reading + 1000).toFixed(0)} ms)`,
);
const [gateway, ...runners] = used.map((seconds) => seconds / cold.length);
console.log(
  `CPU of a cold start: gateway ${gateway.toFixed(2)} s, runner ${runners.reduce((a, b) => a + b, 0).toFixed(2)} s`,
);
await server.stop();
