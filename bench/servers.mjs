// Starts the servers that are compared, each in a process of its own on loopback, and stops only what it started.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

// Whatever happens to the benchmark, its servers end with it.
const running = new Set();
process.on('exit', () => {
  for (const child of running) child.kill('SIGTERM');
});

const entry = fileURLToPath(new URL('../dist/main.js', import.meta.url));

/** The product on a data folder of its own; the first example is run in it once. */
export async function startCommonwatt({ data, env = {} } = {}) {
  const program = await startProgram(['up', '--example'], { folder: data, env }, (text, folder) => {
    if (!/\bready\b/i.test(text)) return undefined;
    try {
      return JSON.parse(readFileSync(join(folder, 'example.json'), 'utf8'));
    } catch {
      // Written a moment later.
      return undefined;
    }
  });
  const { told: example, folder, pid, readyMs } = program;
  return {
    example,
    folder,
    pid,
    readyMs,
    stop: (keep = false) => program.stop({ keep: keep || Boolean(data) }),
  };
}

/**
 * The product with these arguments. `folder`: an earlier one; `prefix`: a command that starts it, e.g. `taskset -c 0`.
 * `read` is asked with each piece of its output, until it gives what was `told`.
 */
export async function startProgram(given, { folder, env = {}, prefix = [] }, read) {
  const data = folder ?? mkdtempSync(join(tmpdir(), 'commonwatt-bench-'));
  const started = performance.now();
  const [command, ...args] = [...prefix, process.execPath, entry, ...given];
  const child = spawn(command, args, {
    env: {
      ...process.env,
      COMMONWATT_DATA: data,
      COMMONWATT_PORT: '0',
      COMMONWATT_GRPC_PORT: '0',
      COMMONWATT_LOG_LEVEL: 'warn',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  running.add(child);
  const told = await new Promise((resolve, reject) => {
    let text = '';
    let value;
    child.stdout.on('data', (chunk) => {
      text += chunk;
      value ??= read(text, data);
      if (value !== undefined) resolve(value);
    });
    child.once('exit', (code) => reject(new Error(`the server ended with ${code}:\n${text}`)));
  });
  const readyMs = performance.now() - started;
  return {
    told,
    folder: data,
    pid: child.pid,
    readyMs,
    stop: ({ keep = false } = {}) => stop(child, keep ? undefined : data),
  };
}

export async function startScript(script, env = {}) {
  const child = spawn(process.execPath, [fileURLToPath(new URL(script, import.meta.url))], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  running.add(child);
  const url = await new Promise((resolve, reject) => {
    child.stdout.once('data', (chunk) => resolve(String(chunk).trim()));
    child.once('exit', (code) => reject(new Error(`${script} ended with ${code}`)));
  });
  return { url, pid: child.pid, stop: () => stop(child) };
}

async function stop(child, folder) {
  running.delete(child);
  child.removeAllListeners('exit');
  if (child.exitCode === null) {
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    await Promise.race([gone, sleep(60_000, undefined, { ref: false })]);
  }
  if (folder) rmSync(folder, { recursive: true, force: true });
}
