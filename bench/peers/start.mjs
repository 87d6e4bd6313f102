// Starts a peer in a group of processes of its own, waits until it gives the right answer, and ends it as a whole.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { environmentOf } from './install.mjs';
import { peers } from './peers.mjs';
import { checkAnswer } from './product.mjs';
import { withoutMark } from './workloads.mjs';

const running = new Set();
process.on('exit', () => {
  for (const pid of running) signal(pid, 'SIGKILL');
});
for (const name of ['SIGINT', 'SIGTERM']) process.on(name, () => process.exit(1));

/** `file`: the workload's model. Throws, and says why, when the peer is not installed or does not start. */
export async function startPeer(name, { workload, file, scratch }) {
  const peer = peers[name];
  if (!peer) throw new Error(`there is no peer ${name}; there are ${Object.keys(peers).join(', ')}`);
  if (!existsSync(environmentOf(peer.environment)))
    throw new Error(`not installed: node bench/peers/install.mjs ${peer.environment}`);
  const port = await freePorts();
  const folder = mkdtempSync(join(scratch, 'peer-'));
  const [command, ...args] = peer.command({ port, file, workload, scratch: folder });
  const child = spawn(command, args, {
    cwd: folder,
    detached: true,
    stdio: ['ignore', 'ignore', process.env.BENCH_VERBOSE ? 'inherit' : 'ignore'],
    env: { ...process.env, BENCH_MODEL: file, OMP_NUM_THREADS: '1', ...peer.env },
  });
  running.add(child.pid);
  const state = { ended: false };
  for (const event of ['exit', 'error'])
    child.once(event, () => {
      state.ended = true;
    });
  const stop = () => end(child.pid, state);
  const requests = workload.rows.map((row) => peer.request(workload, row));
  const url = `http://127.0.0.1:${port}${peer.path}`;
  try {
    await answers(name, url, requests[0], workload, state);
  } catch (error) {
    await stop();
    throw error;
  }
  const { headers } = requests[0];
  const bodies = requests.map(({ body }) => body);
  return { name, url, headers, bodies, pids: [child.pid], grpcPort: peer.grpcPort?.(port), stop };
}

async function answers(name, url, request, workload, state) {
  for (let tried = 0; tried < 240; tried++) {
    await sleep(500);
    if (state.ended) throw new Error('it ended while starting (BENCH_VERBOSE=1 shows what it says)');
    const answer = await fetch(url, { method: 'POST', ...withoutMark(request) }).catch(() => undefined);
    if (!answer?.ok) continue;
    checkAnswer(name, workload, Buffer.from(await answer.arrayBuffer()), answer.headers);
    return;
  }
  throw new Error('it gave no answer within two minutes');
}

async function end(pid, state) {
  signal(pid, 'SIGTERM');
  for (let waited = 0; waited < 50 && !state.ended; waited++) await sleep(100);
  signal(pid, 'SIGKILL');
  running.delete(pid);
}

/** To the whole group: some of these start processes of their own. */
function signal(pid, which) {
  try {
    process.kill(-pid, which);
  } catch {
    // The group has ended.
  }
}

/** Of three free ports in a row the first: some listen on those beside theirs, too. */
async function freePorts() {
  for (;;) {
    const first = await listenOn(0);
    if (first && (await listenOn(first + 1)) && (await listenOn(first + 2))) return first;
  }
}

/** The port when it could be had (it is free again); else undefined. */
function listenOn(wanted) {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(undefined));
    probe.listen(wanted, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}
