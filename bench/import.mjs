// What an import of a large model costs everybody else: how long the gateway's event loop stands still at most, how
// long requests to another model take meanwhile, and the memory of all processes at its highest. Linux only (/proc).
//   node bench/import.mjs [--mb 100] [--format onnx|h5]
import { readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { writeKerasH5 } from '../dist/models/formats/keras-h5-write.js';
import { denseModel } from './onnx-model.mjs';
import { inferOnes, startPlatform } from './platform.mjs';
import { cpuSeconds, family, memoryMb } from './processes.mjs';

const { values } = parseArgs({
  options: { mb: { type: 'string', default: '100' }, format: { type: 'string', default: 'onnx' } },
});
// A handful of layers in a Keras file, many of 4 MiB otherwise.
const columns = values.format === 'h5' ? Math.round(Math.sqrt((Number(values.mb) * 1e6) / 16)) : 1024;
const widths = Array.from(
  { length: Math.round((Number(values.mb) * 1e6) / (columns * columns * 4)) + 1 },
  () => columns,
);

function kerasModel() {
  const layers = widths.slice(1).map((units, i) => ({
    name: `dense_${i}`,
    type: 'dense',
    units,
    activation: 'relu',
    kernel: Float32Array.from({ length: columns * units }, (_, at) => ((at * 7919 + i) % 1000) / 1e4),
    bias: new Float32Array(units),
  }));
  return writeKerasH5({ name: 'large', inputSize: columns, layers });
}

/**
 * Runs in the gateway before its own code: on a signal it writes the longest standstill since the last one, by the
 * clock and by what its main thread computed meanwhile, which leaves out the time that others had the processor.
 */
const watch = `
import { readFileSync, writeFileSync } from 'node:fs';
if (process.argv.includes('up')) {
  const computed = () => Number(readFileSync('/proc/self/schedstat', 'utf8').split(' ')[0]) / 1e6;
  let at = performance.now();
  let used = computed();
  let longest = [0, 0];
  const turn = () => {
    const now = performance.now();
    const sum = computed();
    longest = [Math.max(longest[0], now - at), Math.max(longest[1], sum - used)];
    at = now;
    used = sum;
  };
  setInterval(turn, 2).unref();
  process.on('SIGUSR2', () => {
    writeFileSync(process.env.BENCH_DELAY, longest.join(' '));
    longest = [0, 0];
  });
}`;

const artifact = values.format === 'h5' ? await kerasModel() : denseModel(widths);
const file = join(tmpdir(), `commonwatt-bench-delay-${process.pid}`);
const server = await startPlatform({
  env: {
    COMMONWATT_CONFIG: '',
    BENCH_DELAY: file,
    NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(watch)}`,
  },
});

async function longestMs() {
  rmSync(file, { force: true });
  process.kill(server.pid, 'SIGUSR2');
  for (;;) {
    await sleep(20);
    try {
      const text = readFileSync(file, 'utf8');
      if (text) return text.split(' ').map(Number);
    } catch {
      // Not there yet.
    }
  }
}

function used(measure) {
  return family(server.pid).reduce((sum, pid) => {
    try {
      return sum + measure(pid);
    } catch {
      return sum;
    }
  }, 0);
}

const others = { done: false, times: [] };
async function inferMeanwhile() {
  while (!others.done) {
    const sent = performance.now();
    await inferOnes(server, 'acme/small', 16);
    others.times.push(performance.now() - sent);
    await sleep(5);
  }
}

const memory = { done: false, peak: 0, before: 0 };
async function watchMemory() {
  while (!memory.done) {
    memory.peak = Math.max(
      memory.peak,
      used((pid) => memoryMb(pid, 'Pss')),
    );
    await sleep(50);
  }
}

await server.client.versions.import('acme/small', denseModel([16, 1]));
await server.client.deployments.create({
  model: 'acme/small:1',
  settings: { pinned: true, cache: { enabled: false } },
});
for (let i = 0; i < 50; i++) await inferOnes(server, 'acme/small', 16);
await sleep(1000);
memory.before = used((pid) => memoryMb(pid, 'Pss'));
const cpuBefore = cpuSeconds(server.pid);
await longestMs();
const watching = [inferMeanwhile(), watchMemory()];
const began = performance.now();
await server.client.versions.import('acme/large', artifact);
const tookMs = performance.now() - began;
const [standstill, computing] = await longestMs();
memory.done = true;
others.done = true;
await Promise.all(watching);
const times = others.times.sort((a, b) => a - b);
const at = (share) => times[Math.floor(share * (times.length - 1))].toFixed(1);
console.log(
  [
    `${values.format}, ${(artifact.length / 1e6).toFixed(0)} MB: imported in ${(tookMs / 1000).toFixed(1)} s`,
    `longest standstill of the gateway ${standstill.toFixed(0)} ms; longest piece of computing ${computing.toFixed(0)} ms`,
    `its own CPU time ${(cpuSeconds(server.pid) - cpuBefore).toFixed(2)} s`,
    `${times.length} requests to another model meanwhile: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, longest ${at(1)} ms`,
    `memory of all processes ${memory.before.toFixed(0)} MB before, ${memory.peak.toFixed(0)} MB at most`,
  ].join('\n  '),
);
await server.stop();
