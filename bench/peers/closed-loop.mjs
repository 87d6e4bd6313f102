// Load for models that take long: callers that each send their next request when they have their answer, and a window
// that begins and ends with a batch. A window of fixed length would count a whole batch more or less.
import { Agent, request } from 'node:http';
import { familySeconds } from '../processes.mjs';

export async function closedLoop({ url, bodies, headers, connections, seconds, pids }) {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const state = { next: 0, failed: 0, seen: [], from: undefined, until: Number.POSITIVE_INFINITY };
  const cpuBefore = familySeconds(pids);
  const caller = async () => {
    while (performance.now() < state.until) {
      const sent = performance.now();
      const status = await post(agent, url, headers, bodies[state.next++ % bodies.length]);
      if (status !== 200) state.failed++;
      const at = performance.now();
      state.seen.push({ at, ms: at - sent });
      // What everybody's first request brings about is no steady state.
      if (state.from === undefined && state.seen.length >= 2 * connections) {
        state.from = at;
        state.until = at + seconds * 1000;
      }
    }
  };
  await Promise.all(Array.from({ length: connections }, caller));
  agent.destroy();
  const inside = betweenBatches(state);
  const times = inside.map(({ ms }) => ms).sort((a, b) => a - b);
  return {
    requests: state.seen.length,
    perSecond: (inside.length - 1) / ((inside.at(-1).at - inside[0].at) / 1000),
    p50Ms: times[Math.floor(times.length / 2)],
    p99Ms: times[Math.floor(times.length * 0.99)],
    failed: state.failed,
    cpuPer1000: (familySeconds(pids) - cpuBefore) / (state.seen.length / 1000),
  };
}

/** Answers come in bursts: from the last of one burst to the last of another; within a burst the gaps are far below their mean. */
function betweenBatches({ seen, from, until }) {
  const gap = (index) => seen[index + 1].at - seen[index].at;
  const mean = (seen.at(-1).at - seen[0].at) / (seen.length - 1);
  const ends = [...seen.keys()].filter(
    (index) =>
      index < seen.length - 1 && seen[index].at >= from && seen[index].at <= until && gap(index) >= mean / 2,
  );
  if (ends.length < 2) throw new Error('the window is shorter than two batches: give it more seconds');
  return seen.slice(ends[0], ends.at(-1) + 1);
}

function post(agent, url, headers, body) {
  return new Promise((resolve, reject) => {
    const options = {
      method: 'POST',
      agent,
      headers: { ...headers, 'content-length': Buffer.byteLength(body) },
    };
    const sent = request(url, options, (answer) => {
      answer.resume();
      answer.on('end', () => resolve(answer.statusCode));
      answer.on('error', reject);
    });
    sent.on('error', reject);
    sent.end(body);
  });
}
