// Single-row ModelInfer over gRPC with raw contents, everything on (keys, policy, quota, ledger, headers), each request
// computed (`cache-control: no-store`), against the limits of gRPC on Node. Rounds alternate, so drift of the machine
// hits all alike. Load comes from h2load (Debian package nghttp2-client), which leaves the cores to the servers.
//   node bench/grpc.mjs [--connections 1,64] [--seconds 5] [--rounds 5] [--also NAME=HOST:PORT/MODEL,PID]…
// `--also` puts another server of the Open Inference Protocol into the same rounds, e.g. Triton with the same network.
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { create, toBinary } from '@bufbuild/protobuf';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import {
  GRPCInferenceService,
  ModelInferRequestSchema,
} from '../dist/api/inference/proto/open_inference_grpc_pb.js';
import { consumerOf, distinctRows } from './example.mjs';
import { median } from './load.mjs';
import { familySeconds } from './processes.mjs';
import { startCommonwatt, startScript } from './servers.mjs';

const { values } = parseArgs({
  options: {
    connections: { type: 'string', default: '1,64' },
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '5' },
    also: { type: 'string', multiple: true, default: [] },
  },
});
const [seconds, rounds] = [values.seconds, values.rounds].map(Number);
try {
  execFileSync('h2load', ['--version'], { stdio: 'ignore' });
} catch {
  console.error('h2load is missing: install the package nghttp2-client (apt-get install nghttp2-client)');
  process.exit(1);
}

const scratch = mkdtempSync(join(tmpdir(), 'commonwatt-grpc-'));
const row = Float32Array.from(distinctRows(1)[0]);
const requestOf = (modelName) => ({
  modelName,
  inputs: [{ name: 'input', datatype: 'FP32', shape: [1n, BigInt(row.length)] }],
  rawInputContents: [new Uint8Array(row.buffer)],
});

const ours = await startCommonwatt();
const { headers } = await consumerOf(ours);
const key = { authorization: headers.authorization };
const servers = {
  'Commonwatt, everything on': {
    address: ours.example.grpcAddress,
    model: ours.example.model,
    pid: ours.pid,
    headers: { ...key, 'cache-control': 'no-store' },
  },
  'Commonwatt, the same request from the cache': {
    address: ours.example.grpcAddress,
    model: ours.example.model,
    pid: ours.pid,
    headers: key,
  },
};
const echoes = [];
for (const [name, BENCH_KIND] of [
  ['Connect, a fixed answer', 'connect'],
  ['node:http2, an echo', 'raw'],
]) {
  const echo = await startScript('./grpc-echo.mjs', { BENCH_KIND });
  echoes.push(echo);
  servers[name] = { address: echo.url, model: 'echo', pid: echo.pid, headers: {} };
}
for (const text of values.also) {
  const [, name, address, model, pid] = /^(.+)=([^/]+)\/([^,]+),(\d+)$/.exec(text) ?? [];
  if (!name) throw new Error(`--also ${text} is not NAME=HOST:PORT/MODEL,PID`);
  servers[name] = { address, model, pid: Number(pid), headers: {} };
}

console.log(
  '| connections | server | requests/s | p50 ms | p99 ms | CPU-s per 1,000 |\n|---|---|---|---|---|---|',
);
for (const connections of values.connections.split(',').map(Number)) {
  const results = Object.fromEntries(Object.keys(servers).map((name) => [name, []]));
  for (let round = -1; round < rounds; round++) {
    for (const [name, server] of Object.entries(servers)) {
      await checkAnswer(name, server);
      const result = await load(server, connections, round < 0 ? 2 : seconds);
      if (round >= 0) results[name].push(result);
    }
  }
  for (const [name, rows] of Object.entries(results)) {
    const of = (figure) => median(rows.map((result) => result[figure]));
    console.log(
      `| ${connections} | ${name} | ${Math.round(of('perSecond')).toLocaleString('en')} | ${of('p50Ms').toFixed(2)} | ${of('p99Ms').toFixed(2)} | ${of('cpuPer1000').toFixed(3)} |`,
    );
  }
}
await Promise.all([ours.stop(), ...echoes.map((echo) => echo.stop())]);
rmSync(scratch, { recursive: true, force: true });

/** h2load sees the status of HTTP only: that the call is right is checked by a client that reads all of it. */
async function checkAnswer(name, { address, model, headers: metadata }) {
  if (name.includes('an echo')) return;
  const client = createClient(GRPCInferenceService, createGrpcTransport({ baseUrl: `http://${address}` }));
  const { rawOutputContents } = await client.modelInfer(requestOf(model), { headers: metadata });
  if (rawOutputContents[0]?.length !== 4) throw new Error(`${name} did not answer with one number`);
}

async function load({ address, model, pid, headers: metadata }, connections, duration) {
  const message = toBinary(ModelInferRequestSchema, create(ModelInferRequestSchema, requestOf(model)));
  const frame = Buffer.alloc(5 + message.length);
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, 5);
  const [body, log] = [join(scratch, 'body'), join(scratch, 'log')];
  writeFileSync(body, frame);
  const given = { 'content-type': 'application/grpc', te: 'trailers', ...metadata };
  const before = familySeconds([pid]);
  const answered = await answeredBy(address);
  await run('h2load', [
    ...['-t1', `-c${connections}`, '-m1', `-D${duration}`, '-d', body, `--log-file=${log}`],
    ...Object.entries(given).flatMap(([name, value]) => ['-H', `${name}: ${value}`]),
    `http://${address}/inference.GRPCInferenceService/ModelInfer`,
  ]);
  const used = familySeconds([pid]) - before;
  const rows = readFileSync(log, 'utf8')
    .trim()
    .split('\n')
    .map((line) => line.split('\t').map(Number));
  rmSync(log);
  if (rows.some(([, status]) => status !== 200)) throw new Error(`${address}: a request failed`);
  const since = (await answeredBy(address)) - answered;
  if (answered >= 0 && since < rows.length)
    throw new Error(`${address}: of ${rows.length} requests ${since} succeeded`);
  const times = rows.map(([, , micros]) => micros).sort((a, b) => a - b);
  return {
    perSecond: rows.length / duration,
    p50Ms: times[Math.floor(times.length / 2)] / 1000,
    p99Ms: times[Math.floor(times.length * 0.99)] / 1000,
    cpuPer1000: used / (rows.length / 1000),
  };
}

/** Requests that our server counts as answered, since h2load cannot tell; −1 for other servers. */
async function answeredBy(address) {
  if (address !== ours.example.grpcAddress) return -1;
  const { baseUrl, model, owner } = ours.example;
  const stats = await fetch(`${baseUrl}/v2/models/${model}/stats`, {
    headers: { authorization: `Bearer ${owner.apiKey}` },
  });
  return (await stats.json()).model_stats[0].inference_stats.success.count;
}

function run(command, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: 'ignore' });
    child.on('error', reject);
    child.on('exit', (code) => (code === 0 ? resolve() : reject(new Error(`${command} ended with ${code}`))));
  });
}
