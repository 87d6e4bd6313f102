// Load from wrk (Debian package `wrk`): light enough to leave the cores to the servers.
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

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

/** POSTs one body again and again; gives requests/s, p50 and p99 in ms, and how many answers were no success. */
export async function load({ url, body, headers, connections, seconds }) {
  const folder = mkdtempSync(join(tmpdir(), 'commonwatt-load-'));
  const script = join(folder, 'post.lua');
  const lua = (text) => `[==[${text}]==]`;
  writeFileSync(
    script,
    `wrk.method = "POST"\nwrk.body = ${lua(body)}\n${Object.entries(headers)
      .map(([name, value]) => `wrk.headers["${name}"] = ${lua(value)}`)
      .join('\n')}
done = function(summary, latency, requests)
  io.write(string.format("RESULT %d %d %d %d %d\\n", summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout))
end\n`,
  );
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
  const [, requests, micros, p50, p99, failed] = /RESULT (\d+) (\d+) (\d+) (\d+) (\d+)/
    .exec(text)
    .map(Number);
  return { perSecond: requests / (micros / 1e6), p50Ms: p50 / 1000, p99Ms: p99 / 1000, failed };
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}
