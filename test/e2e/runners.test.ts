/** The processes that compute, in the real program under load: killed, stopped and replaced without a failed request. */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ExampleServer, startExampleServer } from './server.ts';

let server: ExampleServer;
beforeAll(async () => {
  server = await startExampleServer({ env: { COMMONWATT_RUNNER_HANG_S: '3' } });
});
afterAll(() => server?.stop({ keep: false }));

/** Children of the server that compute. */
function runnerPids(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
        const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
        if (state === 'Z' || Number(parent) !== server.process.pid) return false;
        return readFileSync(`/proc/${name}/cmdline`, 'utf8').includes('serve/runner/main.js');
      } catch {
        return false;
      }
    })
    .map(Number);
}

/** The one that computes for everybody, when those that tried requests alone have ended. */
async function onlyRunner(): Promise<number> {
  await until(() => runnerPids().length === 1);
  return runnerPids()[0] ?? 0;
}

async function until(reached: () => boolean): Promise<void> {
  for (let tries = 0; !reached(); tries++) {
    if (tries > 300) throw new Error('did not happen within 30 s');
    await sleep(100);
  }
}

/** One inference that nothing but a computation can answer; its status. */
async function infer(): Promise<number> {
  const data = Array.from({ length: 100 }, () => Math.random());
  const response = await fetch(`${server.baseUrl}/v2/models/acme--digits/infer`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${server.example.owner.apiKey}`,
      'content-type': 'application/json',
      'cache-control': 'no-store',
    },
    body: JSON.stringify({ inputs: [{ name: 'input', shape: [1, 100], datatype: 'FP32', data }] }),
  });
  const { outputs } = (await response.json()) as { outputs?: { data: number[] }[] };
  if (response.status === 200) expect(outputs?.[0]?.data).toHaveLength(1);
  return response.status;
}

/** The statuses of all that was sent by eight callers while something was done to the runners. */
async function underLoad(act: () => Promise<void>): Promise<Map<number, number>> {
  const statuses = new Map<number, number>();
  let acting = true;
  const callers = Array.from({ length: 8 }, async () => {
    while (acting) {
      const status = await infer();
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }
  });
  await sleep(300);
  await act();
  await sleep(300);
  acting = false;
  await Promise.all(callers);
  return statuses;
}

describe.skipIf(process.platform !== 'linux')('runners under load', () => {
  it('are replaced on SIGUSR2 without a failed request', async () => {
    await infer();
    const before = runnerPids();
    expect(before.length).toBeGreaterThan(0);
    const statuses = await underLoad(async () => {
      server.process.kill('SIGUSR2');
      await until(() => !runnerPids().some((pid) => before.includes(pid)));
    });
    expect([...statuses.keys()]).toEqual([200]);
    expect(statuses.get(200)).toBeGreaterThan(50);
    expect(runnerPids().length).toBe(before.length);
  });

  it.each(['SIGSEGV', 'SIGKILL', 'SIGSTOP'] as const)(
    'cost nobody more than time when they end by %s',
    async (signal) => {
      const statuses = await underLoad(async () => {
        for (let round = 0; round < 2; round++) {
          const pid = await onlyRunner();
          process.kill(pid, signal);
          await until(() => !runnerPids().includes(pid));
          // Its successor and the runner that tries single requests are both there before one is left.
          await sleep(1500);
        }
        await onlyRunner();
      });
      expect([...statuses.keys()]).toEqual([200]);
    },
  );
});
