// Load from wrk (Debian package `wrk`): light enough to leave the cores to the servers.
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { familySeconds } from './processes.mjs';

/** Eight characters that each request replaces by eight digits of its own. */
export const uniqueMark = '@@@@@@@@';

export function requireWrk() {
  try {
    execFileSync('wrk', ['-v'], { stdio: 'ignore' });
  } catch (error) {
    if (error.code === 'ENOENT') {
      console.error('wrk is missing: install the package wrk (apt-get install wrk)');
      process.exit(1);
    }
  }
}

/**
 * POSTs the bodies (text or bytes) one after another, again and again, over `connections`; gives requests/s, p50 and p99
 * in ms, how many answers were no success, and the CPU seconds that the processes of `pids` and their children took
 * per 1,000 requests. A body with `uniqueMark` in it is another one each time: what keeps a cache of answers from being
 * measured instead of the model.
 */
export async function load({ url, bodies, headers, connections, seconds, pids = [] }) {
  const folder = mkdtempSync(join(tmpdir(), 'commonwatt-load-'));
  bodies.forEach((body, index) => {
    writeFileSync(join(folder, `body-${index}`), body);
  });
  const script = join(folder, 'post.lua');
  const lua = (text) => `[==[${text}]==]`;
  writeFileSync(
    script,
    `local requests, at = {}, 0
local unique = ${Math.floor(Math.random() * 1e8)}
local headers = {}
${Object.entries(headers)
  .map(([name, value]) => `headers["${name}"] = ${lua(value)}`)
  .join('\n')}
init = function(args)
  for index = 0, ${bodies.length - 1} do
    local file = io.open("${folder}/body-" .. index, "rb")
    local text = wrk.format("POST", nil, headers, file:read("*a"))
    local from, to = string.find(text, "${uniqueMark}", 1, true)
    requests[index] = from and { string.sub(text, 1, from - 1), string.sub(text, to + 1) } or text
    file:close()
  end
end
request = function()
  at = (at + 1) % ${bodies.length}
  local chosen = requests[at]
  if type(chosen) == "string" then return chosen end
  unique = (unique + 1) % 100000000
  return chosen[1] .. string.format("%08d", unique) .. chosen[2]
end
done = function(summary, latency, requests)
  io.write(string.format("RESULT %d %d %d %d %d\\n", summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout))
end\n`,
  );
  const before = familySeconds(pids);
  const text = await new Promise((resolve, reject) => {
    const child = spawn('wrk', ['-t1', `-c${connections}`, `-d${seconds}s`, '-s', script, url], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let out = '';
    child.stdout.on('data', (chunk) => {
      out += chunk;
    });
    child.on('exit', (code) =>
      code === 0 ? resolve(out) : reject(new Error(`wrk ended with ${code}: ${out}`)),
    );
  });
  const used = familySeconds(pids) - before;
  rmSync(folder, { recursive: true, force: true });
  const [, requests, micros, p50, p99, failed] = /RESULT (\d+) (\d+) (\d+) (\d+) (\d+)/
    .exec(text)
    .map(Number);
  return {
    requests,
    perSecond: requests / (micros / 1e6),
    p50Ms: p50 / 1000,
    p99Ms: p99 / 1000,
    failed,
    cpuPer1000: used / (requests / 1000),
  };
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}
