// Many models, few in use: what a thousand deployed models cost in memory. Linux only (/proc).
//   node bench/density.mjs [--models 1000] [--active 50]
import { parseArgs } from 'node:util';
import { denseModel } from './onnx-model.mjs';
import { inferOnes, startPlatform } from './platform.mjs';
import { family, memoryMb } from './processes.mjs';

const { values } = parseArgs({
  options: { models: { type: 'string', default: '1000' }, active: { type: 'string', default: '50' } },
});
const models = Number(values.models);
const active = Number(values.active);
const name = (n) => `acme/model-${n}`;

async function inTurns(count, width, step) {
  let next = 0;
  const work = async () => {
    while (next < count) await step(next++);
  };
  await Promise.all(Array.from({ length: width }, work));
}

function memory(server, when) {
  const [gateway, ...runners] = family(server.pid).map((pid) => memoryMb(pid, 'Pss'));
  const rest = runners.reduce((sum, mb) => sum + mb, 0);
  console.log(
    `${when}: gateway ${gateway.toFixed(0)} MB + runners ${rest.toFixed(0)} MB = ${(gateway + rest).toFixed(0)} MB proportional (goal ≤ 1024 MB)`,
  );
}

let server = await startPlatform();
memory(server, 'empty');
const began = performance.now();
await inTurns(models, 4, async (n) => {
  await server.client.versions.import(name(n), denseModel([100, 128, 64, 1]));
  await server.client.deployments.create({ model: `${name(n)}:1` });
});
console.log(`${models} models imported and deployed in ${((performance.now() - began) / 1000).toFixed(0)} s`);
memory(server, `${models} deployed one after another`);
await server.stop({ keep: true });

const { folder, apiKey } = server;
server = await startPlatform({ folder, apiKey });
console.log(`started with ${models} deployments in ${server.readyMs.toFixed(0)} ms`);
memory(server, 'started again, nothing used');
const times = [];
await inTurns(active, 4, async (n) => {
  const sent = performance.now();
  await inferOnes(server, name(n * Math.floor(models / active)), 100);
  times.push(performance.now() - sent);
});
times.sort((a, b) => a - b);
console.log(
  `first request to each of ${active}: p50 ${times[times.length >> 1].toFixed(0)} ms, slowest ${times.at(-1).toFixed(0)} ms`,
);
await inTurns(active * 100, 16, (n) =>
  inferOnes(server, name((n % active) * Math.floor(models / active)), 100),
);
memory(server, `${active} in use`);
await server.stop();
