// The product beside the servers people use today, on the same machine in the same minutes: each peer in turn, rounds of
// product and peer alternating, so that drift of the machine hits both alike.
//   node bench/peers/install.mjs && node bench/peers/run.mjs [--peer NAME…] [--connections 1,8,64,256] [--seconds 5] [--rounds 3]
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { consumerOf, distinctRows } from '../example.mjs';
import { load, median, requireWrk } from '../load.mjs';
import { startCommonwatt } from '../servers.mjs';
import { peers, v2Binary } from './peers.mjs';

const { values } = parseArgs({
  options: {
    peer: { type: 'string', multiple: true },
    connections: { type: 'string', default: '64' },
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '3' },
  },
});
const [seconds, rounds] = [values.seconds, values.rounds].map(Number);
const connections = values.connections.split(',').map(Number);
requireWrk();

const scratch = mkdtempSync(join(tmpdir(), 'commonwatt-peers-'));
const rows = distinctRows(64);
const ours = await startCommonwatt();
const consumer = await consumerOf(ours);
const model = join(scratch, 'model.onnx');
writeFileSync(model, await exampleOnnx());
const jsonBodies = rows.map((row) =>
  JSON.stringify({ inputs: [{ name: 'input', shape: [1, row.length], datatype: 'FP32', data: row }] }),
);
const expected = await (
  await fetch(consumer.url, { method: 'POST', headers: consumer.headers, body: jsonBodies[0] })
).json();

console.log(
  '| connections | server | requests/s | p50 ms | p99 ms | CPU-s per 1,000 | failed |\n|---|---|---|---|---|---|---|',
);
for (const name of values.peer ?? Object.keys(peers)) {
  const peer = peers[name];
  if (!peer) throw new Error(`there is no peer ${name}; there are ${Object.keys(peers).join(', ')}`);
  let server;
  try {
    server = await start(name, peer);
    await compareWith(name, server);
  } catch (error) {
    console.log(`| | ${name} | could not be measured: ${error.message} | | | | |`);
  } finally {
    await server?.stop();
  }
}
await ours.stop();
rmSync(scratch, { recursive: true, force: true });

async function compareWith(name, server) {
  const binary = server.requests[0].headers['inference-header-content-length'] !== undefined;
  const mine = binary ? rows.map(v2Binary) : jsonBodies.map((body) => ({ body, headers: {} }));
  const contenders = {
    [name]: { url: server.url, requests: server.requests, headers: {}, pids: [server.pid] },
    [`Commonwatt${binary ? ', binary' : ', JSON'}`]: {
      url: consumer.url,
      requests: mine,
      headers: consumer.headers,
      pids: [ours.pid],
    },
  };
  for (const count of connections) {
    const results = Object.fromEntries(Object.keys(contenders).map((key) => [key, []]));
    for (let round = -1; round < rounds; round++) {
      for (const [key, { url, requests, headers, pids }] of Object.entries(contenders)) {
        const bodies = requests.map(({ body }) => body);
        const all = { ...headers, ...requests[0].headers };
        const seen = await load({
          url,
          bodies,
          headers: all,
          connections: count,
          seconds: round < 0 ? 2 : seconds,
          pids,
        });
        if (round >= 0) results[key].push(seen);
      }
    }
    for (const [key, seen] of Object.entries(results)) {
      const of = (field) => median(seen.map((result) => result[field]));
      const failed = seen.reduce((sum, result) => sum + result.failed, 0);
      console.log(
        `| ${count} | ${key} | ${Math.round(of('perSecond')).toLocaleString('en')} | ${of('p50Ms').toFixed(2)} | ${of('p99Ms').toFixed(2)} | ${of('cpuPer1000').toFixed(3)} | ${failed} |`,
      );
    }
  }
}

/** Starts a peer and waits until it gives the answer that the product gives. */
async function start(name, peer) {
  const port = await freePort();
  const folder = mkdtempSync(join(scratch, 'peer-'));
  const context = { port, model, scratch: folder };
  const [command, ...args] = peer.command(context);
  const child = spawn(command, args, {
    cwd: folder,
    // The group is ended as a whole: some of these start processes of their own.
    detached: true,
    stdio: ['ignore', 'ignore', process.env.BENCH_VERBOSE ? 'inherit' : 'ignore'],
    env: { ...process.env, BENCH_MODEL: model, OMP_NUM_THREADS: '1', ...peer.env?.() },
  });
  let ended = false;
  child.once('exit', () => {
    ended = true;
  });
  child.once('error', () => {
    ended = true;
  });
  const stop = async () => {
    const signal = (which) => {
      try {
        process.kill(-child.pid, which);
      } catch {
        // The group has ended.
      }
    };
    signal('SIGTERM');
    for (let waited = 0; waited < 50 && !ended; waited++) await sleep(100);
    signal('SIGKILL');
  };
  const url = `http://127.0.0.1:${port}${peer.path}`;
  const requests = rows.map((row) => peer.request(row));
  for (let tried = 0; tried < 120; tried++) {
    await sleep(500);
    if (ended) throw new Error('it ended while starting (BENCH_VERBOSE=1 shows what it says)');
    const answer = await fetch(url, { method: 'POST', ...requests[0] }).catch(() => undefined);
    if (!answer?.ok) continue;
    check(name, Buffer.from(await answer.arrayBuffer()), answer.headers);
    return { url, requests, pid: child.pid, stop };
  }
  await stop();
  throw new Error('it gave no answer within a minute');
}

/** The peer computes the same network: its answer is ours to float32. */
function check(name, body, headers) {
  const headBytes = Number(headers.get('inference-header-content-length') ?? 0);
  const value = headBytes > 0 ? body.readFloatLE(headBytes) : firstNumber(JSON.parse(body.toString()));
  const wanted = expected.outputs[0].data[0];
  if (Math.abs(value - wanted) > 1e-5) throw new Error(`${name} answers ${value} instead of ${wanted}`);
}

function firstNumber(answer) {
  let at = answer.outputs?.[0]?.data ?? answer.outputs ?? answer;
  while (Array.isArray(at)) at = at[0];
  return at;
}

async function exampleOnnx() {
  const { baseUrl, model: name, owner } = ours.example;
  const response = await fetch(`${baseUrl}/api/v1/models/${name}/versions/1/artifact?format=onnx`, {
    headers: { authorization: `Bearer ${owner.apiKey}` },
  });
  if (!response.ok) throw new Error(await response.text());
  return Buffer.from(await response.arrayBuffer());
}

function freePort() {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}
