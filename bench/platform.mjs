// A server on an empty data folder with one organisation, for benchmarks that bring models of their own.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Commonwatt } from '@commonwatt/client';

const entry = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const running = new Set();
process.on('exit', () => {
  for (const child of running) child.kill('SIGTERM');
});

/** `folder` and `apiKey`: those of an earlier start; `prefix`: a command that starts it, e.g. `taskset -c 0`. */
export async function startPlatform({ env = {}, folder, apiKey, prefix = [] } = {}) {
  const data = folder ?? mkdtempSync(join(tmpdir(), 'commonwatt-bench-'));
  const began = performance.now();
  const [command, ...args] = [...prefix, process.execPath, entry, 'up', '--json'];
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
  let text = '';
  child.stdout.on('data', (chunk) => {
    text += chunk;
  });
  while (!text.includes('\n}\n')) {
    if (child.exitCode !== null) throw new Error(`the server ended with ${child.exitCode}`);
    await sleep(2);
  }
  const readyMs = performance.now() - began;
  const { baseUrl, operatorKey } = JSON.parse(text);
  const key = apiKey ?? (await organise(baseUrl, operatorKey));
  return {
    baseUrl,
    readyMs,
    folder: data,
    apiKey: key,
    operatorKey,
    pid: child.pid,
    client: new Commonwatt({ baseUrl, apiKey: key }),
    async stop({ keep = false } = {}) {
      running.delete(child);
      child.kill('SIGTERM');
      while (child.exitCode === null && child.signalCode === null) await sleep(10);
      if (!keep) rmSync(data, { recursive: true, force: true });
    },
  };
}

async function organise(baseUrl, operatorKey) {
  const operator = new Commonwatt({ baseUrl, apiKey: operatorKey });
  const { admin } = await operator.organisations.create({ name: 'acme', admin: 'ada' });
  return admin.apiKey;
}

/** One row of ones as binary tensor data, which costs the client next to nothing whatever the width. */
export async function inferOnes({ baseUrl, apiKey }, model, columns) {
  const data = Buffer.from(new Float32Array(columns).fill(1).buffer);
  const head = JSON.stringify({
    inputs: [
      { name: 'input', shape: [1, columns], datatype: 'FP32', parameters: { binary_data_size: data.length } },
    ],
  });
  const response = await fetch(`${baseUrl}/v2/models/${model.replace('/', '--')}/infer`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${apiKey}`,
      'content-type': 'application/octet-stream',
      'inference-header-content-length': String(Buffer.byteLength(head)),
    },
    body: Buffer.concat([Buffer.from(head), data]),
  });
  const answer = await response.arrayBuffer();
  if (response.status !== 200)
    throw new Error(`${model} answered ${response.status}: ${Buffer.from(answer)}`);
  return answer.byteLength;
}
