// What the server costs when nobody calls: time to ready, resident memory, CPU. Linux only (/proc).
//   node bench/idle.mjs [--seconds 30]
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { cpuSeconds, family, memoryMb } from './processes.mjs';
import { startCommonwatt } from './servers.mjs';

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '30' } } });

const first = await startCommonwatt();
await first.stop(true);
const server = await startCommonwatt({ data: first.folder });
// Past the garbage collection that follows a start.
await sleep(30_000);
const pids = family(server.pid);
const before = pids.map(cpuSeconds);
const start = performance.now();
await sleep(Number(values.seconds) * 1000);
const elapsed = (performance.now() - start) / 1000;
const used = pids.map((pid, index) => cpuSeconds(pid) - before[index]);
console.log(`ready after ${(server.readyMs / 1000).toFixed(2)} s (second start; goal ≤ 2 s)`);
pids.forEach((pid, index) => {
  const name = index === 0 ? 'server' : 'runner';
  console.log(
    `${name}: ${memoryMb(pid, 'Rss').toFixed(0)} MB resident, ${memoryMb(pid, 'Pss').toFixed(0)} MB proportional, ${((100 * used[index]) / elapsed).toFixed(2)} % of a core`,
  );
});
const total = (field) => pids.reduce((sum, pid) => sum + memoryMb(pid, field), 0).toFixed(0);
console.log(
  `together: ${total('Pss')} MB proportional (goal ≤ 150 MB), ${((100 * used.reduce((a, b) => a + b, 0)) / elapsed).toFixed(2)} % of a core (goal ≤ 0.5 %)`,
);
await server.stop();
