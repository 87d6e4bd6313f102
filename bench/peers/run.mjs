// The product beside the servers people use today and beside the limits, on the same machine in the same minutes. The
// tables go to stdout as markdown, what is being done to stderr.
//   node bench/peers/install.mjs && node bench/peers/run.mjs --all                        (less than 20 minutes)
//   node bench/peers/run.mjs [--only limits|raw|example|convolution|encoder|grpc]… [--peer NAME]…
//     [--connections 1,8,64,256] [--seconds 2] [--rounds 3]
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { exampleBytes } from '../example.mjs';
import { median, requireWrk } from '../load.mjs';
import { compare } from './compare.mjs';
import { installed } from './install.mjs';
import { peers } from './peers.mjs';
import { contender, expectAnswers, serve, startProduct } from './product.mjs';
import { rawSession } from './raw.mjs';
import { startPeer } from './start.mjs';
import { convolutionWorkload, encoderWorkload, exampleWorkload } from './workloads.mjs';

const { values } = parseArgs({
  options: {
    all: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true },
    peer: { type: 'string', multiple: true },
    connections: { type: 'string' },
    seconds: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '3' },
  },
});
const [seconds, rounds] = [values.seconds, values.rounds].map(Number);
const connections = values.connections?.split(',').map(Number);
const sections = { limits, raw, example, convolution, encoder, grpc };
const chosen = values.only ?? (values.all ? Object.keys(sections) : ['example']);
for (const name of chosen)
  if (!sections[name]) throw new Error(`there is no ${name}; there are ${Object.keys(sections).join(', ')}`);
requireWrk();

const began = performance.now();
const scratch = mkdtempSync(join(tmpdir(), 'commonwatt-peers-'));
const notMeasured = ['Triton with an onnxruntime back end: the wheel of nvidia-pytriton carries none'];
const perfAnalyzer = spawnSync(process.env.COMMONWATT_PERF_ANALYZER ?? 'perf_analyzer', ['--version']);
if (perfAnalyzer.status !== 0) {
  const why = perfAnalyzer.error?.code === 'ENOENT' ? 'is not on the path' : 'does not start';
  notMeasured.push(`perf_analyzer ${why} (its binary needs glibc 2.38; bench/perf-analyzer.mjs asks it)`);
}
console.log(
  `${cpus().length} × ${cpus()[0].model}, Node ${process.version}, load average before ${loadavg()[0].toFixed(1)}; median of ${rounds} rounds of ${seconds} s.`,
);
console.log(`\nPeers: ${installed().join(', ') || 'none is installed'}.`);
const product = await startProduct();
const workloads = {
  example: exampleWorkload(await exampleBytes(product)),
  convolution: convolutionWorkload(),
  encoder: encoderWorkload(),
};
for (const workload of Object.values(workloads)) {
  await expectAnswers(workload);
  workload.file = join(scratch, `${workload.model}.onnx`);
  writeFileSync(workload.file, workload.bytes);
}
for (const name of chosen) {
  say(name);
  try {
    await sections[name]();
  } catch (error) {
    leaveOut(name, error);
  }
}
await product.stop();
rmSync(scratch, { recursive: true, force: true });
if (notMeasured.length > 0)
  console.log(`\n## Not measured\n\n${notMeasured.map((text) => `- ${text}`).join('\n')}`);
say(`took ${((performance.now() - began) / 60_000).toFixed(1)} minutes`);

async function limits() {
  console.log('\n## The limits, the example network over HTTP');
  const only = [
    'Commonwatt, JSON',
    'Commonwatt, binary',
    'gathering Fastify, onnxruntime in process',
    'bare Fastify, same body and reply',
    'node:http echo',
  ].flatMap((name) => ['--only', name]);
  await script('../inference.mjs', ['--connections', (connections ?? [1, 64]).join(','), ...only]);
}

/** What one thread can do with a model, by the rows of a run. */
async function raw() {
  console.log('\n## Raw onnxruntime sessions, one thread: rows/s (CPU-s per 1,000)\n');
  const sizes = [1, 4, 8, 16, 64];
  console.log(`| model | ${sizes.join(' | ')} |\n|---|${'---|'.repeat(sizes.length)}`);
  for (const workload of Object.values(workloads)) {
    const measure = await rawSession(workload);
    const seen = new Map(sizes.map((size) => [size, []]));
    for (let round = 0; round < rounds; round++)
      for (const size of sizes) seen.get(size).push(await measure(size, Math.min(1, seconds)));
    const cells = [...seen.values()].map((results) => {
      const of = (field) => median(results.map((result) => result[field]));
      return `${Number(of('perSecond').toPrecision(4)).toLocaleString('en')} (${of('cpuPer1000').toPrecision(2)})`;
    });
    console.log(`| ${workload.title} | ${cells.join(' | ')} |`);
  }
}

async function example() {
  const workload = workloads.example;
  console.log(`\n## ${workload.title}, over HTTP`);
  const served = await serve(product, workload);
  const [json, binary] = [await contender(served, 'JSON'), await contender(served, 'binary')];
  const names = values.peer ?? Object.keys(peers).filter((name) => !name.includes('2 instances'));
  const quick = names.filter((name) => /Triton|FastAPI/.test(name));
  // Those that keep the machine busy even when nobody asks are measured alone.
  const groups = [quick, ...names.filter((name) => !quick.includes(name)).map((name) => [name])];
  for (const group of groups.filter(({ length }) => length > 0)) {
    const own = group.some((name) => name.includes('binary')) ? [json, binary] : [json];
    const counts = connections ?? (group === quick ? [1, 8, 64, 256] : [1, 64]);
    await beside(own, group, workload, { connections: counts });
  }
}

async function convolution() {
  await heavy(workloads.convolution, /binary|FastAPI|KServe|MLServer/);
}

async function encoder() {
  await heavy(workloads.encoder, /binary|2 workers/);
}

/** Where computing dominates: also with a second runner, as some peers compute in two processes on these cores. */
async function heavy(workload, usual) {
  console.log(`\n## ${workload.title}, over HTTP`);
  const measure = await rawSession(workload);
  const two = await startProduct({ COMMONWATT_RUNNERS: '2' });
  try {
    const served = await serve(product, workload);
    const doubled = await serve(two, workload, { replicas: 2 });
    const own = [
      await contender(served, 'binary'),
      await contender(served, 'JSON'),
      await contender(doubled, 'binary', 'Commonwatt, binary, 2 runners'),
    ];
    const names = values.peer ?? Object.keys(peers).filter((name) => usual.test(name));
    const counts = connections ?? [1, 8, 64];
    await beside(own, names, workload, { connections: counts, slow: workload.slow, raw: measure });
  } finally {
    await two.stop();
  }
}

/** Ours and these peers in one table; whoever does not start is named. */
async function beside(own, names, workload, options) {
  const started = [];
  for (const name of names) {
    say(`  ${name}`);
    try {
      const peer = await startPeer(name, { workload, file: workload.file, scratch });
      const pair = name.includes('2 instances') ? '2 runners' : name.includes('binary') ? 'binary' : 'JSON';
      const reference = own.find(({ name: label }) => label.endsWith(pair))?.name;
      // They answer one request after another; more callers change little.
      const few = /KServe|MLServer/.test(name) && options.raw ? { connections: [64] } : {};
      started.push({ ...peer, ...few, reference });
    } catch (error) {
      leaveOut(`${workload.model}, ${name}`, error);
    }
  }
  if (started.length === 0) return;
  try {
    const lost = await compare([...own, ...started], { ...options, seconds, rounds });
    notMeasured.push(...lost.map((text) => `${workload.model}, ${text}`));
  } finally {
    await Promise.all(started.map(({ stop }) => stop()));
  }
}

async function grpc() {
  console.log('\n## The example network over gRPC\n');
  const also = [];
  let peer;
  try {
    const { example: workload } = workloads;
    peer = await startPeer('Triton (Python back end), binary', { workload, file: workload.file, scratch });
    also.push('--also', `Triton (Python back end)=127.0.0.1:${peer.grpcPort}/example,${peer.pids[0]}`);
  } catch (error) {
    leaveOut('gRPC, Triton', error);
  }
  await script('../grpc.mjs', ['--connections', (connections ?? [1, 64]).join(','), ...also]);
  await peer?.stop();
}

async function script(file, args) {
  const path = fileURLToPath(new URL(file, import.meta.url));
  const all = [path, ...args, '--seconds', String(seconds), '--rounds', String(rounds)];
  const child = spawn(process.execPath, all, { stdio: ['ignore', 'inherit', 'inherit'] });
  const code = await new Promise((resolve) => child.once('exit', resolve));
  if (code !== 0) notMeasured.push(`${file.slice(3)} ended with ${code}`);
}

function leaveOut(what, { message }) {
  say(`  ${what}: ${message}`);
  notMeasured.push(`${what}: ${message.split('\n')[0]}`);
}

function say(text) {
  console.error(`${new Date().toISOString().slice(11, 19)} ${text}`);
}
