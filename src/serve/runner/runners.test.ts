import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { greedyModel, heavyModel } from '../../runtimes/testing/onnx-graphs.ts';
import {
  answer,
  counted,
  hungry,
  lives,
  looping,
  newRunners,
  pair,
  pidOf,
  plain,
  spec,
  stopAll,
  until,
} from './testing/runners.ts';

const forever = 1_000_000_000_000n;

afterEach(stopAll);

describe('runners', () => {
  it('load versions and compute, and say how long each part took and where', async () => {
    const runners = newRunners();
    const replica = await runners.load(plain('a'));
    const computed = await replica.run(pair(21, 1));
    expect(computed.outputs).toEqual([
      { name: 'y', datatype: 'FP32', shape: [1, 1], data: Float32Array.of(20) },
    ]);
    for (const ns of [computed.inputNs, computed.computeNs, computed.outputNs]) {
      expect(ns).toBeGreaterThan(100);
      expect(ns).toBeLessThan(1e9);
    }
    expect(computed.runnerPid).toBe(pidOf(replica));
    expect(replica.load).toMatchObject({ state: 'loaded', reason: null });
    const { processes, restarts } = runners.describe();
    expect(restarts).toBe(0);
    expect(processes).toMatchObject([
      { pid: computed.runnerPid, kind: 'shared', copies: [{ versionId: 'a', name: 'acme/a:1' }] },
    ]);
    expect(processes[0]?.residentBytes).toBeGreaterThan(10e6);
  });

  it('spread copies over processes and use them at the same time', async () => {
    const runners = newRunners({ processes: 2 });
    const replica = await runners.load({ ...looping('slow'), replicas: 5 });
    expect(replica.parallelism).toBe(2);
    expect(new Set(replica.runnerPids).size).toBe(2);
    const computed = await Promise.all([
      replica.run(counted(1, 100_000)),
      replica.run(counted(2, 100_000)),
      replica.run(counted(3, 10)),
    ]);
    expect(computed.map(({ outputs }) => outputs[0]?.data[0])).toEqual([100_001, 100_002, 13]);
    expect(new Set(computed.slice(0, 2).map(({ runnerPid }) => runnerPid)).size).toBe(2);
    const other = await runners.load(plain('other'));
    expect(other.parallelism).toBe(1);
  });

  it('use no more processor time than the threads that they have, however many are asked for', async () => {
    if (process.platform !== 'linux') return;
    const runners = newRunners({ threads: 64 });
    const replica = await runners.load(spec('heavy', heavyModel, { threads: 64 }));
    const { threads } = runners.describe();
    expect(threads).toBeLessThanOrEqual(availableParallelism());
    const inputs = [
      { name: 'x', datatype: 'FP32', shape: [64, 512], parts: [new Float32Array(64 * 512)] } as const,
    ];
    await replica.run(inputs);
    const [start, cpu] = [performance.now(), cpuSeconds(pidOf(replica))];
    while (performance.now() - start < 1500) await replica.run(inputs);
    const used = (cpuSeconds(pidOf(replica)) - cpu) / ((performance.now() - start) / 1000);
    expect(used).toBeGreaterThan(0.05);
    expect(used).toBeLessThan(threads + 0.25);
  });

  it('tell a broken model and wrong settings from a broken runner', async () => {
    const runners = newRunners();
    const broken = spec('broken', () => Buffer.from('no model'));
    await expect(runners.load(broken)).rejects.toMatchObject({ code: 'CORRUPT_MODEL' });
    await expect(runners.load(plain('gpu', { executionProviders: ['coreml'] }))).rejects.toMatchObject({
      code: 'INVALID_CONFIG',
      message: expect.stringMatching(/no execution provider coreml; it has cpu/),
    });
    const replica = await runners.load(plain('good'));
    await expect(replica.run(counted(1, 1))).rejects.toMatchObject({ code: 'INVALID_TENSOR' });
    expect(await answer(replica.run(pair(3, 1)))).toBe(2);
    expect(runners.describe().restarts).toBe(0);
  });

  it('give a version up when it is unloaded, and end when they are stopped', async () => {
    const runners = newRunners();
    const replica = await runners.load(plain('a'));
    const pid = pidOf(replica);
    await replica.unload();
    expect(replica.load.state).toBe('unloaded');
    expect(runners.describe().processes[0]?.copies).toEqual([]);
    await expect(replica.run(pair(1, 1))).rejects.toMatchObject({ code: 'NOT_READY' });
    await runners.stop();
    expect(lives(pid)).toBe(false);
  });

  it('answer what is in flight before they end', async () => {
    const runners = newRunners();
    const replica = await runners.load(looping('slow'));
    const late = answer(replica.run(counted(0, 200_000)));
    await runners.stop();
    expect(await late).toBe(200_000);
  });
});

describe('a runner that dies', () => {
  it('fails what it was computing, once; what others wait for is computed by the next one', async () => {
    const runners = newRunners();
    const [slow, innocent] = [await runners.load(looping('slow')), await runners.load(plain('innocent'))];
    const pid = pidOf(slow);
    const lost = slow.run(counted(1, forever));
    const waiting = answer(innocent.run(pair(5, 1)));
    await sleep(200);
    process.kill(pid, 'SIGSEGV');
    await expect(lost).rejects.toMatchObject({ code: 'RUNNER_FAILED', status: 503, retryAfterS: 1 });
    expect(await waiting).toBe(4);
    expect(await answer(slow.run(counted(1, 3)))).toBe(4);
    expect(pidOf(slow)).not.toBe(pid);
    expect(runners.describe().restarts).toBe(1);
  });

  it('is killed when it hangs, and so is one that does not even respond', async () => {
    const runners = newRunners({ hangMs: 700 });
    const replica = await runners.load(looping('slow'));
    const started = performance.now();
    await expect(replica.run(counted(1, forever))).rejects.toMatchObject({
      code: 'RUNNER_FAILED',
      message: expect.stringMatching(/computed for more than 0.7 s/),
    });
    expect(performance.now() - started).toBeLessThan(3000);
    expect(await answer(replica.run(counted(1, 1)))).toBe(2);
    process.kill(pidOf(replica), 'SIGSTOP');
    await expect(replica.run(counted(1, 1))).rejects.toMatchObject({ code: 'RUNNER_FAILED' });
    expect(await answer(replica.run(counted(1, 1)))).toBe(2);
  });

  it('is ended when it grows beyond its limit, before the system is short of memory', async () => {
    const runners = newRunners({ memoryLimitBytes: 400e6 });
    const replica = await runners.load(hungry('hungry'));
    expect(await answer(replica.run(counted(1, 1000)))).toBe(1);
    await expect(replica.run(counted(1, 300_000_000))).rejects.toMatchObject({
      code: 'RUNNER_FAILED',
      message: expect.stringMatching(/it grew to \d+ MB of memory; its limit is 400 MB/),
    });
    expect(await answer(replica.run(counted(2, 1000)))).toBe(2);
  });

  it('comes back again and again with all its models', async () => {
    const runners = newRunners();
    const replicas = [];
    for (const id of ['a', 'b', 'c']) replicas.push(await runners.load(plain(id)));
    for (let round = 0; round < 4; round++) {
      process.kill(pidOf(replicas[0] ?? replicas[0]!), 'SIGKILL');
      const answers = replicas.map((replica) => answer(replica.run(pair(round, 0))));
      expect(await Promise.all(answers)).toEqual([round, round, round]);
    }
    expect(runners.describe().restarts).toBe(4);
  });

  it('is chosen by the kernel before the gateway when memory runs out', async () => {
    if (process.platform !== 'linux') return;
    const replica = await newRunners().load(plain('a'));
    const score = (pid: number) => Number(readFileSync(`/proc/${pid}/oom_score_adj`, 'utf8'));
    expect(score(pidOf(replica))).toBeGreaterThan(score(process.pid));
  });
});

describe('a request that crashes its runner', () => {
  it('is tried again alone, where it hurts nobody: others are answered, it is refused', async () => {
    const runners = newRunners({ hangMs: 1500 });
    const replica = await runners.load(looping('slow'));
    const other = await runners.load(plain('other'));
    const pid = pidOf(other);
    const poison = replica.runAlone(counted(1, forever));
    const mates = [1, 2, 3].map((x) => answer(replica.runAlone(counted(x, 10))));
    expect(await answer(other.run(pair(2, 1)))).toBe(1);
    await expect(poison).rejects.toMatchObject({ code: 'RUNNER_FAILED' });
    expect(await Promise.all(mates)).toEqual([11, 12, 13]);
    expect(pidOf(other)).toBe(pid);
    expect(replica.load.state).toBe('loaded');
  });

  it('gets a runner of its own that ends soon after', async () => {
    const runners = newRunners();
    const replica = await runners.load(plain('a'));
    const { runnerPid } = await replica.runAlone(pair(1, 0));
    expect(runnerPid).not.toBe(pidOf(replica));
    expect(runners.describe().processes).toMatchObject([
      { kind: 'shared' },
      { kind: 'alone', pid: runnerPid },
    ]);
    await until(() => !lives(runnerPid));
    expect(runners.describe().processes).toHaveLength(1);
  });

  it('never has more runners of its own than two, whatever crashes', async () => {
    const runners = newRunners();
    const replicas = await Promise.all(['a', 'b', 'c', 'd', 'e'].map((id) => runners.load(looping(id))));
    let most = 0;
    const look = setInterval(() => {
      const alone = runners.describe().processes.filter(({ kind }) => kind === 'alone');
      most = Math.max(most, alone.length);
    }, 5);
    const answers = replicas.flatMap((replica, i) => [
      answer(replica.runAlone(counted(i, 1000))),
      answer(replica.runAlone(counted(i, 2000))),
    ]);
    expect(await Promise.all(answers)).toEqual([0, 1, 2, 3, 4].flatMap((i) => [i + 1000, i + 2000]));
    clearInterval(look);
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThanOrEqual(2);
  });
});

describe('a version that keeps crashing', () => {
  it('is quarantined, says why, and comes back when it is deployed anew; others go on', async () => {
    const runners = newRunners({ hangMs: 400 });
    const replica = await runners.load(looping('bad'));
    const other = await runners.load(plain('other'));
    for (let crash = 0; crash < 3; crash++)
      await expect(replica.run(counted(1, forever))).rejects.toMatchObject({ code: 'RUNNER_FAILED' });
    await expect(replica.run(counted(1, 1))).rejects.toMatchObject({
      code: 'QUARANTINED',
      message: expect.stringMatching(/acme\/bad:1 is not served since .* \(it computed for more than/),
    });
    await expect(replica.runAlone(counted(1, 1))).rejects.toMatchObject({ code: 'QUARANTINED' });
    await expect(runners.load(looping('bad'))).rejects.toMatchObject({ code: 'QUARANTINED' });
    expect(replica.load).toMatchObject({ state: 'quarantined', reason: expect.stringMatching(/computed/) });
    expect(await answer(other.run(pair(2, 1)))).toBe(1);
    await runners.pardon('bad');
    expect(replica.ready).toBe(true);
    expect(await answer(replica.run(counted(1, 1)))).toBe(2);
    expect(replica.load.state).toBe('loaded');
  });

  it('while it is loaded is tried alone, and does not take the others down again and again', async () => {
    const runners = newRunners({ memoryLimitBytes: 300e6 });
    const other = await runners.load(plain('other'));
    // Its constants are folded as it is loaded, which takes more memory than a runner may have.
    await expect(runners.load(spec('greedy', greedyModel))).rejects.toMatchObject({ code: 'QUARANTINED' });
    expect(await answer(other.run(pair(2, 1)))).toBe(1);
    expect(runners.describe().restarts).toBeLessThanOrEqual(1);
  });

  it('is not blamed for runners that cannot even start', async () => {
    const runners = newRunners({ memoryLimitBytes: 20e6 });
    for (let tries = 0; tries < 2; tries++)
      await expect(runners.load(plain('a'))).rejects.toMatchObject({
        code: 'RUNNER_FAILED',
        message: expect.stringMatching(
          /could not be started: it grew to \d+ MB of memory; its limit is 20 MB/,
        ),
      });
  });

  it('by being larger than a runner may be is refused with figures', async () => {
    const runners = newRunners({ memoryLimitBytes: 150e6 });
    const large = spec('large', () => Buffer.alloc(200e6));
    await expect(runners.load(large)).rejects.toMatchObject({
      code: 'PAYLOAD_TOO_LARGE',
      message: 'acme/large:1 has 200 MB; a runner may grow to 150 MB',
    });
  });
});

describe('a rolling restart', () => {
  it('replaces every process under load without a failed request', async () => {
    const runners = newRunners({ processes: 2 });
    const replicas = [await runners.load(plain('a', { replicas: 2 })), await runners.load(looping('slow'))];
    const before = new Set(replicas.flatMap(({ runnerPids }) => runnerPids));
    let running = true;
    let answered = 0;
    const load = Array.from({ length: 8 }, async (_, i) => {
      while (running) {
        expect(await answer(replicas[0]!.run(pair(i + 1, 1)))).toBe(i);
        expect(await answer(replicas[1]!.run(counted(i, 500)))).toBe(i + 500);
        answered++;
      }
    });
    for (let round = 0; round < 3; round++) await runners.rollingRestart();
    const seen = answered;
    expect(seen).toBeGreaterThan(20);
    running = false;
    await Promise.all(load);
    for (const pid of before) expect(lives(pid)).toBe(false);
    expect(replicas.flatMap(({ runnerPids }) => runnerPids).some((pid) => before.has(pid))).toBe(false);
    expect(runners.describe().restarts).toBe(0);
  });
});

/** Processor time of all threads of a process, in the kernel's ticks of 10 ms. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
